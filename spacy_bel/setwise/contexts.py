"""What a model is shown around a mention: its sentence or its passage."""

from __future__ import annotations

from typing import Literal, get_args

from ..linking_pipe import MarkedDoc, MentionSpan
from ..longbel.documents import to_document
from .prompt import Question

Context = Literal["sentence", "passage"]
CONTEXTS: tuple[str, ...] = get_args(Context)


def questions(
    marked: MarkedDoc, mentions: list[MentionSpan], options: list[tuple[str, ...]], context: Context
) -> list[Question]:
    """A question for each of some mentions of a document, with its options.

    context: "sentence", of the document if it has any, otherwise of spaCy's rules, and never ending
    inside a mention; or "passage", one of ``doc.spans["passages"]``, without them the document.
    """
    document = to_document(marked, mentions)
    text = marked.doc.text
    result = []
    for mention, shown in zip(document.mentions, options, strict=True):
        if context == "sentence":
            start, end = document.sentence_of(mention)
        else:
            passage = document.passages[document.passage_of(mention)]
            start, end = passage.start, passage.end
        # A mention may stand before the first passage, or run beyond its own.
        start, end = min(start, mention.start), max(end, mention.end)
        result.append(Question(text[start:end], mention.start - start, mention.end - start, shown))
    return result
