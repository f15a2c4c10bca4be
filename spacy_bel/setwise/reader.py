"""From questions to the probability of each option: prompts, window and scores together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import ModelError, SettingsError
from ..longbel.models.base import LanguageModel
from ..longbel.models.causal_lm import CausalLanguageModel
from .encoding import PromptEncoder
from .prompt import MAX_OPTIONS, Question
from .scorer import LetterScorer, Prompt
from .window import fit


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model thinks of the options of a question.

    probabilities: float64, of the options that were read, the first ones, in their order.
    nil: probability of "none of the above". Together they sum to one.
    """

    probabilities: np.ndarray
    nil: float

    @property
    def order(self) -> list[int]:
        """The options that were read, best first; equal ones in their order."""
        return np.argsort(-self.probabilities, kind="stable").tolist()

    @property
    def is_nil(self) -> bool:
        """Whether "none of the above" is better than every option."""
        return bool(self.nil > self.probabilities.max())


@dataclass(slots=True)
class Report:
    """Counts of what was read, and of what was left out for want of room.

    context_cut: prompts whose context was cut to words around the mention. options_cut: prompts
    from which options were left out as well. halved: how often memory ran out. read_tokens: tokens
    read, without padding, what prompts have in common once.
    """

    mentions: int = 0
    context_cut: int = 0
    options_cut: int = 0
    halved: int = 0
    read_tokens: int = 0


def check_settings(options: int, batch_tokens: int) -> None:
    """Raise SettingsError for numbers that cannot be used."""
    if not 1 <= options <= MAX_OPTIONS:
        raise SettingsError(f"options must be from 1 to {MAX_OPTIONS}, not {options}.")
    if batch_tokens < 1:
        raise SettingsError("batch_tokens must be at least 1.")


@dataclass(slots=True)
class Reader:
    """Reads questions with a causal language model, all options of a mention at once.

    Method: BeLink (Shlyk et al. 2026, doi 10.1145/3805712.3809918), which has the model write the
    letter; here the letters are scored (see `LetterScorer`), which ranks all of them.

    model: the language model, of the kind that transformers loads. options: most options of a
    question. batch_tokens: see `LetterScorer`. Raises ModelError if the model is of another kind or
    its tokenizer cannot write the letters.
    """

    model: LanguageModel
    options: int = 10
    batch_tokens: int = 4096
    report: Report = field(default_factory=Report)
    encoder: PromptEncoder = field(init=False)
    scorer: LetterScorer = field(init=False)
    max_length: int = field(init=False)

    def __post_init__(self) -> None:
        check_settings(self.options, self.batch_tokens)
        if not isinstance(self.model, CausalLanguageModel):
            raise ModelError(
                f"{type(self.model).__name__} answers no questions: give a causal language model "
                "of transformers that follows instructions."
            )
        self.encoder = PromptEncoder(self.model.tokenizer, self.options)
        self.scorer = LetterScorer(
            self.model.model, self.encoder.letters, batch_tokens=self.batch_tokens
        )
        self.max_length = self.model.max_length

    def read(self, questions: Sequence[Question]) -> list[Reading]:
        """What the model thinks of each question, in their order.

        Questions need at least one and at most `options` options. Raises ModelError as
        `LetterScorer.score` and `fit` do.
        """
        prompts = []
        for question in questions:
            asked, ids = fit(question, self.encoder.encode, self.max_length)
            self.report.mentions += 1
            self.report.context_cut += asked.context != question.context
            self.report.options_cut += len(asked.options) < len(question.options)
            prompts.append(Prompt(ids, len(asked.options) + 1, question.mention))
        try:
            scores = self.scorer.score(prompts)
        finally:
            self.report.halved = self.scorer.halved
            self.report.read_tokens = self.scorer.read_tokens
        return [Reading(row[:-1], float(row[-1])) for row in scores]
