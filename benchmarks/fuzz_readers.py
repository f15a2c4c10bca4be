"""Damaged files for every reader: each must end in a named error or in a correct read.

    python -m benchmarks.fuzz_readers [--inputs 100000] [--formats obo bioc …] [--seed 0]

The valid files of `fuzz_terminologies.py` and `fuzz_corpora.py` are damaged again and again (bytes,
numbers, columns, lines, truncation, archives), from a seed, so that every input can be made again.
A failure is an exception that is no `BelError`, a message that names no file, a read that hangs, or
a record that contradicts itself. Failures at the same place of the code count once; the first input
of each is kept under ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.fuzz_corpora import corpus_seeds
from benchmarks.fuzz_damage import Files, damaged
from benchmarks.fuzz_terminologies import further_seeds, terminology_seeds
from spacy_bel.corpora import reading
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.errors import BelError
from spacy_bel.kb import readers
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers.babelon import read_babelon
from spacy_bel.kb.readers.damage import OnError

_NUMBER = re.compile(r"\d+")
_LINE = re.compile(r"(line|record) \d")
SECONDS = 10  # longer than any of these small files may take


class Hang(BaseException):
    """Reading took longer than SECONDS; no reader may catch it."""


class Contradiction(Exception):
    """A record was read that cannot be right, or an error that does not help."""


@dataclass
class Tally:
    """What became of the inputs of one format."""

    read: int = 0
    refused: int = 0
    placed: int = 0  # refusals that name a line or a record
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


# Path, format (None: to be inferred), whether to skip damage -> number of entries
Read = Callable[[Path, str | None, bool], int]


def read_terminology(path: Path, format: str | None, skip: bool) -> int:
    """Read, and build what was read; the number of concepts."""
    return _build(readers.read(path, format, name="fuzz", on_error="skip" if skip else "raise"))


def read_further(path: Path, format: str | None, skip: bool) -> int:
    """Translations, or a MeSH table with its tree and its supplement."""
    on_error: OnError = "skip" if skip else "raise"
    if path.is_dir():
        table, trees, supplement = (path / name for name in ("a.tsv", "mtrees.bin", "scr.tsv"))
        beside = {"trees": trees, "supplement": supplement}
        return _build(readers.read(table, "mesh-table", on_error=on_error, **beside))
    return sum(1 for _ in read_babelon(path, on_error=on_error))


def _build(builder: KnowledgeBaseBuilder) -> int:
    if len(builder):
        kb = builder.build()
        for code in kb:
            if not all(kb[code].names):
                raise Contradiction(f"the concept {code!r} has an empty name")
    return len(builder)


def read_corpus(path: Path, format: str | None, skip: bool) -> int:
    """Read every document, and check offsets against texts; the number of documents."""
    errors: list[BelError] = []
    on_error: Callable[[Any], None] | None = errors.append if skip else None
    documents = 0
    for document in reading.read_documents(path, format, on_error=on_error):
        _check_document(document)
        documents += 1
    for error in errors:
        _check_message(error, path)
    return documents


def _check_document(document: CorpusDocument) -> None:
    size = len(document.text)
    for annotation in document.annotations:
        pieces = [(annotation.start, annotation.end), *annotation.fragments]
        if not all(0 <= start <= end <= size for start, end in pieces):
            raise Contradiction(f"a mention at {pieces} of a text of {size} characters")
        if any(not part or not all(part) for part in annotation.codes):
            raise Contradiction(f"an empty code in {annotation.codes}")
    if any(not 0 <= start <= end <= size for start, end in document.passages):
        raise Contradiction(f"passages {document.passages} of a text of {size} characters")


def _check_message(error: BelError, path: Path) -> None:
    # Any file of the directory: a text may be missed from beside its annotations.
    directory = path if path.is_dir() else path.parent
    if str(directory) not in str(error) and path.name not in str(error):
        raise Contradiction(f"an error that names no file: {error}") from error


def try_input(files: Files, directory: Path, format: str | None, read: Read, skip: bool) -> str:
    """What a reader does: "read", "nothing", "refused", "refused there" or what is wrong."""
    shutil.rmtree(directory, ignore_errors=True)
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    path = directory / next(iter(files)) if len(files) == 1 else directory
    signal.alarm(SECONDS)
    try:
        return "read" if read(path, format, skip) else "nothing"
    except BelError as error:
        try:
            _check_message(error, path)
        except Contradiction as contradiction:
            return _place(contradiction, error)
        return "refused there" if _LINE.search(str(error)) else "refused"
    except (Exception, Hang) as error:
        return _place(error, error)
    finally:
        signal.alarm(0)


def _place(error: BaseException, raised: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(raised.__traceback__) if "spacy_bel" in f.filename]
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    text = str(error) if isinstance(error, Contradiction) else type(error).__name__
    return f"{at} {type(error).__name__}: {_NUMBER.sub('0', text)[:60]}"


def fuzz(
    formats: dict[str, list[Files]],
    read: Read,
    options: argparse.Namespace,
    tallies: dict[str, Tally],
) -> None:
    """Damage the seeds of each format and tally what its reader makes of them."""
    directory = Path(options.scratch) / "input"
    for format, seeds in formats.items():
        tally = tallies[format] = Tally()
        for files in seeds:  # an undamaged file that is not read would make all of this worthless
            outcome = try_input(files, directory, format, read, skip=False)
            if outcome != "read":
                raise SystemExit(f"The undamaged seed of {format!r} is not read: {outcome}")
        start = time.perf_counter()
        for number in range(options.per_format):
            rng = random.Random(f"{options.seed} {format} {number}")
            files = damaged(rng.choice(seeds), rng)
            skip = rng.random() < 0.3
            named = None if rng.random() < 0.2 else format
            outcome = try_input(files, directory, named, read, skip)
            if outcome in ("read", "nothing"):
                tally.read += 1
            elif outcome in ("refused", "refused there"):
                tally.refused += 1
                tally.placed += outcome == "refused there"
            else:
                if outcome not in tally.failures:
                    _keep(options.keep, directory, format, number, skip, outcome)
                tally.failures[outcome] += 1
                if sum(len(t.failures) for t in tallies.values()) >= options.max_failures:
                    return
        tally.seconds = time.perf_counter() - start


def _keep(keep: Path, directory: Path, format: str, number: int, skip: bool, outcome: str) -> None:
    target = keep / f"{format}-{number}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(directory, target)
    print(f"{format}: {outcome} (skip={skip}): {target}", file=sys.stderr)


def _on_alarm(*_: Any) -> None:
    raise Hang


def main() -> None:
    """Fuzz, print how many inputs were read, refused and neither."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="over all formats")
    parser.add_argument("--formats", nargs="+", help="only these; all that have a seed by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-failures", type=int, default=50, help="distinct ones, then stop")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "fuzz-failures"))
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _on_alarm)
    rooms = [
        (terminology_seeds(), readers.FORMATS, read_terminology),
        (further_seeds(), further_seeds(), read_further),
        (corpus_seeds(), reading.FORMATS, read_corpus),
    ]
    chosen = []
    for seeds, known, read in rooms:
        for format in sorted(set(known) - set(seeds)):
            print(f"{format}: no valid file to start from, not tried", file=sys.stderr)
        mine = {f: s for f, s in seeds.items() if f in known and f in (options.formats or seeds)}
        chosen.append((mine, read))
    options.per_format = -(-options.inputs // max(1, sum(len(mine) for mine, _ in chosen)))
    tallies: dict[str, Tally] = {}
    memory = Path("/dev/shm")  # a hundred thousand small files are better not on a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as options.scratch:
        for mine, read in chosen:
            fuzz(mine, read, options, tallies)
    _report(tallies, options.json)
    if any(tally.failures for tally in tallies.values()):
        raise SystemExit(1)


def _report(tallies: dict[str, Tally], to: Path | None) -> None:
    table = Table(
        "format", "inputs", "read", "refused", "naming a line", "failed", "distinct", "ms"
    )
    rows = {}
    for format, tally in tallies.items():
        failed = tally.failures.total()
        inputs = tally.read + tally.refused + failed
        rows[format] = {
            "inputs": inputs,
            "read": tally.read,
            "refused": tally.refused,
            "naming a line": tally.placed,
            "failed": failed,
            "distinct": len(tally.failures),
        }
        each = f"{tally.seconds / max(1, inputs) * 1e3:.2f}"
        table.add_row(format, *map(str, rows[format].values()), each)
    Console().print(table)
    print(f"{sum(row['inputs'] for row in rows.values()):,} inputs")
    if to:
        to.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
