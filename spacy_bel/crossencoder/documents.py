"""From spaCy documents to what the engine reads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from spacy.tokens import Doc, Span

from ..sentences import sentence_starts
from .document import Document, Mention

PASSAGES = "passages"


def to_document(doc: Doc, mentions: Iterable[tuple[Span, tuple[str, ...]]]) -> Document:
    """A document and some of its mentions with the texts of their candidates, in the order given.

    ``doc.spans["passages"]`` are its passages; without them the whole document is one. Sentences
    are those of the document if it has any, otherwise spaCy's rule-based ones; none goes on beyond
    a passage.
    """
    passages = [(p.start_char, p.end_char) for p in sorted(doc.spans.get(PASSAGES, []))]
    text = doc.text
    borders = sorted({0, *sentence_starts(doc), *(start for start, _ in passages), len(text)})
    return Document(
        text,
        tuple(
            Mention(span.start_char, span.end_char, span.text, span.label_, candidates)
            for span, candidates in mentions
        ),
        tuple(pairwise(borders)),
        tuple(passages),
    )
