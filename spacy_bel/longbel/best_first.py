"""Exact search: the names of a token trie that a model holds for the most likely.

Best-first branch and bound. Whatever a prefix goes on to, its log-probability can only fall, and
its length can reach at most that of the longest name below; together they bound the score of every
name that begins with it. Prefixes are read in the order of their bounds, after a dive in the manner
of beam search that finds good names early, and a prefix is given up once enough names are better
than its bound. What remains in the end are the best names of all, not only of those that stayed
among the most likely at every step.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..kb.token_trie import IntArray, MaskArray, TokenTrie
from .search import PROMPT, FloatArray, Hypothesis, Question, Reading, TokenTree

#: Prefixes not read yet. node: where the prefix ends in the trie. place: the place that its last
#: token follows. depth: tokens in it. total: their log-probability. bound: see `_bounds`.
_PREFIX = np.dtype(
    [
        ("node", np.int64),
        ("place", np.int64),
        ("depth", np.int64),
        ("total", np.float64),
        ("bound", np.float64),
    ]
)
_Prefixes = npt.NDArray[np.void]


def longest_below(trie: TokenTrie, group_mask: MaskArray | None = None) -> IntArray:
    """How many tokens the longest sequence has beyond each node.

    group_mask: uint64 (words,), to regard only sequences of some groups, which bounds their search
    more tightly; None for all. Returns (nodes,), unsigned and as narrow as it gets. Takes time in
    proportion to the edges, so keep it beside the trie.
    """
    longest: IntArray = np.zeros(trie.n_nodes, np.min_scalar_type(trie.depth))
    first, end = 0, 1
    levels = []
    while first < end:
        levels.append((first, end))
        first, end = int(trie.first_edge[first]) + 1, int(trie.first_edge[end]) + 1
    # The deepest level has no edges. Nodes are numbered by level, so that the edges of a level
    # stand together, and so do their nodes.
    for first, end in levels[-2::-1]:
        starts = trie.first_edge[first : end + 1].astype(np.int64)
        edges = slice(int(starts[0]), int(starts[-1]))
        ways = longest[edges.start + 1 : edges.stop + 1] + 1
        if group_mask is not None:
            ways *= (trie.group_sets & group_mask).any(axis=1)[trie.edge_sets[edges]]
        inner = np.flatnonzero(starts[1:] > starts[:-1])
        longest[first + inner] = np.maximum.reduceat(ways, starts[inner] - edges.start)
    return longest


class BestFirstSearch:
    """A `Search` for the names with the highest scores, however unlikely their beginnings are.

    trie, group_mask: what may be generated. longest: of `longest_below`, for all groups or for
    these. end_token: token that ends a name. num_names: how many names are wanted; of equal scores
    the shorter name comes first, then the one whose tokens have the lower ids. length_penalty:
    exponent of the length, the end token included, by which log-probabilities are divided.
    offset: added to lengths. num_proven: how many of the names have to be the best of all, and in
    that order; the others are the best that came up on the way. None for all. width: prefixes that
    are read in one forward pass once the dive is over. max_reads: tokens that may be read behind
    the prompt; after so many the search ends with what it has found.

    finished: best first. complete: whether what had to be proven is. One name is proven soon if the
    model is sure of it; for each further one everything must be read that might still beat it. With
    a high length penalty, or a model that is undecided, that may be all there is.
    """

    def __init__(
        self,
        trie: TokenTrie,
        longest: IntArray,
        group_mask: MaskArray,
        end_token: int,
        num_names: int,
        length_penalty: float = 1.0,
        *,
        offset: int = 0,
        num_proven: int | None = None,
        width: int = 16,
        max_reads: int = 2048,
    ) -> None:
        self.trie = trie
        self.longest = longest
        self.group_mask = group_mask
        self.end_token = end_token
        self.num_names = num_names
        self.num_proven = num_names if num_proven is None else min(num_proven, num_names)
        self.width = width
        self.max_reads = max_reads
        self.finished: list[Hypothesis] = []
        # One table for names and bounds, so that no rounding puts a bound below its names.
        self._scales = np.array(
            [max(n + offset, 1) ** length_penalty for n in range(trie.depth + 1)]
        )
        self._longer_is_better = length_penalty >= 0
        self._tree = TokenTree()
        self._tokens: list[int] = []
        self._frontier: _Prefixes = np.empty(0, _PREFIX)
        self._diving = True
        # What is being read: the first place, and of each token its node, the log-probability of
        # its prefix, and the row that it follows in a run without branches, or -1.
        self._first_place = PROMPT
        self._depths: IntArray = np.zeros(1, np.int64)
        self._totals: FloatArray = np.zeros(1)
        self._before: IntArray = np.full(1, -1)
        self._parents: IntArray = np.empty(0, np.int64)
        self._rows, self._edges = trie.children(np.zeros(1, np.int64), group_mask)
        self.done = not len(self._edges)
        self.complete = self.done

    def question(self) -> Question:
        """The children of every node just read."""
        return Question(self._first_place + self._rows, self.trie.edge_tokens[self._edges])

    def advance(self, log_probabilities: FloatArray, tokens: IntArray) -> None:
        """Take their log-probabilities and choose what to read next."""
        if self.done:
            return
        new = self._promising(self._follow(log_probabilities, tokens))
        if self._diving:
            # Of equal lengths the likelier beginnings, not the bounds: to end somewhere good soon.
            likely = new["total"] / self._scales[new["depth"]]
            chosen = _top(likely, self._affordable(self.num_names))
            self._diving = len(chosen) > 0 and self._improves(float(likely[chosen[0]]))
        if not self._diving:
            new = self._promising(np.concatenate([self._frontier, new]))
            self._frontier = new[:0]
            chosen = _top(new["bound"], self._affordable(self.width))
        rest = np.ones(len(new), bool)
        rest[chosen] = False
        self._frontier = np.concatenate([self._frontier, new[rest]])
        self.done = not len(chosen)
        self.complete = self.done and not len(self._frontier)
        if not self.done:
            self._plan(new[chosen])

    def reading(self) -> Reading:
        """The chosen prefixes, and what must follow each where there is only one way."""
        return Reading(self._parents, np.array(self._tokens[self._first_place :], np.int64))

    def _follow(self, log_probabilities: FloatArray, tokens: IntArray) -> _Prefixes:
        """Record the names that end here; the prefixes that go on."""
        rows, totals = self._rows, self._totals
        for row in np.flatnonzero(self._before >= 0):
            before = self._before[row]
            totals[row] = totals[before] + log_probabilities[np.searchsorted(rows, before)]
        branching = np.ones(len(totals), bool)
        branching[self._before[self._before >= 0]] = False
        leads_on = branching[rows]
        rows, edges = rows[leads_on], self._edges[leads_on]
        totals = totals[rows] + log_probabilities[leads_on]
        ended = tokens[leads_on] == self.end_token
        for row, edge, total in zip(rows[ended], edges[ended], totals[ended], strict=True):
            self._finish(int(row), int(edge) + 1, float(total))
        self.finished.sort(key=lambda name: (-name.log_score, name.nodes))
        del self.finished[self.num_names :]
        rows, edges, totals = rows[~ended], edges[~ended], totals[~ended]
        new = np.empty(len(rows), _PREFIX)
        new["node"] = edges + 1
        new["place"] = self._first_place + rows
        new["depth"] = self._depths[rows] + 1
        new["total"] = totals
        new["bound"] = self._bounds(new)
        return new

    def _finish(self, row: int, node: int, total: float) -> None:
        path = self._tree.path(self._first_place + row)
        tokens = (*(self._tokens[place] for place in path), self.end_token)
        score = float(total / self._scales[len(tokens)])
        self.finished.append(Hypothesis((node,), tokens, total, score))

    def _bounds(self, prefixes: _Prefixes) -> FloatArray:
        """No name that begins with a prefix scores higher.

        Its log-probability is that of the prefix at best, and what it is divided by is greatest for
        the longest name, or for the shortest if the penalty is negative.
        """
        lengths = prefixes["depth"] + 1
        if self._longer_is_better:
            lengths = prefixes["depth"] + self.longest[prefixes["node"]]
        bounds: FloatArray = prefixes["total"] / self._scales[lengths]
        return bounds

    def _promising(self, prefixes: _Prefixes) -> _Prefixes:
        if len(self.finished) < self.num_names:
            return prefixes
        worst = self.finished[(self.num_names if self._diving else self.num_proven) - 1]
        bounds = prefixes["bound"]
        # Nodes below have higher numbers: only before its own can there be an equal that precedes.
        equal = (bounds == worst.log_score) & (prefixes["node"] < worst.nodes[0])
        return prefixes[(bounds > worst.log_score) | equal]

    def _improves(self, log_score: float) -> bool:
        return len(self.finished) < self.num_names or log_score > self.finished[-1].log_score

    def _affordable(self, number: int) -> int:
        return min(number, self.max_reads - len(self._tree))

    def _plan(self, chosen: _Prefixes) -> None:
        """Lay out a reading: the chosen prefixes first, then their runs, token by token."""
        affordable = self._affordable(self.max_reads)
        first = len(self._tree)
        nodes = chosen["node"]
        before: IntArray = np.full(len(nodes), -1)
        all_nodes, all_before, all_rows, all_edges = [], [], [], []
        begin = 0
        while len(nodes):
            rows, edges = self.trie.children(nodes, self.group_mask)
            all_nodes.append(nodes)
            all_before.append(before)
            all_rows.append(begin + rows)
            all_edges.append(edges)
            alone = np.bincount(rows, minlength=len(nodes))[rows] == 1
            alone &= self.trie.edge_tokens[edges] != self.end_token
            begin += len(nodes)
            # A run that cannot be paid for is cut; what follows waits as a prefix of its own.
            alone = np.flatnonzero(alone)[: affordable - begin]
            nodes, before = edges[alone] + 1, all_rows[-1][alone]
        self._rows, self._edges = np.concatenate(all_rows), np.concatenate(all_edges)
        self._before = np.concatenate(all_before)
        follows = self._before >= 0
        self._parents = first + self._before
        self._parents[~follows] = chosen["place"]
        self._totals = np.zeros(begin)
        self._totals[~follows] = chosen["total"]
        self._tokens += self.trie.edge_tokens[np.concatenate(all_nodes) - 1].tolist()
        self._tree.add(self._parents)
        self._depths = np.array(self._tree.depths[first:])
        self._first_place = first


def _top(values: FloatArray, k: int) -> IntArray:
    """Indices of the k highest values, best first; the lower index wins ties."""
    if len(values) > k > 0:
        threshold = np.partition(values, len(values) - k)[len(values) - k]
        candidates = np.flatnonzero(values >= threshold)
    else:
        candidates = np.arange(len(values))
    return candidates[np.argsort(-values[candidates], kind="stable")][:k]
