"""From questions to the probability of each option: prompts, window and scores together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .engine import LetterEngine
from .forward import Prompt
from .prompt import Question
from .scorer import LetterScorer


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model thinks of the options of a question.

    probabilities: float64, of the options that were read, the first ones, in their order.
    nil: probability of "none of the above". Together they sum to one.
    """

    probabilities: np.ndarray
    nil: float

    @classmethod
    def from_logits(cls, logits: np.ndarray, temperature: float = 1.0) -> Reading:
        """Softmax of logits divided by a temperature, that of "none of the above" the last."""
        scaled = (logits - logits.max()) / temperature
        weights = np.exp(scaled)
        shares = weights / weights.sum()
        return cls(shares[:-1], float(shares[-1]))

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


@dataclass(slots=True)
class Reader:
    """Reads questions with a causal language model, all options of a mention at once.

    Method: BeLink (Shlyk et al. 2026, doi 10.1145/3805712.3809918), which has the model write the
    letter; here the letters are scored (see `LetterScorer`), which ranks all of them.

    engine: the language model and what it takes to ask it. batch_tokens: see `LetterScorer`.
    """

    engine: LetterEngine
    batch_tokens: int = 4096
    report: Report = field(default_factory=Report)
    scorer: LetterScorer = field(init=False)

    def __post_init__(self) -> None:
        self.scorer = LetterScorer(
            self.engine.model, self.engine.encoder.letters, batch_tokens=self.batch_tokens
        )

    def read(self, questions: Sequence[Question], temperature: float = 1.0) -> list[Reading]:
        """What the model thinks of each question, in their order.

        temperature: what logits are divided by. For the rest see `log_probabilities`.
        """
        return [Reading.from_logits(row, temperature) for row in self.log_probabilities(questions)]

    def log_probabilities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """Of each question those of the options that were read, and of "none of the above".

        float64 (options + 1,). Questions need at least one and at most `options` options. Raises
        ModelError as `LetterScorer.score` and `fit` do.
        """
        prompts = []
        for question in questions:
            asked, ids = self.engine.encode(question)
            self.report.mentions += 1
            self.report.context_cut += asked.context != question.context
            self.report.options_cut += len(asked.options) < len(question.options)
            prompts.append(Prompt(ids, len(asked.options) + 1, question.mention))
        if self.engine.training:
            self.scorer.forget()
        self.scorer.dtype = self.engine.dtype
        try:
            return self.scorer.score(prompts)
        finally:
            self.report.halved = self.scorer.halved
            self.report.read_tokens = self.scorer.read_tokens
