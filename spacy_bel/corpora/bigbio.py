"""BigBio-KB pages: JSON (one page or a list of pages) or JSON lines (one page a line).

Schema: Fries et al. 2022, https://github.com/bigscience-workshop/biomedical ("kb" schema). Offsets
of passages and entities are global to the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spacy_bel.corpora.document import Annotation, CorpusDocument, any_of, parse_code_string
from spacy_bel.corpora.files import Source
from spacy_bel.corpora.jsonlines import OnError, read_json_records, report
from spacy_bel.errors import ReadError

READ_KEYS = {"id", "document_id", "passages", "entities"}


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
            for text, (start, end) in zip(passage["text"], passage["offsets"], strict=True):
                _add_passage(document, text, start, end, where)
        document.annotations = [
            _parse_entity(entity, document.text, where) for entity in page.get("entities") or []
        ]
    except ReadError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ReadError(
            f"{where}: not a BigBio-KB page ({type(error).__name__}: {error}). It needs 'id', "
            "'passages' and 'entities', with lists under 'text' and 'offsets'."
        ) from error
    document.meta = {key: value for key, value in page.items() if key not in READ_KEYS and value}
    if page.get("document_id") not in (None, page.get("id")):
        document.meta["document_id"] = page["document_id"]
    return document


def _add_passage(document: CorpusDocument, text: str, start: int, end: int, where: str) -> None:
    gap = start - len(document.text)
    if gap < 0 or end - start != len(text):
        raise ReadError(
            f"{where}: the passage at {start}-{end} overlaps the one before it or is not as long "
            "as its text: passages must be in order, with document-wide code point offsets."
        )
    # What stood between two passages is not in the page; a line break keeps them apart.
    document.text += ("\n" * min(gap, 1)).ljust(gap) + text
    if text:
        document.passages.append((start, end))


def _parse_entity(entity: dict[str, Any], text: str, where: str) -> Annotation:
    fragments = sorted((int(start), int(end)) for start, end in entity["offsets"])
    start, end = fragments[0][0], max(end for _, end in fragments)
    if any(not 0 <= a < b <= len(text) for a, b in fragments):
        raise ReadError(
            f"{where}: entity {entity.get('id', '')!r} at {fragments} lies outside the "
            f"{len(text)} characters of the passages: check its offsets."
        )
    alternatives = [
        parse_code_string(str(link.get("db_id") or "")) for link in entity.get("normalized") or []
    ]
    return Annotation(
        start,
        end,
        " ".join(entity.get("text") or [text[a:b] for a, b in fragments]),
        str(entity.get("type") or ""),
        any_of(alternatives),
        fragments if len(fragments) > 1 else [],
        str(entity.get("id") or ""),
    )
