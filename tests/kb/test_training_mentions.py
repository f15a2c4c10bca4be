"""Mentions of training documents as names: what is added, counted, and said."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.training_mentions import TrainingMentionsReport, add_training_mentions
from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb import KnowledgeBase
from spacy_bel.kb.cleaning import clean_names
from spacy_bel.kb.text import fold
from spacy_bel.retriever.exact import ExactRetriever


def mention(text, *parts, fragments=()):
    """A mention of all parts, each a code or several alternatives."""
    codes = [[part] if isinstance(part, str) else list(part) for part in parts]
    return Annotation(0, len(text), text, "Disease", codes, list(fragments))


def document(*annotations):
    return CorpusDocument("1", "", annotations=list(annotations))


@pytest.fixture
def kb(builder):
    return builder.build()


def test_mentions_become_names_after_those_of_the_terminology(kb):
    documents = [
        document(mention("infarct", "T:1"), mention("Coronary event", "T:1")),
        document(mention("coronary event", "T:1"), mention("coronary event", "T:1")),
    ]
    extended = add_training_mentions(kb, documents)
    before, after = kb["T:1"], extended["T:1"]
    # The more frequent name first, in its usual spelling.
    assert after.names == (*before.names, "coronary event", "infarct")
    assert extended.preferred_name("T:1") == "Heart attack"
    assert extended.find("CORONARY EVENT") == ["T:1"]
    for field in ("definition", "groups", "cross_references", "parents", "alternative_codes"):
        assert getattr(after, field) == getattr(before, field)
    assert [extended[code] for code in ("T:2", "T:3", "T:4")] == [
        kb[code] for code in ("T:2", "T:3", "T:4")
    ]
    assert extended.resolve("GONE:1") == "T:2" and extended.resolve("OLD:1") == "T:1"


def test_the_name_says_what_was_done(kb, tmp_path):
    documents = [document(mention("infarct", "T:1")), document()]
    extended = add_training_mentions(kb, documents)
    assert extended.meta.name == "toy + training mentions (2 documents)"
    assert extended.meta.release == "1.0" and extended.meta.licence == "CC0"
    assert extended.fingerprint != kb.fingerprint
    extended.to_disk(tmp_path / "kb")
    assert KnowledgeBase.from_disk(tmp_path / "kb").meta.name == extended.meta.name
    assert kb.training_mentions is None


def test_the_long_form_of_an_abbreviation_becomes_a_name_too(kb):
    text = "Acute coronary death (ACD) is common. ACD kills."
    spans = [(22, 25), (38, 41)]
    documents = [
        CorpusDocument(
            "1", text, annotations=[Annotation(s, e, text[s:e], "", [["T:1"]]) for s, e in spans]
        )
    ]
    assert [text[s:e] for s, e in spans] == ["ACD", "ACD"]
    assert add_training_mentions(kb, documents).find("acute coronary death") == ["T:1"]


def test_names_that_are_there_are_not_added(kb):
    report = TrainingMentionsReport()
    extended = add_training_mentions(kb, [document(mention("heart  ATTACK", "T:1"))], report=report)
    assert extended["T:1"].names == kb["T:1"].names
    assert (report.names, report.present) == (0, 1)


def test_codes_count_as_the_concepts_they_stand_for(kb):
    documents = [
        document(mention("infarct", "OLD:1"), mention("leak", "GONE:1"), mention("x", "MESH:T:3"))
    ]
    extended = add_training_mentions(kb, documents)
    assert [extended.find(name) for name in ("infarct", "leak", "x")] == [["T:1"], ["T:2"], ["T:3"]]


def test_a_composite_mention_becomes_a_name_of_each_concept(kb):
    documents = [document(mention("both", "T:1", "T:2"), mention("either", ("T:1", "T:4")))]
    extended = add_training_mentions(kb, documents)
    assert extended.find("both") == ["T:1", "T:2"]
    assert extended.find("either") == ["T:1", "T:4"]


def test_what_is_left_out_is_counted(kb):
    documents = [
        document(
            mention("nothing"),
            mention("elsewhere", "X:1"),
            mention("gone", "GONE:2"),
            mention("in two pieces", "T:1", fragments=[(0, 2), (7, 13)]),
            mention("partly", "T:1", "X:1"),
            mention(" \x00", "T:1"),
        )
    ]
    report = TrainingMentionsReport()
    extended = add_training_mentions(kb, documents, report=report)
    assert extended["T:1"].names == (*kb["T:1"].names, "partly")
    assert (report.documents, report.mentions) == (1, 6)
    assert (report.nil, report.unknown, report.discontinuous) == (1, 2, 1)
    assert (report.names, report.concepts, report.present) == (1, 1, 0)


def test_documents_of_another_terminology_are_refused(kb):
    with pytest.raises(KnowledgeBaseError, match="2 mentions .* 'toy'"):
        add_training_mentions(kb, [document(mention("a", "X:1"), mention("b"))])


def found(kb, text):
    (hits,) = ExactRetriever().build(kb).search([text])
    return [code for code, _, _ in hits]


def test_the_concept_that_is_mentioned_more_often_is_found_first(kb):
    """ "MI" is a name of T:1 and of T:2; in training, T:2 is more frequent, by whatever name."""
    assert found(kb, "mi") == ["T:1", "T:2"]
    documents = [document(mention("valve leak", "T:2"), mention("leaking valve", "T:2"))]
    extended = add_training_mentions(kb, documents)
    assert found(extended, "mi") == ["T:2", "T:1"]
    extended = add_training_mentions(extended, [document(*[mention("infarct", "T:1")] * 3)])
    assert found(extended, "mi") == ["T:1", "T:2"]
    counts = {extended.code(i): int(n) for i, n in enumerate(extended.training_mentions)}
    assert counts == {"T:1": 3, "T:2": 2, "T:3": 0, "T:4": 0}
    cleaned, _ = clean_names(extended, ["lower"])
    assert found(cleaned.build(), "mi") == ["T:1", "T:2"]


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["mi", "MI", "Mi ", "heart attack", "aspirin", "new", "New", "x y"]
                ),
                st.lists(st.sampled_from(["T:1", "T:2", "T:3", "OLD:1", "X:9"]), max_size=3),
            ),
            max_size=4,
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=40, deadline=None)
def test_every_linked_mention_is_found_and_nothing_else_changes(rows):
    from .conftest import CONCEPTS, KnowledgeBaseBuilder

    builder = KnowledgeBaseBuilder("toy")
    for concept in CONCEPTS:
        builder.add(concept)
    kb = builder.build()
    documents = [document(*[mention(text, *codes) for text, codes in row]) for row in rows]
    wanted = {
        (fold(text), kb.resolve(code))
        for row in rows
        for text, codes in row
        for code in codes
        if kb.resolve(code)
    }
    if not wanted:
        with pytest.raises(KnowledgeBaseError):
            add_training_mentions(kb, documents)
        return
    extended = add_training_mentions(kb, documents)

    def pairs(of):
        return Counter((fold(name), code) for code in of for name in of[code].names)

    assert set(pairs(extended)) == set(pairs(kb)) | wanted
    # One spelling of each new name.
    assert sum(pairs(extended).values()) == sum(pairs(kb).values()) + len(wanted - set(pairs(kb)))
    again = add_training_mentions(kb, documents[::-1])
    assert again.fingerprint == extended.fingerprint


@pytest.mark.data
def test_on_ncbi_disease_the_training_mentions_of_medic_are_all_found(data):
    from spacy_bel.corpora.pubtator import read_pubtator
    from spacy_bel.kb.readers import read

    kb = read(data / "kb" / "medic" / "medic_06Jul2012.txt.gz", "medic").build()
    train = list(read_pubtator(data / "corpora" / "ncbi-disease" / "NCBItrainset_corpus.txt"))
    report = TrainingMentionsReport()
    extended = add_training_mentions(kb, train, report=report)
    assert extended.meta.name == "MEDIC + training mentions (593 documents)"
    assert report.mentions == 5145 and report.unknown == report.nil == 0
    for document in train:
        for annotation in document.annotations:
            expected = {extended.resolve(code) for part in annotation.codes for code in part}
            assert expected <= set(extended.find(annotation.text))
    assert extended.meta.aliases == kb.meta.aliases + report.names
    assert int(extended.training_mentions.sum()) >= 5145
