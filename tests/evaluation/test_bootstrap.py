import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from spacy_bel.evaluation.bootstrap import mean_over_mentions

values = st.lists(st.lists(st.floats(-1, 1), max_size=4), min_size=1, max_size=6).filter(any)


def test_every_mention_weighs_the_same():
    assert mean_over_mentions([[1, 0, 0], [], [1]]).value == pytest.approx(2 / 4)


def test_interval_agrees_with_scipy():
    """With one mention a document this is the percentile bootstrap of a mean."""
    numbers = np.random.default_rng(0).random(200)
    ours = mean_over_mentions([[x] for x in numbers], replicates=9000)
    theirs = bootstrap(
        (numbers,), np.mean, n_resamples=9000, method="percentile", random_state=1
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.003)
    assert ours.high == pytest.approx(theirs.high, abs=0.003)


def test_no_mention():
    with pytest.raises(ValueError, match="at least one mention"):
        mean_over_mentions([[], []])


@settings(deadline=None)
@given(values, st.integers(0, 5))
def test_interval_holds_only_means_that_occur(values, seed):
    """Draws are reproducible, and no interval leaves the range of the documents' means."""
    estimate = mean_over_mentions(values, replicates=40, seed=seed)
    assert estimate == mean_over_mentions(values, replicates=40, seed=seed)
    means = [sum(document) / len(document) for document in values if document]
    assert min(means) - 1e-9 <= estimate.low <= estimate.high <= max(means) + 1e-9


@settings(deadline=None)
@given(values)
def test_a_difference_is_the_difference_of_the_same_draws(values):
    """For each single draw the mean difference of two runs is the difference of their means."""
    other = [[1 - x for x in document] for document in values]
    difference = [
        [a - b for a, b in zip(x, y, strict=True)] for x, y in zip(values, other, strict=True)
    ]
    one = [mean_over_mentions(v, replicates=1, seed=3).low for v in (values, other, difference)]
    assert one[2] == pytest.approx(one[0] - one[1], abs=1e-9)
