"""What an index costs: time to build, memory, disk, and mentions searched per second."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import ParamSpec, TypeVar

from spacy_bel.errors import BelError, FootprintError
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold
from spacy_bel.retriever.index import Retriever

P = ParamSpec("P")
R = TypeVar("R")

_WARM_UP = ["an unrelated string to open files with"]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What an index costs, measured in processes of its own.

    build_seconds, build_peak_bytes: to build it and write it to disk, and the most memory that the
        process held meanwhile. A retriever that keeps embeddings in a directory takes them from
        there if it finds them.
    disk_bytes: size of its directory, without the knowledge base.
    open_seconds: to open knowledge base and index, and to search for a first mention; libraries
        are imported before.
    resident_bytes, peak_bytes: memory of a process, interpreter and libraries included, that has
        opened both and searched: at the end, and the most at any time.
    mentions, mentions_per_second: how many distinct strings were searched for, none of them before,
        and how fast, from strings to `k` ranked codes; the fastest of three rounds.
    """

    build_seconds: float
    build_peak_bytes: int
    disk_bytes: int
    open_seconds: float
    resident_bytes: int
    peak_bytes: int
    mentions: int
    mentions_per_second: float
    k: int


def measure_footprint(
    retriever: Retriever,
    kb: KnowledgeBase,
    directory: str | Path,
    mentions: Sequence[str],
    *,
    k: int = 25,
) -> Footprint:
    """Build the index of a knowledge base in ``directory/index``, open it, search.

    retriever: of an importable class.
    directory: an existing folder. A knowledge base that is in memory is written to
        ``directory/kb``, so that it is measured as opened from disk.
    mentions: strings to search for; those that are equal up to case and white space count once.

    Raises what building raises, and FootprintError if a process is killed, as happens where memory
    runs out.
    """
    directory = Path(directory).resolve()
    kb_path = kb.path
    if kb_path is None:
        kb_path = directory / "kb"
        kb.to_disk(kb_path, force=kb_path.exists())
    index_path = directory / "index"
    build_seconds, build_peak = _apart(_build, retriever, kb_path, index_path)
    distinct = list(dict.fromkeys(map(fold, mentions)))
    opened, seconds, resident, peak = _apart(_search, retriever, kb_path, index_path, distinct, k)
    return Footprint(
        build_seconds=build_seconds,
        build_peak_bytes=build_peak,
        disk_bytes=sum(f.stat().st_size for f in index_path.rglob("*") if f.is_file()),
        open_seconds=opened,
        resident_bytes=resident,
        peak_bytes=peak,
        mentions=len(distinct),
        mentions_per_second=len(distinct) / seconds if distinct else 0.0,
        k=k,
    )


def _build(retriever: Retriever, kb_path: Path, index_path: Path) -> tuple[float, int]:
    kb = KnowledgeBase.from_disk(kb_path)
    start = time.perf_counter()
    retriever.build(kb, progress=True).to_disk(index_path, force=index_path.exists())
    return time.perf_counter() - start, _memory("VmHWM")


def _search(
    retriever: Retriever, kb_path: Path, index_path: Path, mentions: Sequence[str], k: int
) -> tuple[float, float, int, int]:
    first = _round(retriever, kb_path, index_path, mentions, k)
    rounds = [first, *(_round(retriever, kb_path, index_path, mentions, k) for _ in range(2))]
    return min(r[0] for r in rounds), min(r[1] for r in rounds), first[2], first[3]


def _round(
    retriever: Retriever, kb_path: Path, index_path: Path, mentions: Sequence[str], k: int
) -> tuple[float, float, int, int]:
    start = time.perf_counter()
    # Opened anew: an index may keep what it has searched for.
    index = retriever.from_disk(index_path, KnowledgeBase.from_disk(kb_path))
    index.search(_WARM_UP, None, k)
    opened = time.perf_counter()
    index.search(mentions, None, k)
    searched = time.perf_counter()
    return opened - start, searched - opened, _memory("VmRSS"), _memory("VmHWM")


def _memory(key: str) -> int:
    """Bytes of memory of this process by its name in Linux; elsewhere the peak for both."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in a fresh process, which imports nothing but what it needs.

    A spawned process of `multiprocessing` would import the caller's main module, too.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=bytes(ForkingPickler.dumps((function, args, kwargs))),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if done.returncode:
        raise FootprintError(
            f"The process that measures an index ended with code {done.returncode}: see what it "
            "printed. If it printed nothing it was killed: give it more memory, or measure on a "
            "smaller knowledge base."
        )
    answer = ForkingPickler.loads(done.stdout)
    if isinstance(answer, BelError):
        raise answer
    return answer


def _answer() -> None:
    """What runs in the other process; what libraries print there goes to standard error."""
    with os.fdopen(os.dup(1), "wb") as stream:
        os.dup2(2, 1)
        function, args, kwargs = ForkingPickler.loads(sys.stdin.buffer.read())
        try:
            answer = function(*args, **kwargs)
        except BelError as error:
            answer = error
        stream.write(ForkingPickler.dumps(answer))


if __name__ == "__main__":
    _answer()
