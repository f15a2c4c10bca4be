"""Beam search over the names of a token trie.

The search is that of Hugging Face ``generate(num_beams=…, prefix_allowed_tokens_fn=…)`` without
early stopping, for one sequence: log-probabilities over the whole vocabulary, masked and not
renormalised; finished names ranked by log-probability / length ** length_penalty, the end token
included; stop when the best running beam is no better than the worst of `num_beams` finished ones.

Where the trie leaves no choice, tokens are read ahead: the run of forced tokens behind a beam goes
through the model at once, and its log-probabilities are held back until the search comes to them,
so that beams are still compared at equal length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..kb.token_trie import IntArray, MaskArray, TokenTrie
from .search import PROMPT, FloatArray, Hypothesis, Question, Reading

_NOT_READ = -2


class _Options(NamedTuple):
    """Continuations of a place: tokens (m,), edges (m,), and their log-probabilities (m,).

    The edge of a separator is -1 - the node where the name before it ends.
    """

    tokens: IntArray
    edges: IntArray
    log_probabilities: FloatArray


@dataclass(slots=True)
class _Beam:
    """A name in the making.

    node: of the trie. place: of its last token in the tree, `_NOT_READ` if that is still to be
    read. parent: place before that. ended: nodes where the names before a separator end.
    """

    node: int
    place: int
    parent: int
    tokens: tuple[int, ...]
    log_probability: float
    ended: tuple[int, ...]


class BeamSearch:
    """One mention's search; see `Search`.

    trie, group_mask: what may be generated. end_token: token that ends a name. num_beams: beams
    kept. length_penalty: exponent of the length by which log-probabilities are divided. offset:
    added to lengths. separator: token after which another name may follow, for mentions of several
    concepts; None if names stand alone. max_tokens: tokens that such a composite may have.
    read_ahead: read forced runs at once.
    """

    def __init__(
        self,
        trie: TokenTrie,
        group_mask: MaskArray,
        end_token: int,
        num_beams: int,
        length_penalty: float = 1.0,
        *,
        offset: int = 0,
        separator: int | None = None,
        max_tokens: int = 128,
        read_ahead: bool = True,
    ) -> None:
        self.trie = trie
        self.group_mask = group_mask
        self.end_token = end_token
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self.offset = offset
        self.separator = separator
        self.max_tokens = max_tokens
        self.read_ahead = read_ahead
        self.done = False
        self.finished: list[Hypothesis] = []
        #: Tokens that a search has to read which reads nothing ahead.
        self.needed_tokens = 0
        self._beams = [_Beam(0, PROMPT, PROMPT, (), 0.0, ())]
        self._options: dict[int, _Options] = {}
        #: Places that were read ahead, by the place and edge that lead to them.
        self._ahead: dict[tuple[int, int], int] = {}
        #: Tokens from the prompt to each place.
        self._depths: list[int] = []
        #: Places of the newest reading and their nodes, and what was asked about them.
        self._new: tuple[IntArray, IntArray] = (
            np.array([PROMPT]),
            np.zeros(1, np.int64),
        )
        self._asked: tuple[IntArray, IntArray, IntArray] | None = None

    def question(self) -> Question:
        """The tokens that may follow the newest places."""
        places, nodes = self._new
        rows, edges = self.trie.children(nodes, self.group_mask)
        tokens = self.trie.edge_tokens[edges].astype(np.int64)
        if self.separator is not None:
            room = np.array([self._room(place) for place in places.tolist()])
            ends = (tokens == self.end_token) & room[rows]
            rows = np.concatenate([rows, rows[ends]])
            tokens = np.concatenate([tokens, np.full(int(ends.sum()), self.separator)])
            edges = np.concatenate([edges, -2 - edges[ends]])  # of the node edge + 1
            order = np.argsort(rows, kind="stable")
            rows, tokens, edges = rows[order], tokens[order], edges[order]
        self._asked = places[rows], tokens, edges
        return Question(places[rows], tokens)

    def advance(self, log_probabilities: FloatArray, tokens: IntArray) -> None:
        """Take the answer, and search on as far as it goes."""
        assert self._asked is not None
        places, _, edges = self._asked
        for place in map(int, self._new[0]):
            at = places == place
            self._options[place] = _Options(tokens[at], edges[at], log_probabilities[at])
        while not self.done and all(beam.place != _NOT_READ for beam in self._beams):
            self._step()

    def reading(self) -> Reading:
        """The newest token of every beam that is not read yet, and what must follow it."""
        parents: list[int] = []
        tokens: list[int] = []
        nodes: list[int] = []
        running = [beam for beam in self._beams if beam.place == _NOT_READ]
        for beam in running:
            beam.place = len(self._depths) + len(parents)
            parents.append(beam.parent)
            tokens.append(beam.tokens[-1])
            nodes.append(beam.node)
        if self.read_ahead:
            self._run_ahead([(beam.place, beam.node) for beam in running], parents, tokens, nodes)
        new = np.arange(len(self._depths), len(self._depths) + len(parents))
        self._new = new, np.array(nodes, np.int64)
        for parent in parents:
            self._depths.append(1 if parent == PROMPT else self._depths[parent] + 1)
        return Reading(np.array(parents, np.int64), np.array(tokens, np.int64))

    def _run_ahead(
        self,
        ends: list[tuple[int, int]],
        parents: list[int],
        tokens: list[int],
        nodes: list[int],
    ) -> None:
        """Append what the trie forces after some (place, node), as far as it does after all.

        Where one beam has a choice, there will be another reading: the others can wait for it.
        """
        while ends:
            rows, edges = self.trie.children(np.array([node for _, node in ends]), self.group_mask)
            if len(rows) > len(ends):
                return
            further = []
            for row, edge in zip(rows.tolist(), edges.tolist(), strict=True):
                token = int(self.trie.edge_tokens[edge])
                if token != self.end_token:
                    place = len(self._depths) + len(parents)
                    self._ahead[ends[row][0], edge] = place
                    parents.append(ends[row][0])
                    tokens.append(token)
                    nodes.append(edge + 1)
                    further.append((place, edge + 1))
            ends = further

    def _step(self) -> None:
        """Make every beam longer by one token."""
        options = [self._options[beam.place] for beam in self._beams]
        totals = np.concatenate(
            [
                beam.log_probability + found.log_probabilities
                for beam, found in zip(self._beams, options, strict=True)
            ]
        )
        first = np.cumsum([0, *(len(found.tokens) for found in options)])
        best = _top(totals, 2 * self.num_beams)
        owners = np.searchsorted(first, best, side="right") - 1
        beams: list[_Beam] = []
        for rank, (index, owner) in enumerate(zip(best.tolist(), owners.tolist(), strict=True)):
            beam, at = self._beams[owner], index - int(first[owner])
            token, edge = int(options[owner].tokens[at]), int(options[owner].edges[at])
            total = float(totals[index])
            if token == self.end_token and edge >= 0:
                # Only names among the best `num_beams` continuations may finish; the rest are a
                # reserve that keeps the beam full.
                if rank < self.num_beams:
                    self._finish(beam, edge + 1, total)
            elif len(beams) < self.num_beams:
                beams.append(self._longer(beam, token, edge, total))
        self.finished.sort(key=lambda h: -h.log_score)
        del self.finished[self.num_beams :]
        self._beams = beams
        self.done = not beams or self._cannot_improve()
        self.needed_tokens += 0 if self.done else len(beams)

    def _longer(self, beam: _Beam, token: int, edge: int, total: float) -> _Beam:
        ended = beam.ended if edge >= 0 else (*beam.ended, -1 - edge)
        node = edge + 1 if edge >= 0 else 0
        place = self._ahead.get((beam.place, edge), _NOT_READ)
        return _Beam(node, place, beam.place, (*beam.tokens, token), total, ended)

    def _finish(self, beam: _Beam, node: int, total: float) -> None:
        tokens = (*beam.tokens, self.end_token)
        score = self._normalised(total, len(tokens))
        self.finished.append(Hypothesis((*beam.ended, node), tokens, total, score))

    def _cannot_improve(self) -> bool:
        if len(self.finished) < self.num_beams:
            return False
        best = self._beams[0]
        score = self._normalised(best.log_probability, len(best.tokens))
        return score <= self.finished[-1].log_score

    def _normalised(self, log_probability: float, length: int) -> float:
        return log_probability / (length + self.offset) ** self.length_penalty

    def _room(self, place: int) -> bool:
        """Whether a separator and the longest name would fit behind a place."""
        depth = 0 if place == PROMPT else self._depths[place]
        return depth + 1 + self.trie.depth <= self.max_tokens


def _top(values: FloatArray, k: int) -> IntArray:
    """Indices of the k highest values, best first; the lower index wins ties."""
    if len(values) > k:
        threshold = np.partition(values, len(values) - k)[len(values) - k]
        chosen = np.flatnonzero(values >= threshold)
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")][:k]
