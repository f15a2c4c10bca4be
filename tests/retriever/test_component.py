"""`bel_retriever` in a pipeline."""

from __future__ import annotations

import pickle

import pytest
import spacy
from spacy.tokens import Span

from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError, ModelError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.retriever.component import RetrieverPipe
from spacy_bel.retriever.exact import ExactIndex, ExactRetriever
from spacy_bel.retriever.ngrams import NgramRetriever

NGRAMS = {"@misc": "spacy_bel.NgramRetriever.v1"}
EXACT = {"@misc": "spacy_bel.ExactRetriever.v1"}
ENSEMBLE = {
    "@misc": "spacy_bel.EnsembleRetriever.v1",
    "members": {"exact": EXACT, "trigrams": {**NGRAMS, "ngram_range": [3, 3]}},
}


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
def make_nlp(kb_dir):
    def make(**config):
        nlp = spacy.blank("en")
        nlp.add_pipe("bel_retriever", config={"kb": str(kb_dir), **config})
        return nlp

    return make


@pytest.fixture(params=[None, ENSEMBLE], ids=["n-grams", "ensemble"])
def nlp(make_nlp, request):
    return make_nlp(retriever=request.param)


def marked(nlp):
    doc = nlp.make_doc("A heart attak, then a cold and ### in the cold.")
    doc.ents = [
        doc.char_span(2, 13, label="Disorders"),
        doc.char_span(22, 26, label="Disorders"),
        doc.char_span(31, 34, label="Disorders", alignment_mode="expand"),
        doc.char_span(42, 46, label="Phenomena"),
    ]
    return doc


def mention(nlp, text, *words):
    """A document in which the last occurrence of some words is a mention."""
    doc = nlp.make_doc(text)
    starts = [text.rindex(some) for some in words]
    doc.ents = [
        doc.char_span(start, start + len(some), label="Disorders")
        for start, some in zip(starts, words, strict=True)
    ]
    return doc


def no_building(monkeypatch):
    """From now on an index can only be opened."""

    def build(self, kb, *, progress=False):
        raise AssertionError("the index was built again")

    monkeypatch.setattr(NgramRetriever, "build", build)
    monkeypatch.setattr(ExactRetriever, "build", build)


def links(doc):
    return [(e.kb_id_, e._.kb_candidates) for e in doc.ents]


def test_ranks_concepts_within_groups(make_nlp):
    nlp = make_nlp()
    doc = nlp(marked(nlp))
    assert [ent.kb_id_ for ent in doc.ents] == ["D1", "D3", "NIL", "P1"]
    assert [c.code for c in doc.ents[0]._.kb_candidates] == ["D1", "D2"]
    assert doc.ents[1]._.kb_candidates[0].score == pytest.approx(1.0)
    assert {c.code for c in doc.ents[3]._.kb_candidates} == {"P1"}


def test_candidates_carry_the_name_they_were_found_by(make_nlp):
    nlp = make_nlp()
    doc = nlp(mention(nlp, "A myocardial infarct.", "myocardial infarct"))
    assert doc.ents[0]._.kb_candidates[0][:2] == ("D1", "myocardial infarction")


def test_long_forms_of_the_document(make_nlp):
    text = "A heart attack (HA) is seen. This HA is over."
    nlp = make_nlp(retriever=EXACT)
    (ent,) = nlp(mention(nlp, text, "HA")).ents
    assert [c[:2] for c in ent._.kb_candidates] == [("D1", "heart attack")]
    nlp = make_nlp(retriever=EXACT, abbreviations=False)
    (ent,) = nlp(mention(nlp, text, "HA")).ents
    assert (ent.kb_id_, ent._.kb_candidates) == ("NIL", [])


def test_long_forms_belong_to_their_document(make_nlp):
    nlp = make_nlp(retriever=EXACT)
    first = mention(nlp, "A heart attack (HA) is seen. This HA is over.", "HA")
    second = mention(nlp, "A heart failure (HA) is seen. This HA is over.", "HA")
    third = mention(nlp, "This HA is over.", "HA")
    docs = nlp.pipe([first, second, third])
    assert [doc.ents[0].kb_id_ for doc in docs] == ["D1", "D2", "NIL"]


def test_parts_of_composite_mentions(make_nlp):
    text = "No myocardial infarction or heart failure."
    for composites, expected in [(True, {"D1", "D2"}), (False, set())]:
        nlp = make_nlp(retriever=EXACT, composites=composites)
        (ent,) = nlp(mention(nlp, text, "myocardial infarction or heart failure")).ents
        assert {c.code for c in ent._.kb_candidates} == expected


def test_a_floor_gives_nil_and_keeps_candidates(make_nlp):
    nlp = make_nlp(threshold=0.95)
    doc = nlp(mention(nlp, "A heart attak, a heart attack.", "heart attak", "heart attack"))
    assert [ent.kb_id_ for ent in doc.ents] == ["NIL", "D1"]
    assert doc.ents[0]._.kb_candidates[0].code == "D1"


def test_pipe_equals_calls(nlp):
    expected = links(nlp(marked(nlp)))
    docs = list(nlp.pipe([marked(nlp) for _ in range(70)]))
    assert all(links(doc) == expected for doc in docs)
    docs = list(nlp.pipe([marked(nlp) for _ in range(4)], n_process=2, batch_size=2))
    assert all(links(doc) == expected for doc in docs)


def test_disk_and_bytes(nlp, make_nlp, tmp_path, monkeypatch):
    expected = links(nlp(marked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    data = nlp.to_bytes()
    retriever = nlp.config["components"]["bel_retriever"]["retriever"]
    no_building(monkeypatch)
    read = spacy.load(tmp_path / "pipeline")
    assert links(read(marked(read))) == expected
    read.to_disk(tmp_path / "pipeline")  # over itself
    read = spacy.load(tmp_path / "pipeline")
    assert links(read(marked(read))) == expected
    other = make_nlp(kb="nowhere", retriever=retriever).from_bytes(data)
    assert links(other(marked(other))) == expected
    assert links(other(marked(other.from_bytes(other.to_bytes())))) == expected


def test_other_processes_get_the_index(nlp, monkeypatch):
    pipe = nlp.get_pipe("bel_retriever")
    expected = links(nlp(marked(nlp)))
    data = pickle.dumps(pipe)
    no_building(monkeypatch)
    assert links(pickle.loads(data)(marked(nlp))) == expected


def test_a_saved_pipeline_needs_none_of_its_sources(nlp, kb_dir, tmp_path):
    expected = links(nlp(marked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    kb_dir.rename(tmp_path / "gone")
    (tmp_path / "pipeline").rename(tmp_path / "elsewhere")
    read = spacy.load(tmp_path / "elsewhere")
    assert links(read(marked(read))) == expected


def test_without_stored_kb_the_index_is_made_again(make_nlp, kb_dir, tmp_path):
    nlp = make_nlp(store_kb=False)
    expected = links(nlp(marked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    assert not (tmp_path / "pipeline" / "bel_retriever" / "index").exists()
    read = spacy.load(tmp_path / "pipeline")
    assert links(read(marked(read))) == expected
    assert links(read.from_bytes(nlp.to_bytes())(marked(read))) == expected
    make_kb(("X", "Disorders", "heart attack"), ("Y", "Phenomena", "z")).to_disk(kb_dir, force=True)
    read = spacy.load(tmp_path / "pipeline")
    assert [ent.kb_id_ for ent in read(marked(read)).ents] == ["X", "NIL", "NIL", "NIL"]


def test_an_index_of_another_knowledge_base_is_refused(nlp, tmp_path):
    nlp(marked(nlp))
    nlp.to_disk(tmp_path / "pipeline")
    make_kb(("X", "Disorders", "x"), ("Y", "Phenomena", "yy")).to_disk(
        tmp_path / "pipeline" / "bel_retriever" / "kb", force=True
    )
    read = spacy.load(tmp_path / "pipeline")
    with pytest.raises(FingerprintMismatchError):
        read(marked(read))


def test_an_index_of_other_settings_is_refused_until_it_is_built_again(make_nlp, tmp_path):
    make_nlp().to_disk(tmp_path / "pipeline")
    changed = {"retriever": {**NGRAMS, "ngram_range": [3, 3]}}
    read = spacy.load(tmp_path / "pipeline", config={"components.bel_retriever": changed})
    with pytest.raises(FingerprintMismatchError, match="ngram_range"):
        read(marked(read))
    read.get_pipe("bel_retriever").build_index()
    other = make_nlp(**changed)
    assert links(read(marked(read))) == links(other(marked(other)))
    read.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert links(again(marked(again))) == links(other(marked(other)))


def test_another_knowledge_base_gets_another_index(nlp, tmp_path):
    nlp.to_disk(tmp_path / "pipeline")
    read = spacy.load(tmp_path / "pipeline")
    kb = make_kb(("X", "Disorders", "heart attack"), ("Y", "Phenomena", "z"))
    read.get_pipe("bel_retriever").set_kb(kb)
    assert [ent.kb_id_ for ent in read(marked(read)).ents][0] == "X"


def test_initialize_shows_what_is_wrong(make_nlp, tmp_path):
    with pytest.raises(KnowledgeBaseError, match="nowhere"):
        make_nlp(kb="nowhere").initialize()
    nlp = make_nlp(retriever={**NGRAMS, "min_df": 1000})
    with pytest.raises(KnowledgeBaseError, match="lower min_df"):
        nlp.initialize()


def test_a_bi_encoder_by_its_path(make_nlp, kb_dir, tmp_path, monkeypatch):
    """Saved with the pipeline, which then needs neither its directory nor the cached vectors."""
    from spacy_bel.retriever.dense import DenseRetriever
    from tests.retriever.tiny_encoders import write_encoder

    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path / "cache"))
    model = write_encoder(tmp_path / "model", "bert")
    nlp = make_nlp(retriever=str(model))
    expected = links(nlp(marked(nlp)))
    assert [len(candidates) for _, candidates in expected] == [3, 3, 0, 1]
    assert expected[1][0] == "D3"  # equal strings have equal vectors
    for doc in nlp.pipe([marked(nlp) for _ in range(4)], n_process=2, batch_size=2):
        assert links(doc) == expected
    assert links(pickle.loads(pickle.dumps(nlp.get_pipe("bel_retriever")))(marked(nlp))) == expected
    nlp.to_disk(tmp_path / "pipeline")
    data = nlp.to_bytes()
    for path in (model, tmp_path / "cache", kb_dir):
        path.rename(tmp_path / f"gone {path.name}")
    monkeypatch.setattr(DenseRetriever, "build", None)
    read = spacy.load(tmp_path / "pipeline")
    assert links(read(marked(read))) == expected
    other = make_nlp(kb="nowhere", retriever=str(model)).from_bytes(data)
    assert links(other(marked(other))) == expected


def test_what_is_no_retriever(nlp):
    with pytest.raises(ModelError, match="@misc"):
        RetrieverPipe(nlp, retriever=3)


class Failing(ExactRetriever):
    """Exact match that fails on one string."""

    def build(self, kb, *, progress=False):
        class Index(ExactIndex):
            def search(self, mentions, group_masks=None, k=25):
                if "cold" in mentions:
                    raise ModelError("no cold here")
                return super().search(mentions, group_masks, k)

        return Index(kb)


def test_a_document_that_fails_does_not_take_others_with_it(nlp, kb_dir):
    pipe = RetrieverPipe(nlp, kb=str(kb_dir), retriever=Failing())
    failed = []
    pipe.set_error_handler(lambda name, pipe, docs, error: failed.append((docs[0].text, error)))
    texts = ["heart attack", "common cold", "cold", "heart failure"]
    docs = list(pipe.pipe(mention(nlp, text, text) for text in texts))
    assert [doc.ents[0].kb_id_ for doc in docs] == ["D1", "D3", "D2"]
    assert [text for text, _ in failed] == ["cold"]
    assert isinstance(failed[0][1], ModelError)


def test_documents_are_linked_as_they_come(nlp):
    """No more documents are read ahead than are searched at once."""
    read = []

    def stream():
        for number in range(100):
            read.append(number)
            yield marked(nlp)

    next(nlp.get_pipe("bel_retriever").pipe(stream()))
    assert len(read) <= 33


def test_candidates_and_links_are_separate(make_nlp):
    nlp = make_nlp()
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
