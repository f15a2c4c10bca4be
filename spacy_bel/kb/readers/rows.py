"""Rows of delimited text: tab-separated as it is written by hand, comma-separated as exported."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.damage import Intake

Lines = Iterable[tuple[int, str]]


def split_rows(lines: Lines, delimiter: str, intake: Intake) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each row that is not empty.

    Comma- and semicolon-separated rows follow RFC 4180, so that a quoted cell may hold line ends.
    Other rows are one line each; a cell may stand in double quotes, as spreadsheets write it.
    """
    if delimiter in ",;":
        yield from _quoted_rows(lines, delimiter, intake)
        return
    for number, line in lines:
        if line.strip():
            yield number, [_unquoted(cell) for cell in line.split(delimiter)]


def named_rows(
    rows: Iterator[tuple[int, list[str]]],
    header: Sequence[str],
    intake: Intake,
    *,
    short: bool = False,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, cell by column) of each row with as many cells as the header.

    short: rows may leave out cells at their end, which are empty then.
    """
    for number, cells in rows:
        if short and len(cells) < len(header):
            cells = cells + [""] * (len(header) - len(cells))
        if len(cells) != len(header):
            intake.damaged(
                number, f"{len(cells)} columns instead of the {len(header)} of the header; mend it."
            )
            continue
        yield number, dict(zip(header, (cell.strip() for cell in cells), strict=True))


def require(intake: Intake, header: Sequence[str], columns: Sequence[str], line: int = 1) -> None:
    """Raise ReadError unless a header has all these columns."""
    if missing := [column for column in columns if column not in header]:
        raise ReadError(
            f"{intake.path}, line {line}: no column {', '.join(missing)} among "
            f"{', '.join(header)[:300] or 'none'}; name another format, or add the header."
        )


def values(cell: str, separator: str = "|") -> tuple[str, ...]:
    """The values of a cell that may hold several."""
    return tuple(value for part in cell.split(separator) if (value := part.strip()))


def _quoted_rows(lines: Lines, delimiter: str, intake: Intake) -> Iterator[tuple[int, list[str]]]:
    last = 0

    def texts() -> Iterator[str]:
        nonlocal last
        for number, line in lines:
            last = number
            yield line + "\n"

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    while True:
        first = last + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            intake.damaged(first, f"{error}; mend the quotes of this row.")
            continue
        if any(cell.strip() for cell in cells):
            yield first, cells


def _unquoted(cell: str) -> str:
    if len(cell) >= 2 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell
