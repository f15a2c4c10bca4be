"""A trie over token sequences, in arrays, with the semantic groups of every edge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]
MaskArray = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class TokenTrie:
    """Which tokens may follow which, for the names of each semantic group.

    Nodes are numbered breadth first and edges sorted by (parent, token), so that edge ``e`` always
    leads to node ``e + 1``: children need no array. A sequence is known by its index, and several
    sequences of the same tokens end in the same node. Few sets of groups occur, so an edge keeps
    the number of its set.

    first_edge: int32, int64 from 2**31 edges on (nodes + 1), where each node's edges begin.
    edge_tokens: int32 (edges). edge_sets: unsigned, as narrow as it gets (edges), the row of
    group_sets: uint64 (sets, words), bit g set if a sequence of group g passes. end_nodes: like
    first_edge (ends,), ascending, the nodes where sequences end; first_end: int32 (ends + 1) and
    end_sequences: int32 (sequences), which ones. depth: tokens of the longest sequence.
    """

    first_edge: IntArray
    edge_tokens: IntArray
    edge_sets: IntArray
    group_sets: MaskArray
    end_nodes: IntArray
    first_end: IntArray
    end_sequences: IntArray
    depth: int

    @classmethod
    def from_sequences(
        cls, sequences: Iterable[Sequence[int]], group_masks: MaskArray
    ) -> TokenTrie:
        """Build from lists of token ids; see `build`."""
        rows = [np.asarray(sequence, dtype=np.int32) for sequence in sequences]
        offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        tokens = np.concatenate(rows) if rows else np.empty(0, np.int32)
        return cls.build(tokens, offsets, group_masks)

    @classmethod
    def build(cls, tokens: IntArray, offsets: IntArray, group_masks: MaskArray) -> TokenTrie:
        """Build level by level, without Python objects per token.

        tokens: int32, all sequences end to end. offsets: int64 (sequences + 1), where each begins.
        group_masks: uint64 (sequences, words). Raises ValueError if there is no sequence, or an
        empty one.
        """
        lengths = np.diff(offsets)
        if not len(lengths) or not lengths.all():
            raise ValueError("A token trie needs at least one sequence, and none may be empty.")
        vocabulary = int(tokens.max()) + 1
        sets = _GroupSets(group_masks.shape[1])
        set_of_sequence = sets.numbers(group_masks)
        nodes = np.zeros(len(lengths), dtype=np.int64)
        active = np.arange(len(lengths))
        n_nodes, depth = 1, 0
        level_tokens, level_sets = [], []
        edge_counts = [np.zeros(1, np.int32)]
        while active.size:
            # Sequences stay in the order of their nodes, so that those of an edge stand together.
            keys = nodes[active] * vocabulary + tokens[offsets[active] + depth]
            order = np.argsort(keys, kind="stable")
            active, keys = active[order], keys[order]
            new = np.append(True, keys[1:] != keys[:-1])
            edges = np.flatnonzero(new)
            level_tokens.append((keys[edges] % vocabulary).astype(np.int32))
            level_sets.append(sets.unions(set_of_sequence[active], edges))
            # Parents all belong to the level before, which begins where its edges are counted.
            parents = keys[edges] // vocabulary - (n_nodes - len(edge_counts[-1]))
            counts = np.bincount(parents, minlength=len(edge_counts[-1]))
            edge_counts[-1] = counts.astype(np.int32)
            edge_counts.append(np.zeros(len(edges), np.int32))
            nodes[active] = n_nodes - 1 + np.cumsum(new)
            n_nodes += len(edges)
            depth += 1
            active = active[lengths[active] > depth]
        index = np.int32 if n_nodes < 2**31 else np.int64
        first_edge: IntArray = np.zeros(n_nodes + 1, index)
        np.cumsum(np.concatenate(edge_counts), out=first_edge[1:])
        by_end = np.argsort(nodes, kind="stable")
        ends = nodes[by_end]
        first_end = np.flatnonzero(np.append(True, ends[1:] != ends[:-1]))
        return cls(
            first_edge=first_edge,
            edge_tokens=np.concatenate(level_tokens),
            edge_sets=sets.narrowed(level_sets),
            group_sets=sets.table(),
            end_nodes=ends[first_end].astype(index),
            first_end=np.append(first_end, len(ends)).astype(np.int32),
            end_sequences=by_end.astype(np.int32),
            depth=depth,
        )

    @property
    def n_nodes(self) -> int:
        """Number of nodes, the root included."""
        return len(self.first_edge) - 1

    @property
    def edge_groups(self) -> MaskArray:
        """The groups of every edge, uint64 (edges, words); made anew at each call."""
        return self.group_sets[self.edge_sets]

    def children(self, nodes: IntArray, group_mask: MaskArray) -> tuple[IntArray, IntArray]:
        """Edges that lead on from several nodes within some groups.

        nodes: (n,) node ids. group_mask: uint64 (words,). Returns (rows, edges), both (m,): the
        index into `nodes` and the edge, sorted by (row, token). The edge's token is
        ``edge_tokens[edge]`` and its node ``edge + 1``.
        """
        starts = self.first_edge[nodes]
        counts = self.first_edge[nodes + 1] - starts
        rows = np.repeat(np.arange(len(nodes)), counts)
        shift = starts - np.concatenate(([0], np.cumsum(counts)[:-1]))
        edges = np.arange(len(rows)) + np.repeat(shift, counts)
        allowed = (self.group_sets[self.edge_sets[edges]] & group_mask).any(axis=1)
        return rows[allowed], edges[allowed]

    def find(self, sequence: Sequence[int]) -> int:
        """The node that a sequence of tokens leads to, from the root; -1 if there is none."""
        node = 0
        for token in sequence:
            first, end = int(self.first_edge[node]), int(self.first_edge[node + 1])
            edge = first + int(np.searchsorted(self.edge_tokens[first:end], token))
            if edge == end or self.edge_tokens[edge] != token:
                return -1
            node = edge + 1
        return node

    def sequences_at(self, node: int) -> IntArray:
        """Sequences that end in a node, ascending; empty if none does."""
        # Of the array's own type: numpy would copy all of it to compare with a wider integer.
        at = int(np.searchsorted(self.end_nodes, self.end_nodes.dtype.type(node)))
        if at == len(self.end_nodes) or self.end_nodes[at] != node:
            return np.empty(0, np.int32)
        return self.end_sequences[self.first_end[at] : self.first_end[at + 1]]


class _GroupSets:
    """Numbers for the sets of groups that occur, in the order in which they are met."""

    def __init__(self, words: int) -> None:
        self._words = words
        self._known: dict[bytes, int] = {}

    def numbers(self, masks: MaskArray) -> npt.NDArray[np.int32]:
        """The number of each row."""
        row_of = np.zeros(len(masks), np.int64)
        for word in range(self._words):
            # One word after the other: sorting whole rows would take several times the memory.
            _, numbers = np.unique(masks[:, word], return_inverse=True)
            _, row_of = np.unique(row_of * (numbers.max() + 1) + numbers, return_inverse=True)
        some = np.empty(int(row_of.max()) + 1, np.int64)
        some[row_of] = np.arange(len(masks))
        known = self._known
        return np.array(
            [known.setdefault(row.tobytes(), len(known)) for row in masks[some]], np.int32
        )[row_of]

    def unions(self, numbers: IntArray, starts: IntArray) -> npt.NDArray[np.int32]:
        """The number of the union of each run ``numbers[starts[i]:starts[i + 1]]``."""
        united = numbers[starts]
        mixed = np.add.reduceat(
            numbers != np.repeat(united, _lengths(starts, len(numbers))), starts
        )
        rows = np.flatnonzero(mixed)
        if rows.size:
            masks = np.bitwise_or.reduceat(self.table()[numbers], starts)[rows]
            united[rows] = self.numbers(masks)
        return united

    def table(self) -> MaskArray:
        """The sets by number."""
        return np.frombuffer(b"".join(self._known), np.uint64).reshape(-1, self._words)

    def narrowed(self, levels: list[npt.NDArray[np.int32]]) -> IntArray:
        """The numbers of all levels in the narrowest type that holds them."""
        dtype = np.min_scalar_type(len(self._known) - 1)
        return np.concatenate([level.astype(dtype) for level in levels])


def _lengths(starts: IntArray, end: int) -> IntArray:
    return np.diff(np.append(starts, end))
