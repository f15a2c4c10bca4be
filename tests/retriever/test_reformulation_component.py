"""Standard names by a language model in a pipeline."""

from __future__ import annotations

import pickle

import pytest
import spacy

from spacy_bel.errors import ModelError, SettingsError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.retriever.reformulation.causal_lm import CausalLMReformulator
from tests.retriever.test_reformulation import Scripted
from tests.setwise.tiny_models import tiny_model

MADE = []


@spacy.registry.misc("tests.ScriptedReformulator.v1")
def make_scripted(names: dict, failing: list = []):  # noqa: B006 - spaCy copies it
    MADE.append(Scripted(names, failing=failing))
    return MADE[-1]


spacy.registry.misc("tests.CausalLMReformulator.v1", func=CausalLMReformulator)
EXACT = {"@misc": "spacy_bel.ExactRetriever.v1"}
NAMES = {"MI": "Heart attack", "### MI": "nothing", "heart failure": "common cold"}
SCRIPTED = {"@misc": "tests.ScriptedReformulator.v1", "names": NAMES}


@pytest.fixture
def make_nlp(tmp_path):
    builder = KnowledgeBaseBuilder("test")
    for code, group, *names in [
        ("D1", "Disorders", "heart attack", "myocardial infarction"),
        ("D2", "Disorders", "heart failure"),
        ("D3", "Disorders", "common cold"),
        ("P1", "Phenomena", "heart attack"),
    ]:
        builder.add(Concept(code, tuple(names), (group,)))
    if not (tmp_path / "kb").exists():
        builder.build().to_disk(tmp_path / "kb")

    def make(**config):
        nlp = spacy.blank("en")
        settings = {"kb": str(tmp_path / "kb"), "retriever": EXACT, **config}
        nlp.add_pipe("bel_retriever", config=settings)
        return nlp

    return make


def marked(nlp):
    doc = nlp.make_doc("She had no MI.  It was\nheart failure, or MI. No ###.")
    doc.ents = [
        doc.char_span(11, 13, label="Disorders"),
        doc.char_span(23, 36, label="Disorders"),
        doc.char_span(41, 43, label="Phenomena"),
        doc.char_span(48, 51, label="Disorders", alignment_mode="expand"),
    ]
    return doc


def links(doc):
    return [(e.kb_id_, e._.kb_candidates) for e in doc.ents]


EXPECTED = [
    ("D1", [("D1", "heart attack", 0.4)]),
    ("D2", [("D2", "heart failure", 0.6), ("D3", "common cold", 0.4)]),
    ("P1", [("P1", "heart attack", 0.4)]),
    ("NIL", []),
]


def test_mentions_are_found_by_their_standard_names(make_nlp):
    nlp = make_nlp(reformulator=SCRIPTED)
    assert links(nlp(marked(nlp))) == EXPECTED
    first, second, third = sum(MADE[-1].asked, [])
    assert first == ("She had no MI.", "MI", ("Disorders",))
    assert second == ("It was heart failure, or MI.", "heart failure", ("Disorders",))
    assert third == ("It was heart failure, or MI.", "MI", ("Phenomena",))


def test_sentences_are_those_of_the_document(make_nlp):
    nlp = make_nlp(reformulator=SCRIPTED)
    doc = marked(nlp)
    for token in doc:
        token.is_sent_start = token.text == "had"
    nlp(doc)
    assert sum(MADE[-1].asked, [])[0].sentence.startswith("had no MI. It was heart failure")


@pytest.mark.parametrize("weight", [0, 0.3, 1])
def test_the_share_of_the_mention(make_nlp, weight):
    nlp = make_nlp(reformulator=SCRIPTED, mention_weight=weight)
    scores = {c.code: c.score for c in nlp(marked(nlp)).ents[1]._.kb_candidates}
    expected = {"D2": weight, "D3": 1 - weight}
    assert scores == pytest.approx({code: s for code, s in expected.items() if s})


def test_all_strings_of_a_mention_are_mixed(make_nlp):
    """Those that the document gives, too, with their weights."""
    text = "A myocardial infarction (MI) is seen. This MI is over."
    nlp = make_nlp(reformulator={**SCRIPTED, "names": {"MI": "heart failure"}})
    doc = nlp.make_doc(text)
    doc.ents = [doc.char_span(43, 45, label="Disorders")]
    (ent,) = nlp(doc).ents
    found = {c.code: c.score for c in ent._.kb_candidates}
    assert found == pytest.approx({"D1": 0.6, "D2": 0.4})


def test_without_answers_nothing_changes(make_nlp):
    plain = make_nlp(retriever=None)
    nlp = make_nlp(retriever=None, reformulator={**SCRIPTED, "names": {}})
    assert links(nlp(marked(nlp))) == links(plain(marked(plain)))


def test_streams_and_processes(make_nlp):
    nlp = make_nlp(reformulator=SCRIPTED)
    docs = list(nlp.pipe([marked(nlp) for _ in range(70)]))
    assert all(links(doc) == EXPECTED for doc in docs)
    assert [len(asked) for asked in MADE[-1].asked] == [0, 3]  # to open it, and all mentions once
    docs = list(nlp.pipe([marked(nlp) for _ in range(4)], n_process=2, batch_size=2))
    assert all(links(doc) == EXPECTED for doc in docs)
    pipe = pickle.loads(pickle.dumps(nlp.get_pipe("bel_retriever")))
    assert links(pipe(marked(nlp))) == EXPECTED


def test_saved_and_loaded_by_config(make_nlp, tmp_path):
    tiny_model("llama").save(tmp_path / "lm")
    block = {
        "@misc": "tests.CausalLMReformulator.v1",
        "model": str(tmp_path / "lm"),
        "ontology": "MeSH",
        "max_new_tokens": 3,
    }
    for reformulator in (SCRIPTED, block):
        nlp = make_nlp(reformulator=reformulator)
        expected = links(nlp(marked(nlp)))
        nlp.to_disk(tmp_path / "pipeline")
        assert not list((tmp_path / "pipeline").rglob("*.safetensors"))  # named, not copied
        read = spacy.load(tmp_path / "pipeline")
        assert links(read(marked(read))) == expected
        docs = read.pipe([marked(read) for _ in range(4)], n_process=2, batch_size=2)
        assert all(links(doc) == expected for doc in docs)
        again = make_nlp(reformulator=reformulator).from_bytes(nlp.to_bytes())
        assert links(again(marked(again))) == expected


def test_a_cache_makes_the_model_dispensable(make_nlp, tmp_path):
    cache = str(tmp_path / "answers.jsonl")
    nlp = make_nlp(reformulator=SCRIPTED, reformulation_cache=cache)
    for doc in nlp.pipe([marked(nlp) for _ in range(4)], n_process=2, batch_size=2):
        assert links(doc) == EXPECTED
    absent = {**SCRIPTED, "names": {}, "failing": ["MI", "heart failure"]}
    nlp = make_nlp(reformulator=absent, reformulation_cache=cache)
    nlp.initialize()
    assert links(nlp(marked(nlp))) == EXPECTED
    assert MADE[-1].asked == []


def test_a_document_without_an_answer_does_not_take_others_with_it(make_nlp):
    nlp = make_nlp(reformulator={**SCRIPTED, "failing": ["heart failure"]})
    failed = []
    pipe = nlp.get_pipe("bel_retriever")
    pipe.set_error_handler(lambda name, pipe, docs, error: failed.append((docs[0].text, error)))
    docs = []
    for text in ("MI", "heart failure", "common cold"):
        docs.append(nlp.make_doc(text))
        docs[-1].ents = [docs[-1].char_span(0, len(text), label="Disorders")]
    assert [doc.ents[0].kb_id_ for doc in pipe.pipe(docs)] == ["D1", "D3"]
    ((text, error),) = failed
    assert text == "heart failure" and isinstance(error, ModelError)


def test_wrong_settings(make_nlp):
    for weight in (-0.1, 1.1):
        with pytest.raises(SettingsError, match="mention_weight"):
            make_nlp(reformulator=SCRIPTED, mention_weight=weight)
    with pytest.raises(ModelError, match="no reformulator"):
        make_nlp(reformulator="a model")
    missing = {"@misc": "tests.CausalLMReformulator.v1", "model": "./nowhere", "ontology": "MeSH"}
    with pytest.raises(ModelError, match="nowhere"):
        make_nlp(reformulator=missing).initialize()
