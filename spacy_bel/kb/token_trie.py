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
    sequences of the same tokens end in the same node.

    first_edge: int64 (nodes + 1), where each node's edges begin. edge_tokens: int32 (edges).
    edge_groups: uint64 (edges, words), bit g set if a sequence of group g passes. end_nodes: int32
    (ends,), ascending, the nodes where sequences end; first_end: int64 (ends + 1) and
    end_sequences: int32 (sequences), which ones. depth: tokens of the longest sequence.
    """

    first_edge: IntArray
    edge_tokens: IntArray
    edge_groups: MaskArray
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
        words = group_masks.shape[1]
        vocabulary = int(tokens.max()) + 1
        nodes = np.zeros(len(lengths), dtype=np.int64)
        active = np.arange(len(lengths))
        n_nodes, depth = 1, 0
        level_tokens, level_groups, level_parents = [], [], []
        while active.size:
            token = tokens[offsets[active] + depth]
            edges, edge_of = np.unique(nodes[active] * vocabulary + token, return_inverse=True)
            edge_of = edge_of.reshape(-1)
            groups = np.zeros((len(edges), words), dtype=np.uint64)
            np.bitwise_or.at(groups, edge_of, group_masks[active])
            level_parents.append(edges // vocabulary)
            level_tokens.append((edges % vocabulary).astype(np.int32))
            level_groups.append(groups)
            nodes[active] = n_nodes + edge_of
            n_nodes += len(edges)
            depth += 1
            active = active[lengths[active] > depth]
        parents = np.concatenate(level_parents)
        first_edge = np.searchsorted(parents, np.arange(n_nodes + 1))
        by_end = np.argsort(nodes, kind="stable")
        end_nodes, first_end = np.unique(nodes[by_end], return_index=True)
        return cls(
            first_edge=first_edge.astype(np.int64),
            edge_tokens=np.concatenate(level_tokens),
            edge_groups=np.concatenate(level_groups),
            end_nodes=end_nodes.astype(np.int32),
            first_end=np.append(first_end, len(by_end)).astype(np.int64),
            end_sequences=by_end.astype(np.int32),
            depth=depth,
        )

    @property
    def n_nodes(self) -> int:
        """Number of nodes, the root included."""
        return len(self.first_edge) - 1

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
        allowed = (self.edge_groups[edges] & group_mask).any(axis=1)
        return rows[allowed], edges[allowed]

    def sequences_at(self, node: int) -> IntArray:
        """Sequences that end in a node, ascending; empty if none does."""
        at = int(np.searchsorted(self.end_nodes, node))
        if at == len(self.end_nodes) or self.end_nodes[at] != node:
            return np.empty(0, np.int32)
        return self.end_sequences[self.first_end[at] : self.first_end[at + 1]]
