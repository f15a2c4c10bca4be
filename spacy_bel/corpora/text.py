"""Plain text, and JSON lines of texts whose mentions may be marked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy_bel.corpora.document import Annotation, CorpusDocument, parse_code_string
from spacy_bel.corpora.files import Source, read_text, source_name
from spacy_bel.corpora.jsonlines import OnError, read_json_records, report
from spacy_bel.errors import ReadError

MENTION_KEYS = ("entities", "mentions", "spans")


def read_plain_text(source: Source) -> Iterator[CorpusDocument]:
    """One document per file; its id is the file name without suffixes."""
    name = Path(source_name(source)).name
    text = read_text(source)
    yield CorpusDocument(name.removesuffix(".gz").removesuffix(".txt"), text, [(0, len(text))])


def read_jsonl(source: Source, *, on_error: OnError = None) -> Iterator[CorpusDocument]:
    """Stream ``{"id", "text", "entities": [{"start", "end", "label"}]}`` records.

    "entities" is optional and may also be called "mentions" (as `bel link` writes them) or "spans"
    (as Prodigy does); a gold "code" of an entity is kept. Every further key of the record goes to
    `meta`. A record without id gets its line.

    on_error: called with the ReadError of a bad record, reading goes on; without it the error is
        raised. Errors name file and line.
    """
    for where, record in read_json_records(source, on_error=on_error):
        try:
            document = _parse_record(record, where)
        except ReadError as error:
            report(error, on_error)
            continue
        yield document


def _parse_record(record: dict[str, Any], where: str) -> CorpusDocument:
    text = record.get("text")
    if not isinstance(text, str):
        raise ReadError(f'{where}: no "text": each record needs "id" and "text".')
    key = next((key for key in MENTION_KEYS if key in record), "entities")
    try:
        annotations = [_parse_entity(entity, text, where) for entity in record.get(key) or []]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ReadError(
            f"{where}: {key!r} must be a list of objects with numbers 'start' and 'end' and, "
            f"optionally, 'label' ({type(error).__name__}: {error})."
        ) from error
    meta = {name: value for name, value in record.items() if name not in ("id", "text", key)}
    identifier = str(record.get("id", where.rpartition(" ")[2]))
    return CorpusDocument(identifier, text, [(0, len(text))], annotations, meta)


def _parse_entity(entity: dict[str, Any], text: str, where: str) -> Annotation:
    start, end = int(entity["start"]), int(entity["end"])
    if not 0 <= start < end <= len(text):
        raise ReadError(
            f"{where}: offsets {start}-{end} do not lie in the {len(text)} characters of the text: "
            "they must count Unicode code points, end exclusive."
        )
    codes = parse_code_string(str(entity.get("code") or ""))
    return Annotation(start, end, text[start:end], str(entity.get("label") or ""), codes)
