"""Beam search over the names of a token trie, one step at a time.

The search is that of Hugging Face ``generate(num_beams=…, prefix_allowed_tokens_fn=…)`` without
early stopping, for one sequence: log-probabilities over the whole vocabulary, masked and not
renormalised; finished names ranked by log-probability / length ** length_penalty, the end token
included; stop when the best running beam is no better than the worst of `num_beams` finished ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..kb.token_trie import IntArray, MaskArray, TokenTrie


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished name.

    node: trie node where its token sequence ends. log_probability: summed over its tokens, the end
    token included. length: number of these tokens. log_score: log_probability / length **
    length_penalty, which ranks it.
    """

    node: int
    log_probability: float
    length: int
    log_score: float

    @property
    def score(self) -> float:
        """Length-normalised likelihood, in [0, 1].

        With a length penalty of 1 the geometric mean of the token probabilities, with 0 the
        probability of the name.
        """
        return math.exp(self.log_score)


@dataclass
class BeamSearch:
    """The state of one mention's search.

    trie, group_mask: what may be generated. end_token: token that ends a name. num_beams: beams
    kept. length_penalty: exponent of the length by which log-probabilities are divided. The running
    beams are `nodes`, their `tokens` (last token of each), `log_probabilities` and `parents` (index
    of each beam's predecessor in the step before), all of length ≤ num_beams.
    """

    trie: TokenTrie
    group_mask: MaskArray
    end_token: int
    num_beams: int
    length_penalty: float = 1.0
    depth: int = 0
    done: bool = False
    finished: list[Hypothesis] = field(default_factory=list)
    nodes: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))
    tokens: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    parents: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    log_probabilities: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))

    def options(self) -> tuple[IntArray, IntArray]:
        """Continuations of the running beams: (beam, edge), both (m,)."""
        return self.trie.children(self.nodes, self.group_mask)

    def advance(
        self, beams: IntArray, edges: IntArray, log_probabilities: npt.NDArray[np.floating]
    ) -> None:
        """Choose the next beams.

        beams, edges: as `options` returned them. log_probabilities: (m,), of each edge's token
        after its beam.
        """
        totals = self.log_probabilities[beams] + log_probabilities
        best = _top(totals, 2 * self.num_beams)
        self.depth += 1
        tokens = self.trie.edge_tokens[edges[best]]
        ended = tokens == self.end_token
        # Only names among the best `num_beams` continuations may finish; the rest are a reserve
        # that keeps the beam full.
        for i in best[: self.num_beams][ended[: self.num_beams]]:
            total = float(totals[i])
            self.finished.append(
                Hypothesis(int(edges[i]) + 1, total, self.depth, self._normalised(total))
            )
        self.finished.sort(key=lambda h: -h.log_score)
        del self.finished[self.num_beams :]
        running = best[~ended][: self.num_beams]
        self.parents = beams[running]
        self.nodes = edges[running] + 1
        self.tokens = self.trie.edge_tokens[edges[running]].astype(np.int64)
        self.log_probabilities = totals[running]
        self.done = not len(running) or self._cannot_improve()

    def _cannot_improve(self) -> bool:
        if len(self.finished) < self.num_beams:
            return False
        best_running = self._normalised(float(self.log_probabilities[0]))
        return best_running <= self.finished[-1].log_score

    def _normalised(self, log_probability: float) -> float:
        return log_probability / self.depth**self.length_penalty


def _top(values: npt.NDArray[np.float64], k: int) -> IntArray:
    """Indices of the k highest values, best first; the lower index wins ties."""
    if len(values) > k:
        threshold = np.partition(values, len(values) - k)[len(values) - k]
        chosen = np.flatnonzero(values >= threshold)
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")][:k]
