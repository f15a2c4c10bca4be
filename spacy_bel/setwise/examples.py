"""Training examples: the same mention with several draws of options, as BeLink makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from spacy.tokens import Doc

from ..corpora.docs import from_doc, mention_span
from ..corpora.flags import main_code
from ..errors import SettingsError
from ..kb.knowledge_base import KnowledgeBase
from ..linking_pipe import MarkedDoc, MentionSpan
from .contexts import Context, questions
from .prompt import LETTERS, MAX_OPTIONS, Question, option_text

HIDDEN = 0.1
"""Share of examples from which the gold concept is left out although it was retrieved."""

RESAMPLINGS = 5


@dataclass(frozen=True, slots=True)
class TrainingMention:
    """A mention to make examples of.

    question: mention and context; its options are not used. gold: codes of which each is right.
    retrieved: codes of the candidates, best first.
    """

    question: Question
    gold: frozenset[str]
    retrieved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetwiseExample:
    """A question and the index of its right option, ``len(question.options)`` for none of them."""

    question: Question
    answer: int

    @property
    def letter(self) -> str:
        """The letter that is to be written."""
        return LETTERS[self.answer]


def training_mentions(
    docs: Iterable[Doc], kb: KnowledgeBase, context: Context = "sentence"
) -> Iterator[TrainingMention]:
    """Mentions of documents that `spacy_bel.corpora.docs.to_doc` made and a retriever went over.

    The retriever's `spans_key` has to be "mentions". Left out, as in BeLink, are mentions of
    several concepts or of none that the knowledge base has, and those in several pieces; also those
    without candidates, of which nothing can be asked.
    """
    for doc in docs:
        found: list[tuple[MentionSpan, frozenset[str], tuple[str, ...]]] = []
        for annotation in from_doc(doc).annotations:
            span = mention_span(doc, annotation)
            if span is None or annotation.fragments or len(annotation.codes) != 1:
                continue
            gold = frozenset(filter(None, (main_code(kb, c) for c in annotation.codes[0])))
            if gold and annotation.links:
                mention = MentionSpan(len(found), span, ())
                found.append((mention, gold, tuple(link.code for link in annotation.links)))
        mentions = [mention for mention, _, _ in found]
        asked = questions(MarkedDoc(doc, mentions), mentions, [()] * len(mentions), context)
        for question, (_, gold, retrieved) in zip(asked, found, strict=True):
            yield TrainingMention(question, gold, retrieved)


def make_examples(
    mentions: Iterable[TrainingMention],
    kb: KnowledgeBase,
    *,
    options: int = 10,
    resamplings: int = RESAMPLINGS,
    hidden: float = HIDDEN,
    seed: int = 0,
) -> Iterator[SetwiseExample]:
    """Examples of each mention, `resamplings` of them, drawn anew each time (BeLink).

    If the gold concept was retrieved, it is an option, except in a share `hidden` of the examples;
    the others are drawn from the rest of the candidates. If it was not, it is not put in, and "none
    of the above" is right, as where it is hidden. Each concept is shown by one of its names, chosen
    at random, and of options that read the same one is kept. A draw without options is left out.

    options: most options of an example, at most `MAX_OPTIONS`. seed: decides all draws; those of a
    mention depend on no other mention but on how many come before it.
    """
    if not 1 <= options <= MAX_OPTIONS:
        raise SettingsError(f"options must be from 1 to {MAX_OPTIONS}, not {options}.")
    for number, mention in enumerate(mentions):
        rng = np.random.default_rng([seed, number])
        for _ in range(resamplings):
            example = _draw(mention, kb, options, hidden, rng)
            if example is not None:
                yield example


def _draw(
    mention: TrainingMention,
    kb: KnowledgeBase,
    options: int,
    hidden: float,
    rng: np.random.Generator,
) -> SetwiseExample | None:
    right = [code for code in mention.retrieved if code in mention.gold]
    wrong = [code for code in mention.retrieved if code not in mention.gold]
    shown = right[:1] if rng.random() >= hidden else []
    chosen = rng.permutation(len(wrong))[: options - len(shown)]
    # The right one comes first, so that a wrong one that reads the same is left out.
    texts = [_random_name(kb, code, rng) for code in [*shown, *(wrong[i] for i in chosen)]]
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return None
    order = rng.permutation(len(distinct)).tolist()
    question = replace(mention.question, options=tuple(distinct[i] for i in order))
    return SetwiseExample(question, order.index(0) if shown else len(distinct))


def _random_name(kb: KnowledgeBase, code: str, rng: np.random.Generator) -> str:
    names = kb.names_of_concept(kb.concept_id(code))
    chosen = names[rng.integers(len(names))]
    return option_text(kb.name(int(chosen)), kb.name(int(names[0])))
