"""Recall of candidates: what counts, what can be reached, what training has seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.corpora.document import Annotation
from spacy_bel.corpora.training_mentions import add_training_mentions
from spacy_bel.errors import UnmappedLabelError
from spacy_bel.evaluation import EvaluationError, Policies, evaluate
from spacy_bel.evaluation.retrieval import evaluate_retriever
from spacy_bel.retriever.exact import ExactRetriever
from spacy_bel.retriever.index import CandidateIndex

from .helpers import TEXT, document, gold, knowledge_base, ranked

WORDS = ["ataxia", "tremor", "seizure", "cough", "fever", "rash"]


class Listed(CandidateIndex):
    """Finds what it is told to, and remembers what it was asked for."""

    def __init__(self, **codes):
        self.kb = knowledge_base()
        self.codes = codes
        self.asked = []

    def search(self, mentions, group_masks=None, k=25):
        self.asked += mentions
        return [
            [(code, "name", -float(i)) for i, code in enumerate(self.codes.get(m, []))][:k]
            for m in mentions
        ]

    def to_disk(self, path, *, force=False):
        raise NotImplementedError

    def to_bytes(self):
        raise NotImplementedError


def run(index, *documents, **options):
    return evaluate_retriever(index, documents, **{"unmapped_labels": "all", **options})


def values(row):
    return {name: row[name]["value"] for name in row if name != "mentions"}


def test_recall_by_hand():
    index = Listed(ataxia=["A"], tremor=["C", "A", "B"], cough=["B"])
    one = document(gold("ataxia", "A"), gold("tremor", "B"))
    two = document(gold("cough", "C", label="D"), id="2")
    report = run(index, one, two).report((1, 3))
    assert values(report["scores"]) == {
        "recall@1": pytest.approx(1 / 3),
        "recall@3": pytest.approx(2 / 3),
        "mrr": pytest.approx((1 + 1 / 3) / 3),
        "ceiling": 1.0,
    }
    assert report["scores"]["mentions"] == 3
    assert report["candidates"] == 3
    # The second document has no hit: drawn twice, it gives none.
    assert report["scores"]["recall@3"]["low"] == 0.0
    assert report["kb"]["name"] == "test"


def test_a_composite_is_found_by_one_of_its_concepts_unless_policies_ask_for_all():
    index = Listed(**{"ataxia with tremor": ["C", "B"]})
    both = document(gold("ataxia with tremor", "A+B"))
    assert run(index, both).report((2,))["scores"]["recall@2"]["value"] == 1.0
    report = run(index, both, policies=Policies()).report((2,))
    assert values(report["scores"]) == {"recall@2": 0.0, "mrr": 0.0, "ceiling": 0.0}


def test_mentions_without_concept_are_left_out_or_missed():
    index = Listed(ataxia=["A"], rash=["B"])
    mentions = document(gold("ataxia", "A"), gold("rash", "NIL"))
    assert run(index, mentions).report((1,))["scores"]["mentions"] == 1
    counted = run(index, mentions, policies=Policies(nil="count")).report((1,))["scores"]
    assert values(counted) == {"recall@1": 0.5, "mrr": 0.5, "ceiling": 0.5}


def test_the_ceiling_is_what_the_knowledge_base_and_the_groups_make_reachable():
    mentions = document(
        gold("ataxia", "ALT", label="Q"),
        gold("tremor", "OLD", label="Q"),
        gold("fever", "X", label="Q"),
        gold("cough", "C", label="Q"),
    )
    report = run(Listed(), mentions).report((1,))
    assert report["scores"]["ceiling"]["value"] == pytest.approx(3 / 4)
    assert report["per_group"]["D"]["ceiling"]["value"] == 1.0
    only_p = run(Listed(), mentions, label_groups={"Q": "P"}).report((1,))
    assert only_p["scores"]["ceiling"]["value"] == pytest.approx(2 / 4)


def test_labels_of_no_group():
    mentions = document(gold("ataxia", "A", label="P"), gold("cough", "C", label="Other"))
    with pytest.raises(UnmappedLabelError, match="Other"):
        evaluate_retriever(Listed(), [mentions])
    skipped = run(Listed(), mentions, unmapped_labels="skip")
    assert (skipped.skipped, skipped.evaluation.mentions) == (1, 1)
    assert run(Listed(), mentions).evaluation.mentions == 2


def test_unseen_mentions_and_codes():
    """Seen are names, training mentions and codes of training, up to case and main code."""
    train = [document(gold("seizure", "ALT"), gold("rash", "NIL"))]
    mentions = document(
        gold("ataxia", "A"),  # a name, a code of training
        gold("seizure", "B"),  # a mention of training
        gold("fever", "A"),  # neither
        gold("tremor", "B"),  # a name, a code that is new
        gold("cough", "NIL"),
    )
    mentions.annotations[1] = replace(mentions.annotations[1], text="SEIZURE")
    index = Listed(fever=["A"], seizure=["A", "B"])
    result = run(index, mentions, train=train)
    assert result.subsets == {
        "unseen mentions": [[False, False, True, False]],
        "unseen codes": [[False, True, False, True]],
    }
    rows = result.report((1, 2))["per_subset"]
    assert values(rows["unseen mentions"])["recall@1"] == 1.0
    assert values(rows["unseen codes"]) == {
        "recall@1": 0.0, "recall@2": 0.5, "mrr": 0.25, "ceiling": 1.0
    }  # fmt: skip
    assert [row["mentions"] for row in rows.values()] == [1, 2]
    assert run(index, mentions).report((1,))["per_subset"] == {}


def test_parts_without_mentions_are_said_to_be_empty():
    mentions = document(gold("ataxia", "A"))
    rows = run(Listed(), mentions, train=[mentions]).report((1,))["per_subset"]
    assert rows == {"unseen mentions": {"mentions": 0}, "unseen codes": {"mentions": 0}}


def test_differences_are_paired_also_between_knowledge_bases():
    train = [document(gold("fever", "A"))]
    dev = [
        document(gold("fever", "A"), gold("ataxia", "A"), id="1"),
        document(gold("rash", "B"), gold("tremor", "B"), id="2"),
    ]
    kb = knowledge_base()
    extended = add_training_mentions(kb, train)
    without = run(ExactRetriever().build(kb), *dev, train=train)
    with_training = run(ExactRetriever().build(extended), *dev, train=train)
    report = with_training.report((1,), baseline=without)
    assert report["kb"]["name"] == "test + training mentions (1 documents)"
    assert report["baseline"]["recall@1"]["value"] == 0.5
    # One document gains half of its mentions, the other nothing.
    assert report["difference"]["recall@1"] == {"value": 0.25, "low": 0.0, "high": 0.5}
    assert report["difference_per_subset"]["unseen mentions"]["recall@1"]["value"] == 0.0
    same = without.report((1,), baseline=without)["difference"]["mrr"]
    assert same == {"value": 0.0, "low": 0.0, "high": 0.0}
    with pytest.raises(EvaluationError, match="same gold mentions"):
        run(ExactRetriever().build(kb), dev[0]).report((1,), baseline=without)


def test_queries_are_widened_unless_told_otherwise():
    text = "A heart attack (HA), then HA."
    start = text.rindex("HA")
    mentions = replace(document(), text=text, annotations=[Annotation(start, start + 2, "HA")])
    index = Listed()
    run(index, mentions)
    assert "heart attack" in index.asked and "HA" in index.asked
    index = Listed()
    run(index, mentions, abbreviations=False, composites=False)
    assert index.asked == ["HA"]


def test_no_more_candidates_are_fetched_than_asked_for():
    index = Listed(ataxia=["B", "C", "A"])
    result = run(index, document(gold("ataxia", "A")), k=2)
    assert result.evaluation.candidates == 2
    assert result.evaluation.ranks() == [[None]]


codes = st.permutations(["A", "B", "C", "X"]).flatmap(
    lambda order: st.integers(0, 4).map(lambda n: order[:n])
)


@given(
    found=st.fixed_dictionaries({word: codes for word in WORDS}),
    documents=st.lists(
        st.lists(
            st.tuples(st.sampled_from(WORDS), st.sampled_from(["A", "B", "C", "X", "ALT", "A+B"])),
            unique_by=lambda pair: pair[0],
            min_size=1,
        ),
        min_size=1,
        max_size=3,
    ),
    policy=st.sampled_from([(), ("composite=any",), ("out_of_kb=drop", "composite=drop")]),
)
@settings(max_examples=40, deadline=None)
def test_scores_are_those_of_links_beside_gold(found, documents, policy):
    """The same ranked codes, once searched for and once as a linker's output."""
    policies = Policies.parse(policy)
    corpus = [
        document(*[gold(word, code) for word, code in rows], id=str(i))
        for i, rows in enumerate(documents)
    ]
    links = [
        document(*[ranked(word, *found[word]) for word, _ in rows], id=str(i))
        for i, rows in enumerate(documents)
    ]
    result = run(Listed(**found), *corpus, policies=policies)
    try:
        expected = evaluate(links, corpus, kb=knowledge_base(), policies=policies)
    except EvaluationError:  # no candidate at all
        assert not any(found[word] for rows in documents for word, _ in rows)
        return
    # Candidates are no links yet.
    unlinked = [[replace(m, link=None) for m in rows] for rows in expected.documents]
    assert result.evaluation.documents == unlinked
    assert result.evaluation.counts() == expected.counts()


def test_the_text_of_the_fixtures_is_what_they_say():
    assert all(TEXT.count(word) == 1 for word in WORDS)
