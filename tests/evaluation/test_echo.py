"""Wrong links that repeat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.evaluation import Policies
from spacy_bel.evaluation.echo import echo
from tests.evaluation.helpers import document, gold, knowledge_base, ranked


def chain(codes, links):
    """A document in which concept i of `codes` is linked to the i-th of `links` (None: missed)."""
    text = "x " * len(codes)
    places = [(2 * i, 2 * i + 1) for i in range(len(codes))]
    golds = [
        Annotation(*place, "x", "P", [[code]]) for place, code in zip(places, codes, strict=True)
    ]
    found = [
        Annotation(*place, "x", "P", links=[Candidate(link, "", 0.0)] if link else [])
        for place, link in zip(places, links, strict=True)
    ]
    return CorpusDocument("1", text, annotations=golds), CorpusDocument(
        "1", text, annotations=found
    )


def measured(codes, links, **options):
    golds, found = chain(codes, links)
    return echo([found], [golds], **options)


def test_mentions_after_the_first_wrong_link_are_counted():
    #                     right, wrong, same, right, other, missed, same
    found = measured("AAAAAAA", ["A", "X", "X", "A", "Y", None, "X"])
    assert found.report() == {
        "errors": 1, "later": 5, "same": 2, "right": 1, "otherwise": 2, "share": 0.4,
    }  # fmt: skip
    assert found.echoed == [[True, False, False, False, True]]


def test_concepts_and_documents_are_followed_apart():
    found = measured("ABAB", ["X", "X", "X", "B"])
    assert (found.errors, found.later, found.same, found.right) == (2, 2, 1, 1)
    pairs = [chain("A", ["X"]), chain("A", ["X"])]
    for number, pair in enumerate(pairs):
        for each in pair:
            each.id = str(number)
    apart = echo([p for _, p in pairs], [g for g, _ in pairs])
    assert (apart.errors, apart.later, apart.share, apart.estimate()) == (2, 0, None, None)


def test_a_missing_link_is_no_error_that_could_repeat():
    found = measured("AAA", [None, "X", "X"])
    assert (found.errors, found.later, found.same) == (1, 1, 1)


def test_codes_of_one_concept_are_one():
    kb = knowledge_base()
    golds = [document(gold("ataxia", "C"), gold("tremor", "C"), gold("seizure", "C"))]
    found = [document(ranked("ataxia", "A"), ranked("tremor", "ALT"), ranked("seizure", "B"))]
    assert echo(found, golds, kb=kb).echoed == [[True, False]]
    assert echo(found, golds).echoed == [[False, False]]


def test_composites_under_policies():
    golds = [document(gold("ataxia", "A+B"), gold("tremor", "A+B"), gold("seizure", "A+B"))]
    found = [document(ranked("ataxia", "A"), ranked("tremor", "A"), ranked("seizure", "B+A"))]
    strict = echo(found, golds)
    assert (strict.errors, strict.later, strict.same, strict.right) == (1, 2, 1, 1)
    assert echo(found, golds, policies=Policies(composite="any")).errors == 0


def test_the_order_is_that_of_the_text():
    golds = [document(gold("cough", "A"), gold("ataxia", "A"))]
    found = [document(ranked("cough", "A"), ranked("ataxia", "X"))]
    # "ataxia" comes first, and is wrong; "cough" follows, and is right.
    result = echo(found, golds)
    assert (result.errors, result.later, result.same, result.right) == (1, 1, 0, 1)


def test_the_interval_is_that_of_documents():
    found = measured("AAA", ["X", "X", "A"])
    estimate = found.estimate(replicates=50)
    assert estimate == (0.5, 0.5, 0.5)  # of one document every draw is the same
    assert found.share == pytest.approx(estimate.value)


@given(
    st.lists(
        st.tuples(st.sampled_from("AB"), st.sampled_from(["A", "B", "X", "Y", None])), max_size=14
    )
)
def test_against_the_definition(rows):
    codes, links = [c for c, _ in rows], [link for _, link in rows]
    same = later = 0
    for concept in set(codes):
        mine = [link for code, link in rows if code == concept]
        wrong = [i for i, link in enumerate(mine) if link not in (None, concept)]
        if wrong:
            after = mine[wrong[0] + 1 :]
            later += len(after)
            same += after.count(mine[wrong[0]])
    if any(links):
        found = measured(codes, links)
        assert (found.later, found.same) == (later, same)
        assert found.right + found.otherwise + found.same == later
