"""Plain text, and JSON lines of texts whose mentions may be marked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy_bel.corpora.document import Annotation, CorpusDocument, parse_code_string
from spacy_bel.corpora.files import Source, read_text, source_name
from spacy_bel.corpora.jsonlines import OnError, candidates, read_json_records, report
from spacy_bel.corpora.standoff import located
from spacy_bel.errors import ReadError

MENTION_KEYS = ("entities", "mentions", "spans")
ID_KEYS = ("id", "pmid", "document_id")
CODE_KEYS = ("code", "cui", "kb_id")
LABEL_KEYS = ("label", "type")
ENTITY_KEYS = {"start", "end", "text", "id", "candidates", *CODE_KEYS, *LABEL_KEYS}


def read_plain_text(source: Source, *, on_error: OnError = None) -> Iterator[CorpusDocument]:
    """One document per file; its id is the file name without suffixes."""
    name = Path(source_name(source)).name
    text = read_text(source)
    yield CorpusDocument(name.removesuffix(".gz").removesuffix(".txt"), text, [(0, len(text))])


def read_jsonl(source: Source, *, on_error: OnError = None) -> Iterator[CorpusDocument]:
    """Stream ``{"id", "text", "entities": [{"start", "end", "label"}]}`` records.

    "entities" is optional and may also be called "mentions" (as `bel link` writes them) or "spans"
    (as Prodigy does). A "code" of an entity is gold, unless the entity has "candidates", the ranked
    links of `bel link`: then it is the first of them. It may also be called "cui" or "kb_id", a
    "label" "type", and the "id" of a record "pmid". Every further key goes to `meta`. A record
    without id gets its line.

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
    identifier = _first(record, ID_KEYS)
    identifier = where.rpartition(" ")[2] if identifier is None else str(identifier)
    document = CorpusDocument(identifier, text, [(0, len(text))])
    key = next((key for key in MENTION_KEYS if key in record), "entities")
    try:
        document.annotations = [
            _parse_entity(entity, document, where) for entity in record.get(key) or []
        ]
    except ReadError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ReadError(
            f"{where}: {key!r} must be a list of objects with numbers 'start' and 'end' and, "
            f"optionally, 'label' ({type(error).__name__}: {error})."
        ) from error
    document.meta = {k: value for k, value in record.items() if k not in (*ID_KEYS, "text", key)}
    return document


def _parse_entity(entity: dict[str, Any], document: CorpusDocument, where: str) -> Annotation:
    links = candidates(entity.get("candidates"))
    code = "" if "candidates" in entity else str(_first(entity, CODE_KEYS) or "")
    fragment = int(entity["start"]), int(entity["end"])
    meta = {key: value for key, value in entity.items() if key not in ENTITY_KEYS}
    if links and entity.get("code") == "NIL":
        # Below the threshold of the linker, which the candidates do not tell.
        meta["code"] = "NIL"
    return located(
        document, [fragment], str(entity.get("text") or ""), where,
        type=str(_first(entity, LABEL_KEYS) or ""),
        codes=parse_code_string(code),
        id=str(entity.get("id") or ""),
        links=links,
        meta=meta,
    )  # fmt: skip


def _first(record: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((record[key] for key in keys if key in record), None)
