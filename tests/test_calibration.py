"""From logits to probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from spacy_bel.calibration import (
    Calibration,
    JudgedMention,
    expected_calibration_error,
    fit_calibration,
    fit_temperature,
)
from spacy_bel.errors import SettingsError

finite = st.floats(-1e4, 1e4)


@settings(deadline=None)
@given(
    st.lists(st.tuples(finite, st.floats(0, 1)), min_size=1, max_size=6),
    st.none() | finite,
    st.floats(0.02, 50),
    st.floats(0, 20),
    st.floats(-30, 30),
)
def test_list_wise_probabilities_are_a_softmax(rows, nil, temperature, weight, bias):
    logits, scores = np.array(rows).T
    shares, none = Calibration(temperature, weight, bias).probabilities(
        logits, scores, nil, "listwise"
    )
    z = logits / temperature + weight * scores + bias
    expected = softmax(z if nil is None else np.append(z, nil / temperature))
    np.testing.assert_allclose(shares, expected[: len(rows)], atol=1e-12)
    assert none == pytest.approx(0 if nil is None else expected[-1], abs=1e-12)
    assert shares.sum() + none == pytest.approx(1)


def test_pair_wise_probabilities_stand_by_themselves():
    calibration = Calibration(2.0, 3.0, -1.0)
    logits, scores = np.array([4.0, -1e5, 1e5]), np.array([0.5, 0.1, 0.0])
    each, none = calibration.probabilities(logits, scores, None, "pairwise")
    np.testing.assert_allclose(each, expit(logits / 2 + 3 * scores - 1), atol=1e-12)
    assert none == 0
    each, none = calibration.probabilities(logits[:1], scores[:1], None, "pairwise")
    assert none == pytest.approx(1 - each[0])
    _, none = calibration.probabilities(np.zeros(0), np.zeros(0), None, "pairwise")
    assert none == 1


def drawn(rng, probabilities):
    return int(rng.choice(len(probabilities), p=probabilities))


def temperature_data(temperature, mentions=1200):
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 2 * temperature, rng.integers(1, 8)) for _ in range(mentions)]
    return logits, [drawn(rng, softmax(row / temperature)) for row in logits]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_data_is_found(temperature):
    logits, right = temperature_data(temperature)
    found = fit_temperature(logits, right)
    assert found == pytest.approx(temperature, rel=0.15)

    def loss(t):
        rows = zip(logits, right, strict=True)
        return -np.mean([log_softmax(row / t)[index] for row, index in rows])

    assert loss(found) <= min(map(loss, np.geomspace(0.02, 50, 12))) + 1e-6


def test_a_letter_that_is_no_answer_has_no_share():
    logits = [np.array([1.0, -np.inf, 0.0]), np.array([2.0, 1.0, -np.inf])]
    assert np.isfinite(fit_temperature(logits, [0, 1]))


def mentions_of(calibration, *, nil, count=1500):
    """Mentions whose right candidates are drawn by the probabilities of a calibration."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        size = int(rng.integers(1, 7))
        logits, scores = rng.normal(0, 3, size), np.sort(rng.uniform(0, 1, size))[::-1]
        none = float(rng.normal(0, 3)) if nil else None
        shares, rest = calibration.probabilities(logits, scores, none, "listwise")
        answer = drawn(rng, np.append(shares, rest) if nil else shares)
        found.append(JudgedMention(logits, scores, np.arange(size) == answer, none))
    return found


def negative_log_likelihood(calibration, mentions, objective="listwise"):
    total = 0.0
    for m in mentions:
        shares, none = calibration.probabilities(m.logits, m.retriever_scores, m.nil, objective)
        if objective == "pairwise":
            total -= np.log(np.where(m.right, shares, 1 - shares)).sum()
        else:
            total -= np.log(shares[m.right].sum() if m.right.any() else none)
    return total


@pytest.mark.parametrize("nil", [True, False])
def test_the_calibration_that_made_the_data_is_found(nil):
    made_by = Calibration(2.0, 5.0, -1.5 if nil else 0.0)
    mentions = mentions_of(made_by, nil=nil)
    found = fit_calibration(mentions, "listwise")
    assert found.temperature == pytest.approx(made_by.temperature, rel=0.15)
    assert found.retriever_weight == pytest.approx(made_by.retriever_weight, rel=0.15)
    assert found.bias == pytest.approx(made_by.bias, abs=0.4)
    best = negative_log_likelihood(found, mentions)
    for change in ((0.1, 0, 0), (-0.1, 0, 0), (0, 0.4, 0), (0, -0.4, 0), (0.2, 0.5, 0.2)):
        other = Calibration(
            *np.add((found.temperature, found.retriever_weight, found.bias), change)
        )
        assert best <= negative_log_likelihood(other, mentions) + 1e-3
    if nil:
        for bias in (found.bias - 0.2, found.bias + 0.2):
            other = Calibration(found.temperature, found.retriever_weight, bias)
            assert best <= negative_log_likelihood(other, mentions) + 1e-3


def test_pair_wise_fitting_is_logistic_regression():
    rng = np.random.default_rng(2)
    logits, scores = rng.normal(0, 3, 4000), rng.uniform(0, 1, 4000)
    right = rng.uniform(size=4000) < expit(logits / 3 + 2 * scores - 1)
    borders = np.sort(rng.choice(4000, 999, replace=False))
    mentions = [
        JudgedMention(*parts)
        for parts in zip(*(np.split(column, borders) for column in (logits, scores, right)),
                         strict=True)
    ]  # fmt: skip
    found = fit_calibration(mentions, "pairwise")
    plain = LogisticRegression(C=1e9, tol=1e-8).fit(np.column_stack([logits, scores]), right)
    assert 1 / found.temperature == pytest.approx(plain.coef_[0, 0], rel=0.01)
    assert found.retriever_weight == pytest.approx(plain.coef_[0, 1], rel=0.01)
    assert found.bias == pytest.approx(plain.intercept_[0], abs=0.01)


def test_without_the_retriever_only_logits_count():
    mentions = mentions_of(Calibration(2.0, 5.0, 0.0), nil=False, count=300)
    found = fit_calibration(mentions, "listwise", use_retriever=False)
    assert found.retriever_weight == 0 and found.bias == 0
    expected = fit_temperature([m.logits for m in mentions], [m.right.argmax() for m in mentions])
    assert found.temperature == pytest.approx(expected, rel=0.01)


def test_several_candidates_may_be_right():
    rng = np.random.default_rng(3)
    mentions = []
    for _ in range(300):
        logits, right = rng.normal(0, 2, 4), rng.uniform(size=4) < 0.5
        right[rng.integers(4)] = True
        mentions.append(JudgedMention(logits, np.zeros(4), right))
    found = fit_calibration(mentions, "listwise")
    best = negative_log_likelihood(found, mentions)
    for temperature in np.geomspace(0.02, 50, 12):
        assert best <= negative_log_likelihood(Calibration(float(temperature)), mentions) + 1e-3


@pytest.mark.parametrize("objective", ["listwise", "pairwise"])
def test_data_without_doubt_give_finite_numbers(objective):
    right = np.array([True, False])
    one = JudgedMention(np.array([9.0, -9.0]), np.array([1.0, 0.5]), right)
    found = fit_calibration([one] * 3, objective)
    assert np.isfinite([found.temperature, found.retriever_weight, found.bias]).all()
    assert found.temperature > 0
    shares, _ = found.probabilities(one.logits, one.retriever_scores, None, objective)
    assert shares[0] > 0.99


def test_nothing_to_calibrate_with():
    wrong = JudgedMention(np.zeros(2), np.zeros(2), np.zeros(2, bool))
    empty = JudgedMention(np.zeros(0), np.zeros(0), np.zeros(0, bool))
    for mentions in ([], [wrong], [empty]):
        with pytest.raises(SettingsError, match="No mention to calibrate with"):
            fit_calibration(mentions, "listwise")
    with pytest.raises(SettingsError, match="No mention to calibrate with"):
        fit_temperature([], [])


def test_calibration_error_by_hand():
    # Two bins: 0.95 said and 1 of 2 right; 0.2 said and 0 of 1 right.
    found = expected_calibration_error([0.95, 0.95, 0.2], [True, False, False])
    assert found == pytest.approx((2 * 0.45 + 1 * 0.2) / 3)
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0
    assert expected_calibration_error([1.0, 0.0], [False, True]) == 1
    with pytest.raises(SettingsError, match="No mention"):
        expected_calibration_error([], [])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 12))
def test_calibration_error_bin_by_bin(rows, bins):
    said, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    expected = 0.0
    for low in range(bins):
        inside = (said * bins >= low) & ((said * bins < low + 1) | (low == bins - 1))
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - said[inside].mean())
    found = expected_calibration_error(said, right > 0, bins=bins)
    assert found == pytest.approx(expected, abs=1e-9)


def test_calibration_lowers_the_error_of_what_is_too_sure():
    mentions = mentions_of(Calibration(4.0), nil=False, count=800)

    def error(calibration):
        said, right = [], []
        for m in mentions:
            shares, _ = calibration.probabilities(m.logits, m.retriever_scores, None, "listwise")
            said.append(shares.max())
            right.append(bool(m.right[shares.argmax()]))
        return expected_calibration_error(said, right)

    assert error(fit_calibration(mentions, "listwise")) < 0.5 * error(Calibration())
