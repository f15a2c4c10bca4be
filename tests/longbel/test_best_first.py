"""Exact search against brute force over all names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.longbel.best_first import BestFirstSearch, longest_below

from .search_driver import brute_force, drive, log_probability, make_trie, mask_of, table_model

END, VOCABULARY = 0, 7

names = st.lists(
    st.tuples(
        st.lists(st.integers(1, VOCABULARY - 1), min_size=0, max_size=7).map(
            lambda tokens: (*tokens, END)
        ),
        st.sets(st.integers(0, 2), min_size=1),
    ),
    min_size=1,
    max_size=40,
)
penalties = st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0])


def search_of(trie, groups, num_names, penalty=1.0, longest=None, **settings):
    mask = mask_of(groups)
    longest = longest_below(trie) if longest is None else longest
    return BestFirstSearch(trie, longest, mask, END, num_names, penalty, **settings)


def many_names(seed):
    """Up to 100 names in two groups, of few tokens and of very different lengths."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, random.integers(2, 12), 100)
    return [
        ((*random.integers(1, random.integers(3, VOCABULARY), n).tolist(), END), {i % 2})
        for i, n in enumerate(lengths)
    ]


def found(search):
    return [(name.log_score, name.tokens) for name in search.finished]


@settings(max_examples=150, deadline=None)
@given(
    names=names | st.integers(0, 10_000).map(many_names),
    groups=st.sets(st.integers(0, 2), min_size=1),
    num_names=st.sampled_from([1, 1, 2, 3, 8]),
    penalty=penalties,
    width=st.integers(1, 4),
    model=st.builds(
        table_model,
        st.just(VOCABULARY),
        st.integers(0, 50),
        levels=st.sampled_from([None, None, 2, 4]),
        sharp=st.sampled_from([0.0, 1.0, 4.0]),
    ),
    within=st.booleans(),
)
def test_equals_brute_force(names, groups, num_names, penalty, width, model, within):
    trie = make_trie(names)
    longest = longest_below(trie, mask_of(groups)) if within else None
    search = search_of(trie, groups, num_names, penalty, longest, width=width)
    drive(search, model)
    assert search.done
    assert search.complete
    assert found(search) == brute_force(names, groups, model, penalty)[:num_names]
    for name in search.finished:
        assert name.log_probability == pytest.approx(name.log_score * len(name.tokens) ** penalty)
        (node,) = name.nodes
        assert {names[i][0] for i in trie.sequences_at(node)} == {name.tokens}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0]))
def test_reads_only_what_might_win(seed, num_names, penalty):
    names, model = many_names(seed), table_model(VOCABULARY, seed)
    trie = make_trie(names)
    search = search_of(trie, {0, 1}, num_names, penalty, width=1)
    driven = drive(search, model)
    worst = search.finished[-1].log_score
    # The dive goes down with every reading; thereafter no prefix is begun that was bound to lose.
    for reading in driven.readings[trie.depth :]:
        (begun,) = [path for path in reading if path[:-1] not in reading]
        longest = max(len(tokens) for tokens, _ in names if tokens[: len(begun)] == begun)
        assert log_probability(model, begun) / longest**penalty >= worst


@settings(max_examples=60, deadline=None)
@given(
    names=names,
    num_names=st.integers(1, 5),
    seed=st.integers(0, 50),
    max_reads=st.integers(0, 30),
)
def test_reads_no_more_than_allowed_and_says_if_it_was_enough(names, num_names, seed, max_reads):
    model = table_model(VOCABULARY, seed)
    search = search_of(make_trie(names), {0, 1, 2}, num_names, max_reads=max_reads)
    assert drive(search, model).reads <= max_reads
    everything = brute_force(names, {0, 1, 2}, model, 1.0)
    assert set(found(search)) <= set(everything)
    if search.complete:
        assert found(search) == everything[:num_names]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.0, 1.0]))
def test_what_need_not_be_proven_is_found_on_the_way(seed, num_proven, penalty):
    names = many_names(seed)
    # Whole numbers tie: the order among equals has to be right, too.
    model = table_model(VOCABULARY, seed, levels=2 if seed % 2 else None)
    trie = make_trie(names)
    search = search_of(trie, {0, 1}, 5, penalty, num_proven=num_proven, width=1)
    fewer = drive(search, model)
    everything = brute_force(names, {0, 1}, model, penalty)
    assert search.complete
    assert found(search)[:num_proven] == everything[:num_proven]
    assert found(search) == [name for name in everything if name in found(search)]
    assert len(search.finished) == min(5, len(everything))
    proven = search_of(trie, {0, 1}, 5, penalty, width=1)
    assert fewer.reads <= drive(proven, model).reads


def test_fewer_proven_names_take_fewer_reads():
    names = many_names(1)
    reads = []
    for num_proven in (1, 3, None):
        search = search_of(make_trie(names), {0, 1}, 5, num_proven=num_proven)
        reads.append(drive(search, table_model(VOCABULARY, seed=1, sharp=3.0)).reads)
    assert reads == sorted(set(reads))


def test_too_few_reads_leave_it_incomplete():
    names = [((1, 2, END), {0}), ((3, 4, END), {0})]
    model = table_model(VOCABULARY, seed=0)
    cut = search_of(make_trie(names), {0}, 2, max_reads=3)
    drive(cut, model)
    assert (cut.done, cut.complete, len(cut.finished)) == (True, False, 1)
    enough = search_of(make_trie(names), {0}, 2, max_reads=4)
    drive(enough, model)
    assert (enough.done, enough.complete, len(enough.finished)) == (True, True, 2)


def test_finds_what_beams_lose():
    """A name whose beginning is unlikely, and whose end is certain."""
    names = [((first, last, END), {0}) for first in range(1, 6) for last in (1, 2)]
    first = np.log([0.01, 0.25, 0.23, 0.21, 0.19, 0.11, 1e-9])
    certain = np.log([1e-9, 1.0, 1e-9, 1e-9, 1e-9, 1e-9, 1e-9])
    undecided = np.log([0.1, 0.1, 0.1, 0.175, 0.175, 0.175, 0.175])

    def model(path):
        if len(path) == 2:
            return np.log(np.full(VOCABULARY, 0.5))
        return first if not path else certain if path[0] == 5 else undecided

    search = search_of(make_trie(names), {0}, 1, width=1)
    drive(search, model)
    assert found(search) == [((np.log(0.11) + np.log(0.5)) / 3, (5, 1, END))]


def test_does_not_read_what_cannot_win():
    names = [((first, *[first] * first, END), {0}) for first in range(1, VOCABULARY)]

    def model(path):
        return np.log([0.9, 0.9, *[0.001] * (VOCABULARY - 2)])

    search = search_of(make_trie(names), {0}, 1, penalty=0.0)
    driven = drive(search, model)
    assert search.complete
    # The name and its run, in one reading; every other first token is worse than all of it.
    assert driven.readings == [[(1,), (1, 1)]]


@pytest.mark.parametrize("num_names", [1, 5])
def test_a_group_with_one_name_is_read_at_once(num_names):
    names = [((1, 2, 3, END), {0}), ((1, 2, 4, END), {1})]
    search = search_of(make_trie(names), {0}, num_names)
    driven = drive(search, table_model(VOCABULARY, seed=1))
    assert [name.tokens for name in search.finished] == [(1, 2, 3, END)]
    assert driven.readings == [[(1,), (1, 2), (1, 2, 3)]]


def test_a_group_without_names_is_done_at_once():
    search = search_of(make_trie([((1, END), {0})]), {2}, 3)
    assert (search.done, search.complete, search.finished) == (True, True, [])
    assert len(search.question().places) == 0


def test_impossible_names_come_last():
    names = [((1, END), {0}), ((2, END), {0}), ((3, END), {0})]

    def model(path):
        return np.array([0.0, -1.0, -np.inf, -2.0, -3.0, -3.0, -3.0])

    search = search_of(make_trie(names), {0}, 3)
    drive(search, model)
    assert found(search) == [(-0.5, (1, END)), (-1.0, (3, END)), (-np.inf, (2, END))]


@given(names=names, groups=st.none() | st.sets(st.integers(0, 2), min_size=1))
def test_longest_below_equals_counting(names, groups):
    trie = make_trie(names)
    longest = longest_below(trie, None if groups is None else mask_of(groups))
    wanted = [tokens for tokens, own in names if groups is None or own & groups]
    nodes = [(0, ())]
    for node, path in nodes:
        own = [len(t) - len(path) for t in wanted if t[: len(path)] == path]
        assert longest[node] == max(own, default=0)
        rows, edges = trie.children(np.array([node]), mask_of({0, 1, 2}))
        assert not rows.any()
        nodes += [(int(e) + 1, (*path, int(trie.edge_tokens[e]))) for e in edges]
    assert len(nodes) == trie.n_nodes == len(longest)


def test_longest_below_of_long_names_does_not_overflow():
    trie = make_trie([((1,) * 300, {0}), ((2,), {0})])
    assert longest_below(trie)[[0, 1, 2]].tolist() == [300, 299, 0]
