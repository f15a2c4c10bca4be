"""The array trie against nested dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.kb.token_trie import TokenTrie

sequences = st.lists(
    st.tuples(
        st.lists(st.integers(0, 6), min_size=1, max_size=5).map(tuple),
        st.sets(st.sampled_from([0, 1, 70]), min_size=1),
    ),
    min_size=1,
    max_size=30,
)


def masks_of(groups):
    masks = np.zeros((len(groups), 2), np.uint64)
    for row, members in enumerate(groups):
        for group in members:
            masks[row, group // 64] |= np.uint64(1) << np.uint64(group % 64)
    return masks


def nested(rows, group):
    """{token: {…}} of the sequences of a group, and which sequences end where."""
    root, ends = {}, {}
    for index, (tokens, groups) in enumerate(rows):
        if group in groups:
            node = root
            for token in tokens:
                node = node.setdefault(token, {})
            ends.setdefault(tokens, []).append(index)
    return root, ends


@given(sequences)
def test_equals_nested_dictionaries(rows):
    masks = masks_of([groups for _, groups in rows])
    trie = TokenTrie.from_sequences([tokens for tokens, _ in rows], masks)
    assert trie.depth == max(len(tokens) for tokens, _ in rows)
    for group in (0, 1, 70):
        mask = masks_of([{group}])[0]
        root, ends = nested(rows, group)
        open_nodes = [(0, (), root)]
        while open_nodes:
            nodes = np.array([node for node, _, _ in open_nodes])
            found, edges = trie.children(nodes, mask)
            following = []
            for row, (_, path, children) in enumerate(open_nodes):
                mine = edges[found == row]
                tokens = trie.edge_tokens[mine].tolist()
                assert tokens == sorted(children)
                for token, edge in zip(tokens, mine, strict=True):
                    following.append((int(edge) + 1, (*path, token), children[token]))
            for node, path, _ in following:
                here = [i for i in trie.sequences_at(node) if group in rows[i][1]]
                assert here == ends.get(path, [])
            open_nodes = following


def test_sequences_at_inner_nodes_is_empty():
    trie = TokenTrie.from_sequences([(1, 2, 3)], masks_of([{0}]))
    assert [len(trie.sequences_at(n)) for n in range(trie.n_nodes)] == [0, 0, 0, 1]


@pytest.mark.parametrize("rows", [[], [(1,), ()]])
def test_no_or_empty_sequences(rows):
    with pytest.raises(ValueError, match="sequence"):
        TokenTrie.from_sequences(rows, masks_of([{0}] * len(rows)).reshape(len(rows), 2))
