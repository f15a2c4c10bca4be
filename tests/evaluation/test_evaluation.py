"""Whole evaluations, computed by hand."""

import pytest

from spacy_bel.corpora.document import Annotation
from spacy_bel.evaluation.evaluation import evaluate
from spacy_bel.evaluation.policies import EvaluationError, Policies
from tests.evaluation.helpers import document, gold, knowledge_base, ranked

GOLD = [
    document(
        gold("ataxia", "A"),
        gold("tremor", "B", label="D"),
        gold("seizure", "C"),
        gold("cough", ""),
        id="1",
    ),
    document(gold("fever", "A"), gold("rash", "B"), id="2"),
    document(gold("fever", "A"), id="3"),
]
PREDICTED = [
    document(ranked("rash", "A", "C", "B"), ranked("fever", "A"), id="2"),  # ranks 3, 1
    document(
        ranked("ataxia", "A"),  # rank 1
        ranked("tremor", "B"),  # of another label: missed
        ranked("seizure", "A", "C"),  # rank 2
        ranked("with", "A"),  # no such mention in the gold
        id="1",
    ),
    document(id="unasked"),
]


def test_by_hand():
    result = evaluate(PREDICTED, GOLD)
    assert result.ranks() == [[1, None, 2], [1, 3], [None]]
    scores = result.estimates((1, 2, 3))
    assert scores["recall@1"].value == pytest.approx(2 / 6)
    assert scores["recall@2"].value == pytest.approx(3 / 6)
    assert scores["recall@3"].value == pytest.approx(4 / 6)
    assert scores["mrr"].value == pytest.approx((1 + 1 / 2 + 1 + 1 / 3) / 6)
    assert result.estimates((1,), label="P")["recall@1"].value == pytest.approx(2 / 5)
    assert result.estimates((1,), label="D")["recall@1"].value == 0
    counts = result.counts()
    assert counts["annotations"] == 7
    assert (counts["mentions"], counts["dropped"]) == (6, 1)
    assert (counts["missed"], counts["superfluous"]) == (2, 2)
    assert (counts["documents_missed"], counts["documents_superfluous"]) == (1, 1)
    assert counts["policies"]["nil"] == {"choice": "drop", "mentions": 1}


def test_groups_need_a_knowledge_base():
    assert evaluate(PREDICTED, GOLD).groups == []
    result = evaluate(PREDICTED, GOLD, kb=knowledge_base())
    assert result.groups == ["D", "P"]
    # the only concept of group D is C, of the mention "seizure"
    assert result.ranks(group="D") == [[2], [], []]


def test_two_runs_side_by_side():
    """Of two documents one gets better by all it has: a quarter of draws is 0, a quarter 1."""
    golds = [document(gold("fever", "A"), id="1"), document(gold("fever", "A"), id="2")]
    right = document(ranked("fever", "A"), id="1")
    wrong = document(ranked("fever", "B"), id="1")
    second = document(ranked("fever", "A"), id="2")
    run, baseline = evaluate([right, second], golds), evaluate([wrong, second], golds)
    assert run.estimates((1,), baseline=baseline)["recall@1"] == (0.5, 0.0, 1.0)
    assert baseline.estimates((1,), baseline=run)["mrr"] == (-0.5, -1.0, 0.0)
    assert run.estimates((1,), baseline=run)["recall@1"] == (0.0, 0.0, 0.0)
    report = run.report((1,), baseline=baseline)
    assert report["baseline"]["recall@1"]["value"] == 0.5
    assert report["difference"]["recall@1"]["value"] == 0.5
    assert report["bootstrap"] == {
        "unit": "document", "replicates": 1000, "level": 0.95, "seed": 42
    }  # fmt: skip


def test_runs_on_other_gold_cannot_be_compared():
    run = evaluate(PREDICTED, GOLD)
    other = evaluate(PREDICTED, GOLD, policies=Policies(nil="count"))
    with pytest.raises(EvaluationError, match="same gold"):
        run.estimates(baseline=other)


def test_documents_of_the_same_id_are_answered_in_order():
    golds = [document(gold("fever", "A")), document(gold("fever", "B"))]
    runs = [document(ranked("fever", "A")), document(ranked("fever", "B"))]
    assert evaluate(runs, golds).ranks() == [[1], [1]]
    assert evaluate(runs[::-1], golds).ranks() == [[None], [None]]


def test_mentions_at_the_same_place_are_told_apart_by_label_and_pieces():
    pieces = [(0, 6), (12, 18)], [(0, 6), (7, 18)]
    whole = "ataxia with tremor"
    golds = document(
        gold(whole, "A", fragments=pieces[0]),
        gold(whole, "B", fragments=pieces[1]),
        gold(whole, "C", label="D"),
    )
    told = document(
        ranked(whole, "C", label="D"),
        ranked(whole, "B", fragments=pieces[1]),
        ranked(whole, "A", fragments=pieces[0]),
    )
    assert evaluate([told], [golds]).ranks() == [[1, 1, 1]]
    # Where a file cannot tell the pieces apart, its one answer is taken for both.
    merged = document(ranked(whole, "A", "B"), ranked(whole, "C", label="D"))
    result = evaluate([merged], [golds])
    assert result.ranks() == [[1, 2, 1]]
    assert result.superfluous == 0


def test_white_space_around_a_mention_does_not_matter():
    loose = Annotation(6, 18, " with tremor", "P", [["A"]])
    assert evaluate([document(ranked("with tremor", "A"))], [document(loose)]).ranks() == [[1]]


def test_a_missing_label_fits_any():
    golds = [document(gold("fever", "A", label=""))]
    assert evaluate([document(ranked("fever", "A", label="MENTION"))], golds).ranks() == [[1]]


def test_codes_without_ranks_are_one_candidate():
    answer = document(gold("fever", "A+B"), gold("rash", ""))
    golds = [document(gold("fever", "B+A"), gold("rash", ""))]
    result = evaluate([answer], golds, policies=Policies(nil="count"))
    assert result.ranks() == [[1, 1]]


def test_what_does_not_fit_is_an_error():
    shifted = document(ranked("fever", "A"))
    shifted.text = "x" + shifted.text
    with pytest.raises(EvaluationError, match="Document 1: .* another text"):
        evaluate([shifted], [GOLD[0]])
    with pytest.raises(EvaluationError, match="same document ids"):
        evaluate([document(ranked("fever", "A"), id="x")], GOLD)
    with pytest.raises(EvaluationError, match="hold no links"):
        evaluate([document(ranked("fever"))], GOLD)
    with pytest.raises(EvaluationError, match="No gold mention counts"):
        evaluate(PREDICTED, [document(gold("fever", ""))]).estimates()
