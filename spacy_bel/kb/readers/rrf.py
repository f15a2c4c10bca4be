"""Rich Release Format files of UMLS: ``|``-terminated columns, sorted by their first one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.damage import Intake
from spacy_bel.kb.readers.lines import read_lines

# Columns per file: https://www.ncbi.nlm.nih.gov/books/NBK9685
WIDTHS = {
    "MRCONSO": 18,
    "MRSTY": 6,
    "MRDEF": 8,
    "MRREL": 16,
    "MRHIER": 9,
    "MRRANK": 4,
    "MRCUI": 7,
}


def rrf_path(folder: Path, table: str) -> Path | None:
    """Where a table of a release is, None if it is not there."""
    for file in (folder / f"{table}.RRF", folder / f"{table}.RRF.gz"):
        if file.is_file():
            return file
    return None


def rrf_rows(
    path: Path, table: str, intake: Intake, *, progress: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a table."""
    intake = Intake(intake.builder, path, intake.on_error)
    width = WIDTHS[table]
    for number, line in read_lines(path, progress=progress):
        if not line:
            continue
        cells = line.split("|")
        # Each cell ends with a bar; some tools drop the last one.
        if len(cells) != width + 1 and len(cells) != width:
            intake.damaged(
                number, f"{len(cells) - 1} columns instead of the {width} of {table}; mend it."
            )
            continue
        yield number, cells


class RowsByConcept:
    """Rows of a table beside those of another, both sorted by concept.

    path: None for a table that is not there and has no rows.
    """

    def __init__(self, path: Path | None, table: str, intake: Intake) -> None:
        self._path = path
        self._rows = iter(()) if path is None else rrf_rows(path, table, intake)
        self._next: tuple[int, list[str]] | None = next(self._rows, None)

    def take(self, cui: str) -> list[list[str]]:
        """The rows of a concept; concepts are asked for in ascending order, others passed over."""
        taken = []
        while self._next is not None and self._next[1][0] <= cui:
            number, cells = self._next
            if cells[0] == cui:
                taken.append(cells)
            self._next = next(self._rows, None)
            if self._next is not None and self._next[1][0] < cells[0]:
                raise unsorted(self._path, self._next[0], self._next[1][0], cells[0])
        return taken


def unsorted(path: Path | None, number: int, cui: str, before: str) -> ReadError:
    """The error for a table whose concepts do not ascend."""
    return ReadError(
        f"{path}, line {number}: {cui} after {before}; the file must be sorted by concept, as "
        "UMLS releases are (LC_ALL=C sort)."
    )
