"""Mentions of annotated documents, as questions with known answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spacy.training import Example

from ..candidates import Candidate, get_candidates
from ..corpora.docs import from_doc
from ..corpora.flags import main_code
from ..kb.knowledge_base import KnowledgeBase
from ..linking_pipe import MarkedDoc, MentionSpan
from ..reranking_pipe import judged_mentions
from .contexts import Context, questions
from .examples import TrainingMention


def training_mentions(
    examples: Iterable[Example],
    kb: KnowledgeBase,
    context: Context = "sentence",
    spans_key: str | None = None,
) -> Iterator[TrainingMention]:
    """Mentions of predicted documents with candidates, and what the references say they stand for.

    Left out, as in BeLink, are mentions of several concepts or of none that the knowledge base has,
    and those in several pieces; also those without candidates, of which nothing can be asked. Of a
    mention that is annotated with "NIL" or without a code no candidate is right.

    spans_key: span group that holds the mentions; None for `doc.ents`.
    """
    for example in examples:
        pieces = {
            (annotation.start, annotation.end)
            for annotation in from_doc(example.reference).annotations
            if annotation.fragments
        }
        found: list[tuple[MentionSpan, frozenset[str], tuple[Candidate, ...]]] = []
        for span, codes in judged_mentions(example, spans_key):
            candidates = tuple(get_candidates(span))
            if len(codes) > 1 or not candidates or (span.start_char, span.end_char) in pieces:
                continue
            gold = frozenset(filter(None, (main_code(kb, code) for part in codes for code in part)))
            if gold or not codes:
                found.append((MentionSpan(len(found), span, ()), gold, candidates))
        mentions = [mention for mention, _, _ in found]
        marked = MarkedDoc(example.predicted, mentions)
        asked = questions(marked, mentions, [()] * len(mentions), context)
        for question, (_, gold, candidates) in zip(asked, found, strict=True):
            yield TrainingMention(question, gold, candidates)
