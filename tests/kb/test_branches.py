from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.kb.readers.branches import top_branches


def test_example():
    parents = {"root": [], "a": ["root"], "b": ["root"], "ab": ["a", "b"], "lonely": ["elsewhere"]}
    assert top_branches(parents) == {
        "root": {"root"},
        "a": {"a"},
        "b": {"b"},
        "ab": {"a", "b"},
        "lonely": {"lonely"},
    }


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 14), max_size=3)))
def test_against_walking_up(graph):
    """Reference: from each term, walk up to the terms whose parent is a root."""
    known = {c: {p for p in above if p in graph and p != c} for c, above in graph.items()}
    expected = {}
    for code in graph:
        ancestors, stack = set(), [code]
        while stack:
            current = stack.pop()
            if current not in ancestors:
                ancestors.add(current)
                stack.extend(known[current])
        expected[str(code)] = {
            str(a) for a in ancestors if any(not known[parent] for parent in known[a])
        } | ({str(code)} if not known[code] else set())
    parents = {str(c): [str(p) for p in above] for c, above in graph.items()}
    assert top_branches(parents) == expected
