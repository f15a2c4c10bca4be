"""Results of linking as JSON records, and files that are never lost half-way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from spacy.tokens import Doc, Span

from spacy_bel.candidates import get_candidates
from spacy_bel.cli.console import say
from spacy_bel.corpora.docs import mention_span
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.errors import BelError


class OutputError(BelError, OSError):
    """A result file that must not or cannot be written."""


def to_record(record: CorpusDocument, doc: Doc, spans_key: str | None, top: int) -> dict[str, Any]:
    """What `bel link` writes for a document: its text, its mentions, and its other JSON keys."""
    spans = list(doc.spans.get(spans_key, [])) if spans_key else list(doc.ents)
    known = {"id": record.id, "text": record.text, "mentions": [_mention(s, top) for s in spans]}
    return {**known, **{key: value for key, value in record.meta.items() if key not in known}}


def to_linked(record: CorpusDocument, doc: Doc, spans_key: str | None, top: int) -> CorpusDocument:
    """The record with ranked links in the place of gold codes, its mentions or those found.

    Fragments, ids and whatever else a marked mention has are kept.
    """
    spans = list(doc.spans.get(spans_key, [])) if spans_key else list(doc.ents)
    annotations = record.annotations or [
        Annotation(span.start_char, span.end_char, span.text, span.label_) for span in spans
    ]
    linked = []
    for annotation in annotations:
        span = mention_span(doc, annotation)
        links = get_candidates(span)[:top] if span is not None else []
        linked.append(replace(annotation, codes=[], links=links))
    return replace(record, annotations=linked)


def _mention(span: Span, top: int) -> dict[str, Any]:
    return {
        "start": span.start_char,
        "end": span.end_char,
        "text": span.text,
        "label": span.label_,
        "code": span.kb_id_,
        "candidates": [candidate._asdict() for candidate in get_candidates(span)[:top]],
    }


def check_free(path: Path | None, force: bool) -> None:
    """Raise OutputError if a result file, or what an aborted run left of it, is already there."""
    for existing in [path, _part(path)] if path and not force else []:
        if existing.exists():
            raise OutputError(f"{existing} exists already: remove it or add --force.")


@contextmanager
def written_at_the_end(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """A file, of UTF-8 text or binary, that gets its name when all is written.

    Until then, and after an error, what has been written is in ``<path>.part``.
    """
    part = _part(path)
    try:
        stream: IO[Any] = (
            part.open("wb")
            if binary
            else part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
        )
    except OSError as error:
        raise OutputError(f"Cannot write {part} ({error.strerror}): check the folder.") from error
    try:
        with stream:
            yield stream
    except BaseException:
        if part.stat().st_size:
            say(f"Stopped. What was finished is kept in {part}.", "yellow")
        else:
            part.unlink()
        raise
    part.replace(path)


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")
