"""When a candidate is right, case by case as the documentation describes it."""

import pytest

from spacy_bel.evaluation.gold import NIL, Judge
from spacy_bel.evaluation.policies import EvaluationError, Policies
from tests.evaluation.helpers import document, gold, knowledge_base


def rank(codes, candidates, decision="", **policies):
    judge = Judge(Policies(**policies), knowledge_base())
    (mention,) = judge.mentions(document(gold("ataxia", codes)))
    return judge.rank(mention, candidates, decision) if mention.counted else "dropped"


@pytest.mark.parametrize(
    ("codes", "candidates", "expected"),
    [
        ("A", ["B", "A"], 2),
        ("A", ["B", "C"], None),
        ("A", [], None),
        ([["A", "C"]], ["B", "C"], 2),  # one of two alternatives
        ("ALT", ["A"], 1),
        ("A", ["ALT"], 1),
        ("A", ["A+B", "A"], 2),  # names too much
        ("A+B", ["A", "B", "B+A"], 3),  # names too little, twice
        ("A+B", ["A+B+C"], None),
        ([["A"], ["B", "C"]], ["A+C"], 1),
        ([["A"], ["B", "C"]], ["A+B+C"], None),
        ([["A", "C"], ["B", "C"]], ["C"], 1),  # "(A and B) or C" is met by C alone
        ([["A", "C"], ["B", "C"]], ["B+A"], 1),
        ("X", ["A", "X"], 2),  # not in the knowledge base, and proposed all the same
    ],
)
def test_strict(codes, candidates, expected):
    assert rank(codes, candidates) == expected


@pytest.mark.parametrize(
    ("codes", "candidates", "expected"),
    [
        ("A+B", ["C", "B"], 2),
        ("A+B", ["C+A"], 1),
        ("A+B", ["C"], None),
        ("A", ["A+B"], None),  # a single concept stays a single concept
    ],
)
def test_any_part_of_a_composite(codes, candidates, expected):
    assert rank(codes, candidates, composite="any") == expected


def test_composites_can_be_left_out():
    assert rank("A+B", ["A+B"], composite="drop") == "dropped"
    assert rank("A", ["A"], composite="drop") == 1


def test_nil_counts_only_on_demand_and_only_where_the_system_says_so():
    assert rank("", ["A"], NIL) == "dropped"
    assert rank("", ["A"], NIL, nil="count") == 1
    assert rank("", ["A"], "A", nil="count") is None
    # Nothing at all is no answer.
    assert rank("", [], "", nil="count") is None


def test_nil_stands_before_the_candidates_where_it_counts():
    assert rank("A", ["A"], NIL) == 1
    assert rank("A", ["A"], NIL, nil="count") == 2


def test_outside_and_obsolete():
    assert rank("X", ["A"]) is None
    assert rank("X", ["X"], out_of_kb="drop") == "dropped"
    assert rank("A+X", ["A"], out_of_kb="drop", composite="any") == "dropped"
    assert rank([["A", "X"]], ["A"], out_of_kb="drop") == 1
    assert rank("OLD", ["B"]) == 1
    assert rank("OLD", ["B"], obsolete="miss") is None
    assert rank("OLD", ["OLD"], obsolete="miss") is None


def test_of_overlapping_mentions_the_longest_is_kept():
    mentions = document(
        gold("tremor", "B"),
        gold("tremor and seizure", "A"),
        gold("seizure then cough", "C"),  # as long as the second, and later
        gold("cough", "C"),  # within one that is itself left out
        gold("cough", "A", label="other"),  # annotated twice
    )
    judge = Judge(Policies(overlapping="drop"))
    assert [m.counted for m in judge.mentions(mentions)] == [False, True, False, True, False]
    assert judge.counts["overlapping"] == 3
    assert all(m.counted for m in Judge().mentions(mentions))


def test_discontinuous_mentions_can_be_left_out():
    mentions = document(gold("ataxia with tremor", "A", fragments=[(0, 6), (12, 18)]))
    (mention,) = Judge(Policies(discontinuous="drop")).mentions(mentions)
    assert not mention.counted


def test_each_case_is_counted_whatever_the_policy():
    mentions = document(
        gold("ataxia", "A"),
        gold("tremor", "A+B"),
        gold("seizure", ""),
        gold("cough", "X"),
        gold("fever", "OLD"),
        gold("rash", "A+X"),
    )
    for policies in (Policies(), Policies(nil="count", composite="drop", out_of_kb="drop")):
        judge = Judge(policies, knowledge_base())
        judge.mentions(mentions)
        assert judge.counts == {
            "composite": 2, "nil": 1, "out_of_kb": 2, "obsolete": 1,
            "overlapping": 0, "discontinuous": 0,
        }  # fmt: skip


def test_groups_are_those_of_the_first_concept_that_is_known():
    judge = Judge(kb=knowledge_base())
    mentions = document(gold("ataxia", [["X", "C"], ["A"]]), gold("tremor", "X"))
    assert [m.groups for m in judge.mentions(mentions)] == [("D",), ()]


def test_policies_from_strings():
    assert Policies.parse(["nil=count", "out-of-kb = drop"]) == Policies(
        nil="count", out_of_kb="drop"
    )
    with pytest.raises(EvaluationError, match="composite=strict|any|drop"):
        Policies.parse(["strict"])
    with pytest.raises(EvaluationError, match="strict, any, drop"):
        Policies.parse(["composite=loose"])
