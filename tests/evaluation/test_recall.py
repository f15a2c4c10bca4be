from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.evaluation.recall import (
    gold_codes,
    mean_reciprocal_rank,
    rank_of_gold,
    recall_at_k,
)


def test_gold_codes_are_resolved_and_unknown_ones_kept():
    codes = [["OLD", "B"], ["GONE"]]
    assert gold_codes(codes) == {"OLD", "B", "GONE"}
    assert gold_codes(codes, {"OLD": "A", "B": "B"}.get) == {"A", "B", "GONE"}
    assert gold_codes([]) == set()


@pytest.mark.parametrize(
    ("candidates", "gold", "rank"),
    [(["a", "b", "c"], {"b", "c"}, 2), (["a"], {"a"}, 1), (["a"], {"b"}, None), ([], {"b"}, None)],
)
def test_rank_of_gold(candidates, gold, rank):
    assert rank_of_gold(candidates, gold) == rank


def test_recall_by_hand():
    ranks = [[1, 2, None], [], [5], [1, None]]
    assert recall_at_k(ranks, 1).value == pytest.approx(2 / 6)
    assert recall_at_k(ranks, 2).value == pytest.approx(3 / 6)
    assert recall_at_k(ranks, 25).value == pytest.approx(4 / 6)


def test_reciprocal_ranks_by_hand():
    ranks = [[1, 2, None], [], [5], [1, None]]
    assert mean_reciprocal_rank(ranks).value == pytest.approx((1 + 1 / 2 + 1 / 5 + 1) / 6)
    assert mean_reciprocal_rank([[1], [4]])[1:] == (0.25, 1.0)


def test_interval_of_two_documents_by_hand():
    """Of two documents with shares 0 and 1, a quarter of all draws is 0, a quarter 1."""
    ranks = [[None] * 3, [1] * 3]
    assert recall_at_k(ranks, 1) == (0.5, 0.0, 1.0)
    # the middle half of the draws is 1/2 throughout
    assert recall_at_k(ranks, 1, level=0.4, replicates=4000) == (0.5, 0.5, 0.5)


def test_documents_are_drawn_not_mentions():
    """Two hundred mentions in two documents say no more than two documents."""
    assert recall_at_k([[1] * 100, [None] * 100], 1)[1:] == (0.0, 1.0)
    low, high = recall_at_k([[1], [None]] * 100, 1)[1:]
    # the standard error of a share of 0.5 in 200 draws is 0.035
    assert 0.40 < low < 0.46 and 0.54 < high < 0.60


def test_no_mention():
    with pytest.raises(ValueError, match="at least one mention"):
        recall_at_k([[], []], 1)


ranks = st.lists(
    st.lists(st.one_of(st.none(), st.integers(1, 30)), max_size=5), min_size=1, max_size=8
).filter(any)


@settings(deadline=None)
@given(ranks, st.integers(1, 30))
def test_properties(ranks, k):
    recall = recall_at_k(ranks, k, replicates=50)
    assert recall == recall_at_k(ranks, k, replicates=50)
    assert 0 <= recall.low <= recall.high <= 1
    wider = recall_at_k(ranks, k + 1, replicates=50)
    assert all(more >= less for more, less in zip(wider, recall, strict=True))
