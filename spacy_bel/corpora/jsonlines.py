"""JSON records from ``.json`` (one object or a list) and JSON lines, streamed where possible."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.files import Source, numbered_lines, read_text, source_name
from spacy_bel.errors import ReadError

OnError = Callable[[ReadError], None] | None
"""What to do with a record that cannot be read: a function, or None to raise."""


def read_json_records(
    source: Source, *, on_error: OnError = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("file, line 3", record) for each JSON object of a file."""
    for where, record in _values(source, on_error):
        if isinstance(record, dict):
            yield where, record
        else:
            report(f"{where}: expected a JSON object, found {type(record).__name__}.", on_error)


def _values(source: Source, on_error: OnError) -> Iterator[tuple[str, Any]]:
    name = source_name(source)
    if name.removesuffix(".gz").endswith(".json"):
        try:
            content = json.loads(read_text(source))
        except json.JSONDecodeError as error:
            raise ReadError(f"{name}, line {error.lineno}: not JSON ({error.msg}).") from error
        except (ValueError, RecursionError) as error:
            raise ReadError(f"{name}: JSON that cannot be read ({error}).") from error
        records = content if isinstance(content, list) else [content]
        yield from ((f"{name}, record {i}", record) for i, record in enumerate(records, 1))
        return
    for number, line in numbered_lines(source):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = getattr(error, "msg", error)
            report(f"{where}: not JSON ({message}); one object a line is expected.", on_error)
            continue
        yield where, value


def report(error: str | ReadError, on_error: OnError) -> None:
    """Hand an error to `on_error`, or raise it where there is none."""
    error = ReadError(error) if isinstance(error, str) else error
    if on_error is None:
        raise error
    on_error(error)


def candidates(value: Any) -> list[Candidate]:
    """Ranked links as `bel link` writes them; TypeError, ValueError or KeyError if they are not."""
    return [
        Candidate(str(row["code"]), str(row.get("name") or ""), float(row["score"]))
        for row in value or []
    ]


def code_lists(value: Any) -> list[list[str]]:
    """Gold codes written as AND of ORs; TypeError if they are not lists of lists."""
    if not isinstance(value, list) or not all(isinstance(part, list) for part in value):
        raise TypeError("gold codes must be a list of lists")
    return [[str(code) for code in part] for part in value if part]
