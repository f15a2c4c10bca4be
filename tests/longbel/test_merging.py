"""From generated names to candidates: what several names count, and what scores say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from spacy_bel.calibration import Calibration, fit_calibration
from spacy_bel.candidates import Candidate
from spacy_bel.errors import SettingsError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.longbel.answers import GeneratedName, pinned_candidate
from spacy_bel.longbel.merging import Merging
from spacy_bel.ranking import ScoredName, rank

from .conftest import make_kb

NAMES = {
    "heart attack": ["D1"],
    "myocardial infarction": ["D1"],
    "MI": ["D1", "D6"],
    "heart failure": ["D2"],
    "cold": ["D3", "P1"],
    "common cold": ["D3"],
    "headache": ["D4"],
    "asthma": ["D5"],
}


def generated(kb, name, log_probability, length=1):
    """A name, or several joined as composites are, of so many tokens."""
    parts = [
        [(kb.concept_id(code), part) for code in NAMES.get(part, ())] for part in name.split("<+>")
    ]
    return GeneratedName(parts, log_probability, log_probability / length)


def beams(kb, rows):
    return [generated(kb, *row) for row in rows]


found = st.lists(
    st.tuples(st.sampled_from(sorted(NAMES)), st.floats(-30, 0), st.integers(1, 12)),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row[0],
)
composites = st.lists(
    st.tuples(
        st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=3).map("<+>".join),
        st.floats(-30, 0),
        st.integers(1, 12),
    ),
    max_size=6,
    unique_by=lambda row: row[0],
)
mentions = st.sampled_from(["MI", "Cold", "heart attack", "something"])
linked = st.sets(st.sampled_from(["D1", "D6", "P1", "D3"]))
settings = st.builds(
    Merging, st.sampled_from(["max", "logsumexp"]), st.sampled_from(["likelihood", "probability"])
)


@given(found, mentions, linked)
def test_by_default_a_concept_has_the_likelihood_of_its_best_name(kb, rows, mention, linked):
    scored = [
        ScoredName(kb.concept_id(code), name, math.exp(total / length))
        for name, total, length in rows
        for code in NAMES[name]
    ]
    candidates = Merging().candidates(kb, mention, beams(kb, rows), linked)
    assert candidates == rank(kb, mention, scored, linked)


@pytest.mark.parametrize("score", ["likelihood", "probability"])
def test_improbable_names_keep_their_order(kb, score):
    """Likelihoods that are not normalised by length are all next to nothing."""
    rows = [("asthma", -45.0), ("headache", -40.0), ("cold", -50.0)]
    found = Merging(score=score).candidates(kb, "asthma", beams(kb, rows))
    assert [c.code for c in found[:2]] == ["D4", "D5"]
    if score == "likelihood":
        assert [c.score for c in found[:2]] == pytest.approx([math.exp(-40), math.exp(-45)])


def shares(rows):
    """By concept: log-probabilities of its names, each shared by the concepts that bear it."""
    logs = {}
    for name, total, _ in rows:
        for code in NAMES[name]:
            logs.setdefault(code, []).append(total - math.log(len(NAMES[name])))
    return logs


@given(found, mentions, st.sampled_from([("max", max), ("logsumexp", logsumexp)]))
def test_probabilities_are_shares_of_what_was_found(kb, rows, mention, rule):
    merge, pool = rule
    candidates = Merging(merge, "probability").candidates(kb, mention, beams(kb, rows))
    logits = {code: pool(logs) for code, logs in shares(rows).items()}
    expected = dict(zip(logits, softmax(list(logits.values())), strict=True))
    assert {c.code: c.score for c in candidates} == pytest.approx(expected, abs=1e-8)
    assert math.fsum(c.score for c in candidates) == pytest.approx(1)
    # Even where probabilities vanish the order is that of their logarithms.
    ordered = [logits[c.code] for c in candidates]
    assert all(a >= b - 1e-8 for a, b in zip(ordered, ordered[1:], strict=False))


@given(found, mentions)
def test_pooled_likelihood_is_no_less_than_that_of_the_best_name(kb, rows, mention):
    names = beams(kb, rows)
    best = {c.code: c for c in Merging().candidates(kb, mention, names)}
    for pooled in Merging("logsumexp").candidates(kb, mention, names):
        alone = best[pooled.code]
        assert alone.score - 1e-8 <= pooled.score <= 1
        if len(shares(rows)[pooled.code]) == 1:
            assert pooled.score == pytest.approx(alone.score, abs=1e-8)


def test_pooled_likelihood_by_hand(kb):
    # Two names of D1, of 2 and 4 tokens: together they have a probability of 0.16 + 0.09.
    rows = [("heart attack", math.log(0.16), 2), ("myocardial infarction", math.log(0.09), 4)]
    # The second has the better likelihood, 0.09 ** (1 / 4), and lends its length.
    (candidate,) = Merging("logsumexp").candidates(kb, "", beams(kb, rows))
    assert candidate == ("D1", "myocardial infarction", pytest.approx(0.25 ** (1 / 4)))


def test_many_names_can_win_against_the_best_one(kb):
    rows = [("heart failure", math.log(0.4)), ("heart attack", math.log(0.3))]
    rows.append(("myocardial infarction", math.log(0.2)))
    for merge, codes in (("max", ["D2", "D1"]), ("logsumexp", ["D1", "D2"])):
        for score in ("likelihood", "probability"):
            found = Merging(merge, score).candidates(kb, "", beams(kb, rows))
            assert [c.code for c in found] == codes
            assert {c.code: c.name for c in found} == {"D1": "heart attack", "D2": "heart failure"}


def test_the_name_is_the_one_that_counts_most(kb):
    rows = [("heart attack", -1.0, 1), ("myocardial infarction", -2.0, 4)]
    names = {"likelihood": "myocardial infarction", "probability": "heart attack"}
    for score, name in names.items():
        for merge in ("max", "logsumexp"):
            (candidate,) = Merging(merge, score).candidates(kb, "", beams(kb, rows))
            assert candidate.name == name


def test_concepts_of_one_name_share_its_probability(kb):
    rows = [("cold", math.log(0.6)), ("common cold", math.log(0.1)), ("asthma", math.log(0.3))]
    found = Merging("logsumexp", "probability").candidates(kb, "cold", beams(kb, rows))
    assert found == [
        ("D3", "cold", pytest.approx(0.4)),
        ("P1", "cold", pytest.approx(0.3)),
        ("D5", "asthma", pytest.approx(0.3)),
    ]
    # The one that the document was linked to before comes first among equals.
    alone = beams(kb, [("MI", -1.0)])
    for code in ("D1", "D6"):
        assert Merging(score="probability").candidates(kb, "", alone, {code})[0][:2] == (code, "MI")


def test_what_is_improbable_stays_in_order(kb):
    rows = [("asthma", -0.01), ("headache", -300.0), ("heart failure", -80.0), ("cold", -50.0)]
    found = Merging(score="probability").candidates(kb, "", beams(kb, rows))
    assert [c.code for c in found] == ["D5", "D3", "P1", "D2", "D4"]


@given(composites, mentions, settings, linked, st.randoms())
def test_candidates_can_be_stored_and_do_not_depend_on_order(
    kb, rows, mention, merging, linked, random
):
    names = beams(kb, rows)
    found = merging.candidates(kb, mention, names, linked)
    assert len({c.code for c in found}) == len(found)
    assert all(a.score >= b.score for a, b in zip(found, found[1:], strict=False))
    assert all(0 <= c.score <= 1 for c in found)
    random.shuffle(names)
    again = merging.candidates(kb, mention, names, linked)
    assert [c[:2] for c in again] == [c[:2] for c in found]
    assert [c.score for c in again] == pytest.approx([c.score for c in found])


@given(composites, mentions, settings)
def test_a_name_that_was_also_scored_by_request_counts_once(kb, rows, mention, merging):
    names = beams(kb, rows)
    found = merging.candidates(kb, mention, names)
    assert merging.candidates(kb, mention, [*names, *names[::-1]]) == found


def test_composites_join_the_best_concept_of_every_part(kb):
    def only(name, linked=frozenset()):
        (candidate, *_) = Merging().candidates(kb, "x", beams(kb, [(name, -1.0, 2)]), linked)
        return candidate

    score = pytest.approx(math.exp(-1 / 2))
    assert only("headache<+>asthma") == ("D4+D5", "headache<+>asthma", score)
    assert only("asthma<+>headache") == ("D5+D4", "asthma<+>headache", score)
    # "cold" is the preferred name of both its concepts: the code decides, or what came before.
    assert only("asthma<+>cold") == ("D5+D3", "asthma<+>cold", score)
    assert only("asthma<+>cold", {"P1"}) == ("D5+P1", "asthma<+>cold", score)
    # A concept that is named twice is one; a part that is no name gives nothing.
    assert only("heart attack<+>MI<+>asthma") == ("D1+D5", "heart attack<+>asthma", score)
    assert only("heart attack<+>MI") == ("D1", "heart attack", score)
    assert only("unheard of<+>asthma") == ("D5", "asthma", score)


def test_composites_in_another_order_are_the_same_answer(kb):
    rows = [("asthma<+>cold", math.log(0.2)), ("cold<+>asthma", math.log(0.3)), ("asthma", -1.5)]
    best, other = Merging().candidates(kb, "", beams(kb, rows))
    assert best == ("D3+D5", "cold<+>asthma", pytest.approx(0.3))
    assert other.code == "D5"
    pooled = Merging("logsumexp").candidates(kb, "", beams(kb, rows))
    assert pooled[0] == ("D3+D5", "cold<+>asthma", pytest.approx(0.5))


def test_a_terminology_with_joined_codes():
    kb = make_kb([(c, "G", [f"name {c}"]) for c in ("A", "B", "A+B")])

    def of(*codes):
        return GeneratedName([[(kb.concept_id(c), f"name {c}")] for c in codes], -1.0, -1.0)

    (candidate,) = Merging().candidates(kb, "", [of("B", "A"), of("A+B")])
    assert candidate.score == pytest.approx(math.exp(-1))
    assert sorted(candidate.code.split("+")) == ["A", "B"]


def test_unknown_strings_give_no_candidates(kb):
    for merging in (Merging(), Merging("logsumexp", "probability")):
        assert merging.candidates(kb, "x", []) == []
        assert merging.candidates(kb, "x", [GeneratedName((), -1.0, -1.0)]) == []
        assert merging.candidates(kb, "x", beams(kb, [("unheard of", -1.0)])) == []


@given(settings)
def test_an_impossible_name_comes_last(kb, merging):
    rows = [("asthma", -math.inf), ("headache", -3.0)]
    found = merging.candidates(kb, "", beams(kb, rows))
    assert [c.code for c in found] == ["D4", "D5"]
    assert found[1].score == pytest.approx(0)
    certain = merging.candidates(kb, "", beams(kb, [("asthma", 0.0)]))
    assert certain == [("D5", "asthma", 1.0)]
    alone = merging.candidates(kb, "", beams(kb, [("asthma", -math.inf)]))
    assert [c.code for c in alone] == ["D5"]


@given(
    found,
    st.lists(st.tuples(st.sampled_from(["D1", "D2", "D4", "X"]), st.floats(0, 1)), max_size=4),
    st.floats(0.1, 10),
    st.floats(0, 10),
)
def test_fusion_is_a_softmax_of_both_scores(kb, rows, retrieved, temperature, weight):
    scores = dict(sorted(retrieved, key=lambda row: -row[1]))
    retrieved = [Candidate(code, "as retrieved", score) for code, score in scores.items()]
    merging = Merging("logsumexp", "probability", Calibration(temperature, weight))
    fused = merging.candidates(kb, "", beams(kb, rows), retrieved=retrieved)
    logits = {
        code: logsumexp(logs) / temperature + weight * scores.get(code, 0.0)
        for code, logs in shares(rows).items()
    }
    expected = dict(zip(logits, softmax(list(logits.values())), strict=True))
    assert {c.code: c.score for c in fused} == pytest.approx(expected, abs=1e-8)
    assert all(c.name != "as retrieved" for c in fused)


def test_a_retriever_can_overrule_the_model(kb):
    rows = [("heart attack", math.log(0.6)), ("heart failure", math.log(0.4))]
    retrieved = [Candidate("D2", "heart failure", 0.9), Candidate("D1", "heart attack", 0.1)]
    for weight, first in ((0.0, "D1"), (0.4, "D1"), (0.6, "D2")):  # log(0.6 / 0.4) is 0.8 * 0.507
        merging = Merging(score="probability", calibration=Calibration(1.0, weight))
        fused = merging.candidates(kb, "", beams(kb, rows), retrieved=retrieved)
        assert fused[0].code == first


def test_weight_and_temperature_are_found_again(kb):
    """From mentions whose right codes are drawn from the fused probabilities."""
    rng = np.random.default_rng(0)
    truth = Merging(score="probability", calibration=Calibration(2.0, 3.0))
    codes = ["D1", "D2", "D4", "D5"]
    judged = []
    for _ in range(1000):
        logs = np.log(rng.dirichlet(np.full(4, 0.5)) + 1e-4)
        names = ["heart attack", "heart failure", "headache", "asthma"]
        rows = beams(kb, zip(names, logs.tolist(), strict=True))
        values = np.sort(rng.uniform(size=4))[::-1].tolist()
        order = rng.permutation(codes).tolist()
        retrieved = [Candidate(*row) for row in zip(order, order, values, strict=True)]
        fused = truth.candidates(kb, "", rows, retrieved=retrieved)
        shares = np.array([c.score for c in fused])
        right = fused[int(rng.choice(4, p=shares / shares.sum()))].code
        judged.append(truth.judged(kb, "", rows, {right}.__contains__, retrieved))
    fitted = fit_calibration(judged, "listwise")
    assert fitted.temperature == pytest.approx(2.0, rel=0.15)
    assert fitted.retriever_weight == pytest.approx(3.0, rel=0.15)
    assert fitted.bias == 0


def test_a_mention_without_names_teaches_nothing(kb):
    assert Merging(score="probability").judged(kb, "", [], lambda code: True) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [(("mean",), "'max' or 'logsumexp'"), (("max", "logit"), "'likelihood' or 'probability'")],
)
def test_unknown_settings_are_named(settings, message):
    with pytest.raises(SettingsError, match=message):
        Merging(*settings)


def test_likelihoods_are_not_fused(kb):
    with pytest.raises(SettingsError, match="score='probability'"):
        Merging().candidates(kb, "", beams(kb, [("asthma", -1.0)]), retrieved=[Candidate(*"AB", 1)])


@pytest.mark.parametrize(
    ("mention", "code", "expected"),
    [
        ("Cardiac  failure", "D2", ("D2", "cardiac failure")),
        ("weak heart", "D2", ("D2", "heart failure")),
        ("weak heart", "OLD", ("D2", "heart failure")),
        ("x", "D4+D5", ("D4+D5", "headache<+>asthma")),
        ("x", "D5 + D4 + OLD", ("D5+D4+D2", "asthma<+>headache<+>heart failure")),
        ("asthma", "D5+D5", ("D5", "asthma")),
        ("x", "Q+9", ("Q+9", "joined")),
        ("x", "none", None),
        ("x", "D4+none", None),
        ("x", "", None),
    ],
)
def test_a_pinned_code_has_the_name_that_fits_the_mention(mention, code, expected):
    rows = [("D2", ("heart failure", "cardiac failure")), ("D4", ("headache",))]
    rows += [("D5", ("asthma",)), ("Q+9", ("joined",))]
    builder = KnowledgeBaseBuilder("pinned")
    for own, names in rows:
        others = ("OLD",) if own == "D2" else ()
        builder.add(Concept(own, names, groups=("Disorders",), alternative_codes=others))
    found = pinned_candidate(builder.build(), mention, code)
    assert found == (None if expected is None else (*expected, 1.0))
