"""scispaCy's candidate search beside ours: the same names, the same mentions, one thread.

    python -m benchmarks.scispacy_search --prepare DIR [--data DATA]
    python benchmarks/scispacy_search.py --side scispacy --names DIR/names.json \\
        --mentions DIR/mentions.json --index DIR/scispacy --json scispacy.json
    python -m benchmarks.scispacy_search --side ours --names DIR/names.json \\
        --mentions DIR/mentions.json --index DIR/ours --json ours.json
    python -m benchmarks.scispacy_search --compare scispacy.json ours.json

scispaCy's side runs in an environment of its own (scispacy 0.6, scipy < 1.11, nmslib), as a file,
since one of its dependencies installs a package named ``benchmarks``, and needs nothing of ours.
DATA holds ``corpora/ncbi-disease`` and ``kb/medic``; it defaults to SPACY_BEL_DATA.

Both sides index every name of MEDIC and search the gold mentions of the NCBI Disease test set. A
hit is any gold code among the k best, alternative codes resolved; all mentions count; intervals
come from 1000 draws of documents, 95 %. scispaCy's k is neighbouring names, merged by its own code
into concepts, here ranked by their most similar name; ours is concepts.

Every figure of building and of searching comes from a process of its own: one core builds, one
thread searches. Speed counts mentions that differ in more than case, from strings to candidates,
given all at once: best and median of several rounds. The first round, when files are mapped and
nothing is remembered, stands apart; so does searching document by document, where every mention
counts. Times of the processor (CPU) hold also on a machine that does other work meanwhile. Memory
is the most a process held, mapped files included. An index found in DIR is reused.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

MB = 1 << 20
ROUNDS = 5
KS = (1, 5, 25, 100)

Figures = dict[str, Any]
Search = Callable[[list[str]], list[list[str]]]  # mentions -> their codes, best first
Names = dict[str, list[str]]  # code -> names, the preferred one first


class System(NamedTuple):
    """folder: where the index lies; k: how many neighbours or concepts are asked for."""

    name: str
    folder: str
    k: int


class Side(NamedTuple):
    """build: from names to a directory; open: from that directory to a search."""

    systems: tuple[System, ...]
    build: Callable[[Names, Path, System], None]
    open: Callable[[Path, System], Search]
    packages: tuple[str, ...]


def build_scispacy(names: Names, directory: Path, system: System) -> None:
    """The files its linker loads, with its own settings."""
    from scispacy.candidate_generation import create_tfidf_ann_index
    from scispacy.linking_utils import KnowledgeBase

    with (directory / "kb.jsonl").open("w", encoding="utf-8") as lines:
        for code, (preferred, *others) in names.items():
            entry = {"concept_id": code, "canonical_name": preferred, "aliases": others}
            lines.write(json.dumps(entry) + "\n")
    index = directory / system.folder
    index.mkdir(exist_ok=True)
    create_tfidf_ann_index(str(index), KnowledgeBase(str(directory / "kb.jsonl")))


def open_scispacy(directory: Path, system: System) -> Search:
    """Its candidate generator; concepts are ranked by their most similar name."""
    from scispacy.candidate_generation import CandidateGenerator, create_tfidf_ann_index
    from scispacy.linking_utils import KnowledgeBase

    kb = KnowledgeBase(str(directory / "kb.jsonl"))
    names, vectorizer, index = create_tfidf_ann_index(str(directory / system.folder), kb)
    generator = CandidateGenerator(_OneThread(index), vectorizer, names, kb)

    def search(mentions: list[str]) -> list[list[str]]:
        found = generator(mentions, system.k)
        ranked = (sorted(row, key=lambda c: max(c.similarities), reverse=True) for row in found)
        return [[candidate.concept_id for candidate in row] for row in ranked]

    return search


class _OneThread:
    """An nmslib index that answers on one thread, which the generator has no setting for."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def knnQueryBatch(self, vectors: Any, k: int) -> Any:
        return self._index.knnQueryBatch(vectors, k=k, num_threads=1)


def build_ours(names: Names, directory: Path, system: System) -> None:
    """Knowledge base and index."""
    from spacy_bel.kb import Concept, KnowledgeBaseBuilder
    from spacy_bel.retriever.ngrams import NgramIndex

    builder = KnowledgeBaseBuilder("MEDIC")
    for code, of_concept in names.items():
        builder.add(Concept(code, tuple(of_concept), ("Disease",)))
    kb = builder.write(directory / "kb", force=True)
    lowest, highest = map(int, system.folder.split("-"))
    NgramIndex(kb, ngram_range=(lowest, highest)).to_disk(directory / system.folder, force=True)


def open_ours(directory: Path, system: System) -> Search:
    """Opened by memory map."""
    from spacy_bel.kb import KnowledgeBase
    from spacy_bel.retriever.ngrams import NgramIndex

    kb = KnowledgeBase.from_disk(directory / "kb")
    index = NgramIndex.from_disk(directory / system.folder, kb)

    def search(mentions: list[str]) -> list[list[str]]:
        return [[code for code, _, _ in row] for row in index.search(mentions, k=system.k)]

    return search


SIDES = {
    "scispacy": Side(
        (System("scispaCy, 25 names", "hnsw", 25), System("scispaCy, 100 names", "hnsw", 100)),
        build_scispacy,
        open_scispacy,
        ("scispacy", "nmslib-metabrainz", "scipy", "scikit-learn", "numpy"),
    ),
    "ours": Side(
        tuple(
            System(f"n-grams {ngrams}, {k} concepts", ngrams, k)
            for ngrams in ("2-4", "3-3")
            for k in (25, 100)
        ),
        build_ours,
        open_ours,
        ("spacy-bel", "scipy", "scikit-learn", "numpy"),
    ),
}


def prepare(data: Path, directory: Path) -> None:
    """Names of MEDIC and gold mentions of NCBI Disease, as both sides read them."""
    from spacy_bel.corpora.pubtator import read_pubtator
    from spacy_bel.evaluation.recall import gold_codes
    from spacy_bel.kb.readers import read

    kb = read(data / "kb" / "medic" / "medic_06Jul2012.txt.gz", "medic").build()
    corpus = data / "corpora" / "ncbi-disease" / "NCBItestset_corpus.txt"
    documents = [
        [[a.text, sorted(gold_codes(a.codes, kb.resolve))] for a in document.annotations]
        for document in read_pubtator(corpus)
    ]
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "names.json", {code: kb[code].names for code in kb})
    _write(directory / "mentions.json", documents)


def build(side: Side, system: System, options: argparse.Namespace) -> Figures:
    """Seconds from names to files, their size and the memory it took."""
    names = _read(options.names)
    _one_core()
    start, start_cpu = time.perf_counter(), time.process_time()
    side.build(names, options.index, system)
    return {
        "build_seconds": time.perf_counter() - start,
        "build_cpu_seconds": time.process_time() - start_cpu,
        "build_peak_mb": _peak(),
        "index_mb": _size(options.index / system.folder),
        "names": len({name for of_concept in names.values() for name in of_concept}),
    }


def search(side: Side, system: System, options: argparse.Namespace) -> Figures:
    """Seconds to open, mentions per second, memory, and the rank of the gold code per mention."""
    documents = [[(text, set(gold)) for text, gold in d] for d in _read(options.mentions)]
    texts = [[text for text, _ in document] for document in documents]
    everything = [text for of_document in texts for text in of_document]
    distinct = list({" ".join(text.lower().split()): text for text in everything}.values())

    start = time.perf_counter()
    ask = side.open(options.index, system)
    opening = time.perf_counter() - start
    start = time.process_time()
    ask(distinct)
    first_cpu = time.process_time() - start
    clock, cpu = _rounds(lambda: ask(distinct))
    _, by_document = _rounds(lambda: [ask(mentions) for mentions in texts])
    peak = _peak()
    found = iter(ask(everything))
    # The first right candidate, from 1; written out, as scispaCy's environment has nothing of ours.
    ranks = [
        [next((r for r, code in enumerate(next(found), 1) if code in gold), None) for _, gold in d]
        for d in documents
    ]
    return {
        "open_seconds": opening,
        "mentions_per_second": len(distinct) / min(clock),
        "mentions_per_second_median": len(distinct) / statistics.median(clock),
        "mentions_per_cpu_second_first": len(distinct) / first_cpu,
        "mentions_per_cpu_second": len(distinct) / min(cpu),
        "mentions_per_cpu_second_by_document": len(everything) / min(by_document),
        "peak_mb": peak,
        "mentions": len(everything),
        "distinct_mentions": len(distinct),
        "ranks": ranks,
    }


STAGES = {"build": build, "search": search}


def measure(options: argparse.Namespace) -> Figures:
    """All systems of a side, each stage in a process of its own."""
    side = SIDES[options.side]
    options.index.mkdir(parents=True, exist_ok=True)
    results = []
    for system in side.systems:
        built = options.index / f"{system.folder}.json"
        if not built.exists():
            _write(built, _run("build", system, options))
        results.append({**system._asdict(), **_read(built), **_run("search", system, options)})
    return {
        "side": options.side,
        "python": platform.python_version(),
        "packages": {package: version(package) for package in side.packages},
        "results": results,
    }


def compare(files: list[Path]) -> None:
    """One table of what the sides wrote."""
    from rich.console import Console
    from rich.table import Table

    from spacy_bel.evaluation.recall import recall_at_k

    rows = [row for file in files for row in _read(file)["results"]]
    table = Table(
        title=f"NCBI Disease test, {rows[0]['mentions']} gold mentions "
        f"({rows[0]['distinct_mentions']} distinct); MEDIC, {rows[0]['names']:,} names"
    )
    figures = {
        "mentions/s": ("mentions_per_second", 0),
        "median": ("mentions_per_second_median", 0),
        "per CPU s": ("mentions_per_cpu_second", 0),
        "first, per CPU s": ("mentions_per_cpu_second_first", 0),
        "by document, per CPU s": ("mentions_per_cpu_second_by_document", 0),
        "build s": ("build_seconds", 1),
        "build CPU s": ("build_cpu_seconds", 1),
        "open s": ("open_seconds", 2),
        "index MB": ("index_mb", 0),
        "peak MB": ("peak_mb", 0),
    }
    table.add_column()
    for row in rows:
        table.add_column(row["name"].replace(", ", "\n"), justify="right")
    for k in KS:
        recalls = [recall_at_k(row["ranks"], k) if k <= row["k"] else None for row in rows]
        shown = (f"{r.value:.1%}\n{r.low:.1%}–{r.high:.1%}" if r else "–" for r in recalls)
        table.add_row(f"recall@{k}", *shown)
    for figure, (key, digits) in figures.items():
        table.add_row(figure, *(f"{row[key]:,.{digits}f}" for row in rows))
    Console(width=160).print(table, markup=False)


def _rounds(work: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Seconds of the clock and of the processor for each round."""
    clock, cpu = [], []
    for _ in range(ROUNDS):
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return clock, cpu


def _run(stage: str, system: System, options: argparse.Namespace) -> Figures:
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, __file__, "--side", options.side, "--stage", stage]
    command += ["--system", system.name]
    for name in ("names", "mentions", "index", "json"):
        command += [f"--{name}", str(getattr(options, name))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    subprocess.run(command, check=True, env=environment)
    result: Figures = _read(options.json)
    return result


def _one_core() -> None:
    # The number of threads that build scispaCy's graph is fixed in its code.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _peak() -> float:
    """Megabytes held at most; not from getrusage, which counts the parent's before exec."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def _size(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / MB


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Prepare, measure one side or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepare", type=Path, metavar="DIR")
    parser.add_argument("--data", type=Path, default=os.environ.get("SPACY_BEL_DATA"))
    parser.add_argument("--side", choices=SIDES)
    for name in ("names", "mentions", "index", "json"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--compare", type=Path, nargs="+", metavar="JSON")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--system", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        if options.data is None:
            parser.error("give --data DATA or set SPACY_BEL_DATA")
        prepare(Path(options.data), options.prepare)
    elif options.compare:
        compare(options.compare)
    elif not all((options.side, options.names, options.mentions, options.index, options.json)):
        parser.error("give --prepare, --compare, or --side with names, mentions, index and json")
    elif options.stage:
        side = SIDES[options.side]
        system = next(system for system in side.systems if system.name == options.system)
        _write(options.json, STAGES[options.stage](side, system, options))
    else:
        _write(options.json, measure(options))


if __name__ == "__main__":
    main()
