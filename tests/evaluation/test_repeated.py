"""First and repeated mentions of a concept."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.evaluation import Policies, evaluate
from spacy_bel.evaluation.repeated import (
    FIRST,
    REPEATED,
    chosen_mentions,
    occurrences,
    parts_by_occurrence,
)
from tests.evaluation.helpers import document, gold, knowledge_base, ranked


def test_mentions_are_counted_by_document_in_the_order_of_the_text():
    first = document(gold("cough", "A"), gold("ataxia", "A"), gold("rash", "B"), gold("fever", "A"))
    second = document(gold("tremor", "A"), id="2")
    assert occurrences([first, second]) == [[2, 1, 1, 3], [1]]


def test_concepts_are_what_is_asked_for_not_how_it_is_written():
    kb = knowledge_base()
    text = document(
        gold("ataxia", "A"), gold("tremor", "ALT"), gold("seizure", "OLD"), gold("cough", "B")
    )
    assert occurrences([text], kb=kb) == [[1, 2, 1, 2]]
    assert occurrences([text]) == [[1, 1, 1, 1]]


def test_composites_are_concepts_of_their_own():
    text = document(
        gold("ataxia", "A"),
        gold("tremor", "A+B"),
        gold("seizure", "B+A"),
        gold("cough", [["A", "B"]]),
    )
    assert occurrences([text]) == [[1, 1, 2, 1]]


def test_mentions_that_do_not_count_are_left_out():
    text = document(
        gold("ataxia", "A"), gold("tremor", ""), gold("seizure", "Z"), gold("cough", "A")
    )
    assert occurrences([text]) == [[1, 1, 2]]
    assert occurrences([text], policies=Policies(nil="count")) == [[1, 0, 1, 2]]
    kept = occurrences([text], kb=knowledge_base(), policies=Policies(out_of_kb="drop"))
    assert kept == [[1, 2]]


def test_parts_are_evaluated_apart():
    golds = [
        document(gold("ataxia", "A"), gold("tremor", "A"), gold("cough", "B")),
        document(gold("ataxia", "C"), gold("tremor", "C"), gold("cough", "C"), id="2"),
    ]
    mine = [
        document(ranked("ataxia", "A"), ranked("tremor", "X"), ranked("cough", "B")),
        document(ranked("ataxia", "X"), ranked("tremor", "C"), ranked("cough", "X", "C"), id="2"),
    ]
    theirs = [
        document(ranked("ataxia", "A"), ranked("tremor", "A"), ranked("cough", "X")),
        document(ranked("ataxia", "X"), ranked("tremor", "X"), ranked("cough", "C"), id="2"),
    ]
    run, other = evaluate(mine, golds), evaluate(theirs, golds)
    parts = parts_by_occurrence(occurrences(golds))
    chosen = chosen_mentions(run, parts[REPEATED])
    assert chosen.ranks() == [[None], [1, 2]] and run.mentions == 6
    estimates = chosen.estimates((1, 5))
    assert estimates["recall@1"].value == pytest.approx(1 / 3)
    assert estimates["recall@5"].value == pytest.approx(2 / 3)
    assert chosen_mentions(run, parts[FIRST]).estimates()["recall@1"].value == pytest.approx(2 / 3)
    difference = chosen.estimates(baseline=chosen_mentions(other, parts[REPEATED]))
    assert difference["recall@1"].value == pytest.approx(1 / 3 - 2 / 3)


@given(st.lists(st.lists(st.sampled_from("ABC"), max_size=12), max_size=4))
def test_every_mention_is_first_or_repeated(documents):
    texts = [
        CorpusDocument(str(n), "x " * len(codes), annotations=[
            Annotation(2 * i, 2 * i + 1, "x", "P", [[code]]) for i, code in enumerate(codes)
        ])
        for n, codes in enumerate(documents)
    ]  # fmt: skip
    parts = parts_by_occurrence(occurrences(texts))
    counts = {name: sum(map(sum, flags)) for name, flags in parts.items()}
    assert counts["first"] == sum(len(set(codes)) for codes in documents)
    assert counts["first"] + counts["repeated"] == sum(map(len, documents))
    for name, k in (("k=2", 2), ("k=3", 3), ("k=4", 4)):
        assert counts[name] == sum(
            sum(number >= k for number in Counter(codes).values()) for codes in documents
        )
    assert sum(counts[name] for name in ("k=2", "k=3", "k=4", "k>=5")) == counts["repeated"]
