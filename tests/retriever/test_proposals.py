"""Candidates for the gold mentions of a corpus, and folds that do not know themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.candidates import get_candidates
from spacy_bel.corpora.docs import to_doc
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.folds import assign_folds, without_copies
from spacy_bel.corpora.training_mentions import add_training_mentions
from spacy_bel.errors import SettingsError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.mentions import GroupMapping
from spacy_bel.retriever.component import RetrieverPipe
from spacy_bel.retriever.ensemble import EnsembleRetriever
from spacy_bel.retriever.exact import ExactRetriever
from spacy_bel.retriever.ngrams import NgramRetriever
from spacy_bel.retriever.proposals import Proposals

NLP = spacy.blank("en")


@pytest.fixture(scope="module")
def kb():
    builder = KnowledgeBaseBuilder("test")
    builder.add(Concept("D1", ("heart attack", "myocardial infarction"), ("Disorders",)))
    builder.add(Concept("D2", ("heart failure",), ("Disorders",)))
    builder.add(Concept("D3", ("common cold", "cold"), ("Disorders",)))
    builder.add(Concept("P1", ("cold temperature", "cold"), ("Phenomena",)))
    return builder.build()


def document(identifier, *mentions, before="Seen:"):
    """A text of mentions (string, label, code), one after the other."""
    text, annotations = before, []
    for string, label, code in mentions:
        start = len(text) + 1
        text += f" {string}"
        annotations.append(Annotation(start, len(text), string, label, [[code]]))
    return CorpusDocument(identifier, text, [(0, len(text))], annotations)


def proposals(kb, retriever, **settings):
    return Proposals(retriever, GroupMapping(kb, {}, "skip").groups, **settings)


def codes(documents):
    return [[[link.code for link in a.links] for a in d.annotations] for d in documents]


def test_candidates_are_those_of_the_component(kb):
    documents = [
        document("a", ("myocardial infarction (MI)", "Disorders", "D1"), ("MI", "Disorders", "D1")),
        document("b", ("heart attack and failure", "Disorders", "D1"), ("cold", "Phenomena", "P1")),
        document("c", ("+++", "Disorders", "D2"), ("a cold hart", "Disorders", "D3")),
    ]
    members = {"exact": ExactRetriever(), "ngrams": NgramRetriever()}
    for retriever in (NgramRetriever(), EnsembleRetriever(members)):
        found = list(proposals(kb, retriever, k=2).propose(kb, documents))
        pipe = RetrieverPipe(NLP, kb=kb, retriever=retriever, max_candidates=2)
        for record, links in zip(documents, found, strict=True):
            doc = pipe(to_doc(record, NLP, gold=False))
            assert [get_candidates(e) for e in doc.ents] == [a.links for a in links.annotations]
    assert found[0].annotations[1].links[0].code == "D1"
    assert [len(a.links) for a in found[2].annotations] == [0, 2]


def test_mentions_keep_their_gold_and_lose_former_links(kb):
    (record,) = [document("a", ("cold", "Phenomena", "P1"), ("spell", "Time", "T9"))]
    record.annotations[1].links = [("X", "x", 1.0)]
    record.meta = {"journal": "J"}
    (found,) = proposals(kb, ExactRetriever(), k=3).propose(kb, [record], note=1)
    assert [a.codes for a in found.annotations] == [[["P1"]], [["T9"]]]
    assert codes([found]) == [[["P1"], []]]
    about = found.meta.pop("candidates")
    assert found.meta == {"journal": "J"}
    assert (about["kb"], about["kb_fingerprint"]) == ("test", kb.meta.fingerprint)
    assert (about["retriever"], about["k"], about["note"]) == ("ExactRetriever()", 3, 1)


def test_no_fold_knows_its_own_mentions(kb):
    """With exact match, a string that is no name can only be found by another document's."""
    documents = [
        document("a", ("coronary", "Disorders", "D1"), ("cold", "Disorders", "D3")),
        document("b", ("sniffles", "Disorders", "D3")),
        document("c", ("sniffles", "Disorders", "D3"), ("weak heart", "Disorders", "D2")),
        document("d", ("coryza", "Disorders", "D3")),
    ]
    found = proposals(kb, ExactRetriever()).cross_fit(kb, documents, folds=4)
    assert [d.id for d in found] == ["a", "b", "c", "d"]
    assert codes(found) == [[[], ["D3"]], [["D3"]], [["D3"], []], [[]]]
    # What is to be avoided: with its own mentions, all of them come first.
    own = add_training_mentions(kb, documents)
    assert codes(proposals(own, ExactRetriever()).propose(own, documents)) == [
        [["D1"], ["D3"]], [["D3"]], [["D3"], ["D2"]], [["D3"]],
    ]  # fmt: skip


def test_copies_of_a_document_do_not_betray_it(kb):
    mention = ("coronary", "Disorders", "D1")
    same = document("a", mention)
    others = [document("b", ("sniffles", "Disorders", "D3")), document("c", before="Nothing.")]
    copies = [same, replace(same, id="z"), document("a", mention, before="Another text:"), *others]
    found = proposals(kb, ExactRetriever()).cross_fit(kb, copies, folds=2)
    assert codes(found)[:3] == [[[]], [[]], [[]]]
    found = proposals(kb, ExactRetriever()).cross_fit(
        kb,
        [same, *others],
        folds=2,
        others=[replace(same, id="z"), document("e", mention, before="Also:")],
    )
    # The mention of "e" is another document's, and a name in every fold.
    assert codes(found)[0] == [["D1"]]
    assert found[0].meta["candidates"]["kb"].startswith("test + training mentions")
    assert without_copies([replace(same, id="z")], [same]) == []


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), min_size=1, max_size=20),
    st.integers(2, 6),
    st.integers(0, 3),
)
def test_folds_are_even_and_keep_equal_documents_together(pairs, folds, seed):
    documents = [CorpusDocument(identifier, f"text {text}") for identifier, text in pairs]
    # Brute force: merge documents as long as two of different classes share an id or a text.
    classes = list(range(len(documents)))
    for _ in documents:
        for i, a in enumerate(documents):
            for j, b in enumerate(documents):
                if a.id == b.id or a.text == b.text:
                    classes[i] = classes[j] = min(classes[i], classes[j])
    if len(set(classes)) < folds:
        with pytest.raises(SettingsError, match="cannot be drawn into"):
            assign_folds(documents, folds, seed)
        return
    parts = assign_folds(documents, folds, seed)
    assert parts == assign_folds(documents, folds, seed)
    assert set(parts) == set(range(folds))
    for kind in set(classes):
        assert len({part for part, c in zip(parts, classes, strict=True) if c == kind}) == 1
    sizes = [parts.count(fold) for fold in range(folds)]
    assert max(sizes) - min(sizes) <= max(map(classes.count, classes))


def test_documents_without_id_are_told_apart_by_their_texts():
    documents = [CorpusDocument("", text) for text in ("one", "two", "one")]
    first, second, third = assign_folds(documents, 2)
    assert first == third != second
