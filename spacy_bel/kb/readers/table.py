"""A terminology as a table of one's own: TSV, CSV or JSON lines.

The least that is needed is a header ``code<tab>name`` and one line per concept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spacy_bel.errors import ReadError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.entries import Entries
from spacy_bel.kb.readers.lines import read_lines
from spacy_bel.kb.readers.rows import Lines, named_rows, split_rows, values

# What each column may be called; case, spaces and hyphens do not matter.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "code": ("code", "id", "cui", "identifier", "concept_id", "concept_code"),
    "name": ("name", "preferred_name", "preferred_term", "term", "label", "title"),
    "synonyms": ("synonyms", "synonym", "aliases", "alias", "names"),
    "group": ("group", "groups", "semantic_group", "semantic_type", "semantic_tag", "category"),
    "definition": ("definition", "description"),
    "cross_references": ("cross_references", "xrefs", "xref", "mappings"),
    "parents": ("parents", "parent", "broader", "is_a"),
    "alternative_codes": ("alternative_codes", "alt_ids", "alternative_ids", "alt_id"),
}
_DELIMITERS = "\t,;|"
_LISTS = ("synonyms", "group", "cross_references", "parents", "alternative_codes")
_DEFAULT_GROUP = "Concept"


def read_table(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    columns: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    separator: str = "|",
    encoding: str = "utf-8",
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read a table with a header, or JSON lines with the same keys.

    Rows of the same code are one concept; the name of the first is the preferred one. Cells with
    several values separate them by ``separator``; JSON may use lists. Concepts without a group are
    in "Concept". Other columns are ignored.

    columns: what a column is called in this file, by its name in ``COLUMNS``.
    delimiter: told from the header if None.
    """
    path = Path(path)
    builder = KnowledgeBaseBuilder(
        name or path.name.split(".")[0], source=path.name, release=release or ""
    )
    intake = Intake(builder, path, on_error)
    if unknown := set(columns or ()) - COLUMNS.keys():
        raise ReadError(f"No column {', '.join(sorted(unknown))}: use {', '.join(COLUMNS)}.")
    lines = read_lines(path, progress=progress, encoding=encoding)
    entries = Entries()
    for line, record in _records(lines, columns or {}, delimiter, intake):
        builder.entries += 1
        try:
            row = {column: _texts(record.get(column), column, separator) for column in COLUMNS}
        except TypeError as error:
            intake.damaged(line, error)
            continue
        if not row["code"] or not (row["name"] or row["synonyms"]):
            intake.damaged(line, "the row has no code or no name; complete it.")
            continue
        entry = entries.at(row["code"][0], line)
        entry.names.extend((0, text) for text in (*row["name"], *row["synonyms"]))
        entry.groups.extend(row["group"])
        entry.definition = entry.definition or "".join(row["definition"])
        entry.cross_references.extend(row["cross_references"])
        entry.parents.extend(row["parents"])
        entry.alternatives.extend(row["alternative_codes"])
    entries.add_to(intake, group=group, fallback=_DEFAULT_GROUP)
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a first line is a header, or a JSON object, with a code and a name."""
    if first_line.startswith("{"):
        try:
            keys: Iterable[str] = json.loads(first_line)
        except (ValueError, RecursionError):
            return False
        return _is_header([str(key) for key in keys])
    return any(_is_header(first_line.split(delimiter)) for delimiter in _DELIMITERS)


def _records(
    lines: Iterator[tuple[int, str]],
    columns: Mapping[str, str],
    delimiter: str | None,
    intake: Intake,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Records with the keys of ``COLUMNS``."""
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        return
    if first[1].lstrip().startswith("{"):
        yield from _json_records(_chain(first, lines), columns, intake)
        return
    if delimiter is None:
        delimiter = next((d for d in _DELIMITERS if _is_header(first[1].split(d), columns)), "\t")
    if len(delimiter) != 1:
        raise ReadError(f"The delimiter {delimiter!r} is not one character: use a tab, comma, ….")
    rows = split_rows(_chain(first, lines), delimiter, intake)
    number, header = next(rows, (first[0], []))
    names = _names(header, columns)
    if not {"code", "name"} <= set(names):
        raise ReadError(
            f"{intake.path}, line {number}: no columns for code and name among "
            f"{', '.join(header)[:300]}; call them so, or say which they are (columns)."
        )
    for number, row in named_rows(rows, [str(i) for i in range(len(header))], intake, short=True):
        yield (
            number,
            {
                known: row[str(place)]
                for place, known in enumerate(names)
                if known and row[str(place)]
            },
        )


def _json_records(
    lines: Lines, columns: Mapping[str, str], intake: Intake
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            intake.damaged(number, f"not JSON ({error}); write one object per line.")
            continue
        if not isinstance(record, dict):
            intake.damaged(number, "not a JSON object; write one object per line.")
            continue
        names = _names([str(key) for key in record], columns)
        yield (
            number,
            {known: value for known, value in zip(names, record.values(), strict=True) if known},
        )


def _names(header: list[str], columns: Mapping[str, str]) -> list[str]:
    """For each column its name in ``COLUMNS``, empty if it has none; the first claim counts."""
    known = {alias: column for column, aliases in COLUMNS.items() for alias in aliases}
    for column, alias in columns.items():
        known = {a: c for a, c in known.items() if c != column}
        known[_normal(alias)] = column
    names: list[str] = []
    for cell in header:
        name = known.get(_normal(cell), "")
        names.append("" if name in names else name)
    return names


def _is_header(header: list[str], columns: Mapping[str, str] | None = None) -> bool:
    return {"code", "name"} <= set(_names(header, columns or {}))


def _normal(cell: str) -> str:
    return cell.strip().strip('"').strip().lower().replace(" ", "_").replace("-", "_")


def _texts(value: Any, column: str, separator: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return values(value, separator) if column in _LISTS else (value,) if value.strip() else ()
    if isinstance(value, int):
        return (str(value),)
    if isinstance(value, list) and column in _LISTS and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise TypeError(f"the {column} is neither text nor a list of texts; write it so.")


def _chain(first: tuple[int, str], lines: Lines) -> Iterator[tuple[int, str]]:
    yield first
    yield from lines
