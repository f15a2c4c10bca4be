"""Writing BigBio-KB pages as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import IO, Any

from spacy_bel.corpora.bigbio import APART, ENTITY_KEYS, PAGE_KEYS
from spacy_bel.corpora.document import (
    Annotation,
    CorpusDocument,
    all_alternatives,
    any_of,
    parse_code_string,
)
from spacy_bel.corpora.standoff import tile, typed_passages

ALL_KEYS = {*PAGE_KEYS, *ENTITY_KEYS, APART}


def write_bigbio(documents: Iterable[CorpusDocument], stream: IO[str]) -> None:
    """Write one page a line.

    Alternatives become several entries of "normalized", composites are joined by ``+``. What the
    schema has no place for goes to keys of its own, which other readers pass over: ranked links to
    "candidates", gold codes that "normalized" cannot say to "codes", passages that leave out part
    of the text to "marked_passages".
    """
    for document in documents:
        stream.write(json.dumps(to_page(document), ensure_ascii=False) + "\n")
        stream.flush()


def to_page(document: CorpusDocument) -> dict[str, Any]:
    """A record as a BigBio-KB page, the inverse of `spacy_bel.corpora.bigbio.parse_page`."""
    passages, page = typed_passages(document), dict(document.meta)
    marked: dict[str, Any] = {}
    if not tile(document):
        marked["marked_passages"] = [list(passage) for passage in passages]
        passages = [(0, len(document.text), "")]
    known = {
        "id": document.id,
        "document_id": page.pop("document_id", document.id),
        "passages": [
            {"id": f"P{i}", "type": type, "text": [document.text[a:b]], "offsets": [[a, b]]}
            for i, (a, b, type) in enumerate(passages)
        ],
        "entities": [_entity(document, a, i) for i, a in enumerate(document.annotations)],
        "events": page.pop("events", []),
        "coreferences": page.pop("coreferences", []),
        "relations": page.pop("relations", []),
        **marked,
    }
    return _with_further_keys(known, page)


def _entity(document: CorpusDocument, annotation: Annotation, number: int) -> dict[str, Any]:
    pieces = annotation.fragments or [(annotation.start, annotation.end)]
    texts = [document.text[a:b] for a, b in pieces]
    meta = dict(annotation.meta)
    codes = all_alternatives(annotation.codes)
    normalized = meta.pop("normalized", None) or [{"db_name": "", "db_id": code} for code in codes]
    entity = {
        "id": annotation.id or f"M{number}",
        "type": annotation.type,
        "text": texts if " ".join(texts) == annotation.text else [annotation.text],
        "offsets": [list(piece) for piece in pieces],
        "normalized": normalized,
    }
    if any_of([parse_code_string(code) for code in codes]) != annotation.codes:
        entity["codes"] = annotation.codes
    if annotation.links:
        entity["candidates"] = [candidate._asdict() for candidate in annotation.links]
    return _with_further_keys(entity, meta)


def _with_further_keys(known: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
    """Add what the schema does not know; a key that it has taken goes to a place apart."""
    taken = {key: value for key, value in further.items() if key in ALL_KEYS}
    free = {key: value for key, value in further.items() if key not in ALL_KEYS}
    return {**known, **free, **({APART: taken} if taken else {})}
