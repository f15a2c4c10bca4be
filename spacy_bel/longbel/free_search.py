"""Beam search over all tokens, for models that may write any name.

The search is that of Hugging Face ``generate(num_beams=…, early_stopping=False)`` for one sequence,
and stays a beam search with one beam, where ``generate`` would be greedy.
"""

from __future__ import annotations

import numpy as np

from ..kb.token_trie import IntArray
from .search import PROMPT, FloatArray, Hypothesis, Question, Reading


class FreeBeamSearch:
    """A `Search` for the likeliest texts, in a terminology or not.

    end_token: token that ends a name. num_beams: beams kept. length_penalty: exponent of the
    length, the end token included, by which log-probabilities are divided. offset: added to
    lengths. max_new_tokens: longest text; beams that reach it without an end token are finished as
    they stand.

    finished: best first, without trie nodes.
    """

    def __init__(
        self,
        end_token: int,
        num_beams: int,
        length_penalty: float = 1.0,
        *,
        offset: int = 0,
        max_new_tokens: int = 64,
    ) -> None:
        self.end_token = end_token
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self.offset = offset
        self.max_new_tokens = max_new_tokens
        self.finished: list[Hypothesis] = []
        self.done = False
        self._depth = 0
        self._read = 0
        # The running beams: where each one's newest token is read, after which place, what was
        # generated, and its log-probability.
        self._places: IntArray = np.array([PROMPT])
        self._parents: IntArray = np.empty(0, np.int64)
        self._texts: list[tuple[int, ...]] = [()]
        self._totals: FloatArray = np.zeros(1)

    def question(self) -> Question:
        """Twice as many tokens as beams: so many are left if every beam ends."""
        return Question(self._places, np.empty(0, np.int64), top=2 * self.num_beams)

    def advance(self, log_probabilities: FloatArray, tokens: IntArray) -> None:
        """Choose the next beams; the answer may be narrower if the vocabulary is."""
        if self.done:
            return
        self._depth += 1
        totals = (self._totals[:, None] + log_probabilities).ravel()
        best = np.argsort(-totals, kind="stable")[: 2 * self.num_beams]
        beams = best // tokens.shape[1]
        texts = [
            (*self._texts[beam], int(token))
            for beam, token in zip(beams, tokens.ravel()[best], strict=True)
        ]
        ended = np.array([text[-1] == self.end_token for text in texts])
        if self._depth == self.max_new_tokens:
            ended[:] = True
        # Only the best `num_beams` may finish; the others keep the beam full.
        for i in np.flatnonzero(ended[: self.num_beams]):
            total = float(totals[best[i]])
            self.finished.append(Hypothesis((), texts[i], total, self._normalised(total)))
        self.finished.sort(key=lambda text: -text.log_score)
        del self.finished[self.num_beams :]
        running = np.flatnonzero(~ended)[: self.num_beams]
        self._totals = totals[best[running]]
        self.done = not len(running) or not self._can_improve()
        self._texts = [texts[i] for i in running]
        self._parents = self._places[beams[running]]
        self._places = np.arange(self._read, self._read + len(running))
        self._read += len(running)

    def reading(self) -> Reading:
        """The newest token of every beam."""
        return Reading(self._parents, np.array([text[-1] for text in self._texts], np.int64))

    def _can_improve(self) -> bool:
        if len(self.finished) < self.num_beams:
            return True
        return self._normalised(float(self._totals[0])) > self.finished[-1].log_score

    def _normalised(self, log_probability: float) -> float:
        return float(log_probability / (self._depth + self.offset) ** self.length_penalty)
