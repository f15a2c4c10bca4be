"""Training examples: the same mention with several draws of options, as BeLink makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..candidates import Candidate
from ..errors import SettingsError
from ..kb.knowledge_base import KnowledgeBase
from .prompt import LETTERS, MAX_OPTIONS, Question, option_text

HIDDEN = 0.1
"""Share of examples from which the gold concept is left out although it was retrieved."""

RESAMPLINGS = 5


@dataclass(frozen=True, slots=True)
class TrainingMention:
    """A mention to make examples of.

    question: mention and context; its options are not used. gold: codes of which each is right,
    none if no concept is. candidates: best first.
    """

    question: Question
    gold: frozenset[str]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class SetwiseExample:
    """A question and the index of its right option, ``len(question.options)`` for none of them."""

    question: Question
    answer: int

    @property
    def letter(self) -> str:
        """The letter that is to be written."""
        return LETTERS[self.answer]


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
    codes = [candidate.code for candidate in mention.candidates]
    right = [code for code in codes if code in mention.gold]
    wrong = [code for code in codes if code not in mention.gold]
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
