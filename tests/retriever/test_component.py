"""`bel_retriever` in a pipeline."""

from __future__ import annotations

import pytest
import spacy
from spacy.tokens import Span

from spacy_bel.errors import FingerprintMismatchError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder


def make_kb(*rows):
    builder = KnowledgeBaseBuilder("test")
    for code, group, *names in rows:
        builder.add(Concept(code=code, names=tuple(names), groups=(group,)))
    return builder.build()


@pytest.fixture
def kb_dir(tmp_path):
    kb = make_kb(
        ("D1", "Disorders", "heart attack", "myocardial infarction"),
        ("D2", "Disorders", "heart failure"),
        ("D3", "Disorders", "common cold", "cold"),
        ("P1", "Phenomena", "cold temperature", "cold"),
    )
    kb.to_disk(tmp_path / "kb")
    return tmp_path / "kb"


@pytest.fixture
def nlp(kb_dir):
    nlp = spacy.blank("en")
    nlp.add_pipe("bel_retriever", config={"kb": str(kb_dir)})
    return nlp


def marked(nlp):
    doc = nlp.make_doc("A heart attak, then a cold and ### in the cold.")
    doc.ents = [
        doc.char_span(2, 13, label="Disorders"),
        doc.char_span(22, 26, label="Disorders"),
        doc.char_span(31, 34, label="Disorders", alignment_mode="expand"),
        doc.char_span(42, 46, label="Phenomena"),
    ]
    return doc


def links(doc):
    return [(e.kb_id_, e._.kb_candidates) for e in doc.ents]


def test_ranks_concepts_within_groups(nlp):
    doc = nlp(marked(nlp))
    assert [ent.kb_id_ for ent in doc.ents] == ["D1", "D3", "NIL", "P1"]
    assert [c.code for c in doc.ents[0]._.kb_candidates] == ["D1", "D2"]
    assert doc.ents[1]._.kb_candidates[0].score == pytest.approx(1.0)
    assert {c.code for c in doc.ents[3]._.kb_candidates} == {"P1"}


def test_pipe_equals_calls(nlp):
    expected = links(nlp(marked(nlp)))
    docs = list(nlp.pipe([marked(nlp) for _ in range(70)]))
    assert all(links(doc) == expected for doc in docs)
    docs = list(nlp.pipe([marked(nlp) for _ in range(4)], n_process=2, batch_size=2))
    assert all(links(doc) == expected for doc in docs)


def test_disk_and_bytes(nlp, tmp_path):
    expected = links(nlp(marked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    read = spacy.load(tmp_path / "pipeline")
    assert links(read(marked(read))) == expected
    other = spacy.blank("en")
    other.add_pipe("bel_retriever", config={"kb": "nowhere"})
    other.from_bytes(nlp.to_bytes())
    assert links(other(marked(other))) == expected


def test_an_index_of_another_knowledge_base_is_refused(nlp, tmp_path):
    nlp(marked(nlp))
    nlp.to_disk(tmp_path / "pipeline")
    make_kb(("X", "Disorders", "x"), ("Y", "Phenomena", "yy")).to_disk(
        tmp_path / "pipeline" / "bel_retriever" / "kb", force=True
    )
    read = spacy.load(tmp_path / "pipeline")
    with pytest.raises(FingerprintMismatchError):
        read(marked(read))


def test_candidates_and_links_are_separate(nlp):
    linker = nlp.get_pipe("bel_retriever")
    linker.cfg["threshold"] = 0.99
    linker.max_candidates = 1
    doc = nlp(marked(nlp))
    assert [ent.kb_id_ for ent in doc.ents] == ["NIL", "D3", "NIL", "P1"]
    assert [len(ent._.kb_candidates) for ent in doc.ents] == [1, 1, 0, 1]


def test_a_span_without_label_reads_the_mention_at_its_place(nlp):
    doc = nlp(marked(nlp))
    first = doc.ents[0]
    assert doc[first.start : first.end]._.kb_candidates == first._.kb_candidates
    assert Span(doc, first.start, first.end, label="Other")._.kb_candidates == []
