"""BigBio-KB pages: JSON (one page or a list of pages) or JSON lines (one page a line).

Schema: Fries et al. 2022, https://github.com/bigscience-workshop/biomedical ("kb" schema). Offsets
of passages and entities are global to the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spacy_bel.corpora.document import (
    Annotation,
    CorpusDocument,
    all_alternatives,
    any_of,
    parse_code_string,
)
from spacy_bel.corpora.files import Source
from spacy_bel.corpora.jsonlines import OnError, candidates, code_lists, read_json_records, report
from spacy_bel.corpora.standoff import add_passage, located
from spacy_bel.errors import ReadError

PAGE_KEYS = {"id", "document_id", "passages", "entities", "marked_passages"}
ENTITY_KEYS = {"id", "type", "text", "offsets", "normalized", "codes", "candidates"}
APART = "spacy_bel"
"""Key of what `write_bigbio` would have written to a key that the schema has taken."""


def read_bigbio(source: Source, *, on_error: OnError = None) -> Iterator[CorpusDocument]:
    """Stream the pages of a BigBio-KB file, ``.json`` or ``.jsonl``, also gzipped.

    Several ``normalized`` entries of an entity are alternatives; a ``db_id`` written ``A+B`` is a
    composite. Events, relations and coreferences are kept in ``meta``, as is ``document_id``
    where it differs from ``id``.

    on_error: called with the ReadError of a bad page, reading goes on; without it the error is
        raised. Errors name file and page.
    """
    for where, page in read_json_records(source, on_error=on_error):
        try:
            document = parse_page(page, where)
        except ReadError as error:
            report(error, on_error)
            continue
        yield document


def parse_page(page: dict[str, Any], where: str = "page") -> CorpusDocument:
    """Turn one page into a record; `where` opens the messages of a ReadError."""
    try:
        identifier = str(page.get("id", page.get("document_id", "")))
        document = CorpusDocument(identifier, "")
        for passage in page["passages"]:
            kind = str(passage.get("type") or "")
            for text, (start, end) in zip(passage["text"], passage["offsets"], strict=True):
                add_passage(document, text, start, end, kind, where)
        if "marked_passages" in page:
            marked = page["marked_passages"]
            document.passages = [(int(start), int(end)) for start, end, _ in marked]
            document.passage_types = [str(kind) for _, _, kind in marked]
        document.annotations = [
            _parse_entity(entity, document, where) for entity in page.get("entities") or []
        ]
        document.meta = _further_keys(page, PAGE_KEYS)
        if page.get("document_id") not in (None, page.get("id")):
            document.meta["document_id"] = page["document_id"]
    except ReadError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ReadError(
            f"{where}: not a BigBio-KB page ({type(error).__name__}: {error}). It needs 'id', "
            "'passages' and 'entities', with lists under 'text' and 'offsets'."
        ) from error
    return document


def _parse_entity(entity: dict[str, Any], document: CorpusDocument, where: str) -> Annotation:
    where = f"{where}, entity {entity.get('id', '')!r}"
    normalized = entity.get("normalized") or []
    alternatives = [str(link.get("db_id") or "") for link in normalized]
    codes = any_of([parse_code_string(code) for code in alternatives])
    meta = _further_keys(entity, ENTITY_KEYS)
    if any(value for link in normalized for key, value in link.items() if key != "db_id"):
        meta["normalized"] = normalized
    elif alternatives and alternatives != all_alternatives(codes):
        meta["code"] = "|".join(alternatives)
    fragments = [(int(start), int(end)) for start, end in entity["offsets"]]
    return located(
        document, fragments, " ".join(entity.get("text") or []), where,
        type=str(entity.get("type") or ""),
        codes=code_lists(entity["codes"]) if "codes" in entity else codes,
        id=str(entity.get("id") or ""),
        links=candidates(entity.get("candidates")),
        meta=meta,
    )  # fmt: skip


def _further_keys(record: dict[str, Any], known: set[str]) -> dict[str, Any]:
    apart = record.get(APART)
    # Empty lists are how the schema says that there are no events or relations.
    free = {key: v for key, v in record.items() if key not in {*known, APART} and v != []}
    return {**free, **(apart if isinstance(apart, dict) else {})}
