"""Given names against sums of log-probabilities; searches together against each alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.longbel.best_first import BestFirstSearch, longest_below
from spacy_bel.longbel.forced_scoring import ForcedScoring, Together
from spacy_bel.longbel.free_search import FreeBeamSearch

from .search_driver import drive, log_probability, make_trie, mask_of, table_model

END, VOCABULARY = 0, 6

sequences = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=5).map(tuple), max_size=12
)
names = st.lists(
    st.lists(st.integers(1, VOCABULARY - 1), max_size=5).map(lambda t: (*t, END)),
    min_size=1,
    max_size=20,
)


@settings(deadline=None)
@given(sequences, st.integers(0, 50), st.sampled_from([0.0, 1.0, 2.0]))
def test_equals_the_sum_of_log_probabilities(given_sequences, seed, penalty):
    model = table_model(VOCABULARY, seed)
    search = ForcedScoring(given_sequences, length_penalty=penalty)
    driven = drive(search, model)
    assert {h.tokens: (h.log_probability, h.log_score) for h in search.finished} == {
        s: (log_probability(model, s), log_probability(model, s) / len(s) ** penalty)
        for s in given_sequences
    }
    scores = [h.log_score for h in search.finished]
    assert scores == sorted(scores, reverse=True)
    # One reading, and in it every beginning that another token follows, once.
    inner = {s[:n] for s in given_sequences for n in range(1, len(s))}
    assert len(driven.readings) == (len(inner) > 0)
    assert sorted(sum(driven.readings, [])) == sorted(inner)


def test_nodes_are_those_of_the_caller():
    search = ForcedScoring([(1, END), (2, END)], nodes=[(7,), (8, 9)])
    drive(search, table_model(VOCABULARY, seed=0))
    assert {h.tokens: h.nodes for h in search.finished} == {(1, END): (7,), (2, END): (8, 9)}


def test_refuses_sequences_without_tokens_and_nodes_that_do_not_match():
    with pytest.raises(ValueError, match="Leave it out"):
        ForcedScoring([(1, END), ()])
    with pytest.raises(ValueError, match="zip"):
        ForcedScoring([(1, END)], nodes=[(1,), (2,)])


@settings(deadline=None)
@given(names, st.lists(sequences, max_size=2), st.integers(0, 50), st.integers(1, 3))
def test_together_each_finds_what_it_finds_alone(all_names, forced, seed, width):
    model = table_model(VOCABULARY, seed)
    trie = make_trie([(name, {0}) for name in all_names])

    def searches():
        exact = BestFirstSearch(
            trie, longest_below(trie), mask_of({0}), END, num_names=3, width=width
        )
        return [exact, *map(ForcedScoring, forced)]

    alone = searches()
    readings = [drive(search, model).readings for search in alone]
    together = Together(searches())
    driven = drive(together, model)
    assert [s.finished for s in together.searches] == [s.finished for s in alone]
    # As many readings as the longest search takes, and no token twice in one of them.
    assert len(driven.readings) == max(map(len, readings))
    for n, reading in enumerate(driven.readings):
        wanted = set().union(*(own[n] for own in readings if n < len(own)))
        assert len(reading) == len(set(reading))
        assert set(reading) == wanted
    everything = {h.tokens: h for s in reversed(alone) for h in s.finished}
    assert {h.tokens: h for h in together.finished} == everything
    assert len(together.finished) == len(everything)
    scores = [h.log_score for h in together.finished]
    assert scores == sorted(scores, reverse=True)


class Strict(FreeBeamSearch):
    def advance(self, log_probabilities, tokens):
        assert log_probabilities.shape == tokens.shape == (len(tokens), self.question().top)
        super().advance(log_probabilities, tokens)


def test_free_searches_together():
    model = table_model(VOCABULARY, seed=2)

    def searches():
        return [Strict(END, 1, max_new_tokens=5), Strict(END, 3, max_new_tokens=4)]

    alone = searches()
    for search in alone:
        drive(search, model)
    together = Together(searches())
    drive(together, model)
    assert [s.finished for s in together.searches] == [s.finished for s in alone]


def test_nothing_together_is_done_at_once():
    assert Together([]).done
    search = Together([ForcedScoring([])])
    assert search.done
    assert search.finished == []
    assert len(search.question().places) == 0


def test_refuses_free_and_given_tokens_together():
    search = Together([FreeBeamSearch(END, 2), ForcedScoring([(1, END)])])
    with pytest.raises(ValueError, match="one after the other"):
        drive(search, table_model(VOCABULARY, seed=0))


def test_places_are_integers_even_without_any():
    question = Together([ForcedScoring([])]).question()
    assert np.issubdtype(question.places.dtype, np.integer)
