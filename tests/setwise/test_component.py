"""`bel_setwise` in a pipeline: candidates in another order, NIL, streams, processes and disks."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import DocBin

from spacy_bel.errors import KnowledgeBaseError, ModelError
from spacy_bel.setwise.component import SetwiseReader
from spacy_bel.setwise.encoding import PromptEncoder
from spacy_bel.setwise.prompt import Question
from spacy_bel.setwise.reader import Reading

from .conftest import TEXT, links, marked, same
from .tiny_models import tiny_model


def plain_probabilities(nlp, question):
    """Softmax over the letters after a plain forward pass."""
    model = nlp.get_pipe("bel_setwise").language_model
    encoder = PromptEncoder(model.tokenizer, 20)
    with torch.no_grad():
        logits = model.model(torch.tensor([encoder.encode(question)])).logits[0, -1]
    chosen = logits[encoder.letters[: len(question.options) + 1]]
    return torch.softmax(chosen.double(), 0).numpy()


QUESTIONS = [
    Question(
        "Severe headache and a heart attak.", 7, 15,
        ("headache", "MI (aka heart attack)", "heart failure"),
    ),
    Question(
        "Severe headache and a heart attak.", 22, 33,
        ("heart attack", "cardiac failure (aka heart failure)"),
    ),
    Question("The cold was worse.", 4, 8, ("cold (aka low temperature)",)),
]  # fmt: skip


def test_candidates_are_ordered_by_the_probability_of_their_letters(make_nlp):
    nlp = make_nlp()
    before = [ent._.kb_candidates for ent in marked(nlp).ents]
    ents = nlp(marked(nlp)).ents
    for ent, old, question in zip(ents, before, QUESTIONS, strict=False):
        *probabilities, nil = plain_probabilities(nlp, question)
        expected = sorted(zip(probabilities, old, strict=True), key=lambda pair: -pair[0])
        assert [c.code for c in ent._.kb_candidates] == [c.code for _, c in expected]
        assert [c.score for c in ent._.kb_candidates] == pytest.approx([p for p, _ in expected])
        best = expected[0]
        assert ent.kb_id_ == ("NIL" if nil > best[0] else best[1].code)


def test_a_mention_without_candidates_stays_without(make_nlp):
    nlp = make_nlp()
    doc = nlp(marked(nlp, mentions=[("headache", "Disorders", []), ("cold", "Any", [])]))
    assert [(ent.kb_id_, ent._.kb_candidates) for ent in doc.ents] == [("NIL", [])] * 2
    assert nlp.get_pipe("bel_setwise").report.mentions == 0


def fixed(nlp, monkeypatch, probabilities, nil):
    reader = nlp.get_pipe("bel_setwise").reader
    asked = []

    def read(questions):
        asked.extend(questions)
        return [Reading(np.array(probabilities[: len(q.options)]), nil) for q in questions]

    monkeypatch.setattr(type(reader), "read", lambda self, questions, temperature: read(questions))
    return asked


THREE = [("headache", "Disorders", [("D4", "headache"), ("D1", "MI"), ("D2", "heart failure")])]


def test_others_follow_in_their_order(make_nlp, monkeypatch):
    nlp = make_nlp(options=2)
    asked = fixed(nlp, monkeypatch, [0.3, 0.5], 0.2)
    (ent,) = nlp(marked(nlp, mentions=THREE)).ents
    assert [(c.code, c.score) for c in ent._.kb_candidates] == [("D1", 0.5), ("D4", 0.3), ("D2", 0)]
    assert ent.kb_id_ == "D1" and len(asked[0].options) == 2


def test_none_of_the_above_is_nil_and_keeps_candidates(make_nlp, monkeypatch):
    nlp = make_nlp()
    fixed(nlp, monkeypatch, [0.1, 0.2, 0.3], 0.4)
    (ent,) = nlp(marked(nlp, mentions=THREE)).ents
    assert ent.kb_id_ == "NIL" and [c.code for c in ent._.kb_candidates] == ["D2", "D1", "D4"]


def test_a_link_replaces_nil_and_threshold_is_a_probability(make_nlp, monkeypatch):
    for threshold, code in ((0.0, "D4"), (0.4, "D4"), (0.41, "NIL")):
        nlp = make_nlp(threshold=threshold)
        fixed(nlp, monkeypatch, [0.4, 0.1, 0.1], 0.4)  # as good as none: a link
        (ent,) = nlp(marked(nlp, mentions=THREE)).ents
        assert ent.kb_id_ == code


def test_contexts(make_nlp, monkeypatch):
    passages = make_nlp(context="passage")
    asked = fixed(passages, monkeypatch, [0.6, 0.2, 0.1], 0.1)
    doc = marked(passages)
    doc.spans["passages"] = [doc[0:7], doc[7 : len(doc)]]
    passages(doc)
    assert [q.context for q in asked] == [TEXT[:34], TEXT[:34], TEXT[35:]]
    assert [q.mention for q in asked] == ["headache", "heart attak", "cold"]
    asked.clear()
    passages(marked(passages))
    assert {q.context for q in asked} == {TEXT}
    with pytest.raises(ValueError, match=r"(?s)bel_setwise -> context.*sentence.*passage"):
        make_nlp(context="paragraph")
    with pytest.raises(ValueError, match="context must be one of sentence, passage"):
        SetwiseReader(spacy.blank("en"), context="paragraph")


def test_sentences_of_the_document_come_first(make_nlp, monkeypatch):
    nlp = make_nlp()
    asked = fixed(nlp, monkeypatch, [0.6, 0.2, 0.1], 0.1)
    doc = marked(nlp)
    for token in doc:
        token.is_sent_start = token.text == "and"
    nlp(doc)
    assert [q.context for q in asked] == ["Severe headache", TEXT[16:], TEXT[16:]]


def test_span_groups(make_nlp):
    nlp = make_nlp(spans_key="sc")
    doc = nlp(marked(nlp, spans_key="sc"))
    plain = make_nlp()
    rows = [(span.text, span.kb_id_, span._.kb_candidates) for span in doc.spans["sc"]]
    same(rows, links(plain(marked(plain))))


def test_after_a_retriever(make_nlp, kb_dir):
    nlp = make_nlp()
    nlp.add_pipe("bel_retriever", config={"kb": str(kb_dir)}, first=True)
    doc = nlp(marked(nlp, mentions=[("heart attak", "Disorders", []), ("cold", "Phenomena", [])]))
    codes = [{c.code for c in ent._.kb_candidates} for ent in doc.ents]
    assert "D1" in codes[0] and codes[1] == {"P1"}
    assert nlp.get_pipe("bel_setwise").report.mentions == 2
    assert not nlp.analyze_pipes()["problems"]["bel_setwise"][1:]  # the mentions come from outside


def test_pipe_equals_calls(make_nlp):
    nlp = make_nlp(batch_tokens=700)
    texts = [None, "No mentions.", ""]
    docs = [marked(nlp), nlp.make_doc(texts[1]), nlp.make_doc(""), marked(nlp)]
    piped = list(nlp.pipe([doc.copy() for doc in docs]))
    assert [doc.text for doc in piped] == [doc.text for doc in docs]
    for got, doc in zip(piped, docs, strict=True):
        same(links(got), links(nlp(doc)))


def test_processes(make_nlp):
    nlp = make_nlp()
    expected = links(nlp(marked(nlp)))
    for doc in nlp.pipe([marked(nlp) for _ in range(4)], n_process=2, batch_size=2):
        same(links(doc), expected)


def test_disk(kb, kb_dir, model_dir, make_nlp, tmp_path):
    kb.to_disk(tmp_path / "kb")
    (tmp_path / "model").mkdir()
    for file in model_dir.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    nlp = make_nlp(kb=str(tmp_path / "kb"), model=str(tmp_path / "model"))
    expected = links(nlp(marked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    for name in ("kb", "model"):
        (tmp_path / name).rename(tmp_path / f"gone_{name}")
    read = spacy.load(tmp_path / "pipeline")
    assert links(read(marked(read))) == expected
    read.to_disk(tmp_path / "pipeline")  # over itself
    (tmp_path / "pipeline").rename(tmp_path / "elsewhere")
    again = spacy.load(tmp_path / "elsewhere")
    same(links(again(marked(again))), expected)


def test_bytes_and_stored_documents(make_nlp):
    nlp = make_nlp()
    doc = nlp(marked(nlp))
    other = make_nlp(kb="nowhere", model="./nowhere")
    other.from_bytes(nlp.to_bytes())
    same(links(other(marked(other))), links(doc))
    stored = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (read,) = DocBin().from_bytes(stored).get_docs(nlp.vocab)
    assert links(read) == links(doc)


def test_a_model_has_to_be_named(make_nlp):
    nlp = make_nlp(model=None)
    nlp.set_error_handler(lambda *_: None)
    with pytest.raises(ModelError, match="no default model: set its setting model"):
        list(nlp.pipe(["One."]))
    with pytest.raises(ModelError, match="no model directory './nowhere'"):
        make_nlp(model="./nowhere")("One.")


def test_settings_that_cannot_be_used(make_nlp):
    for options in (0, 21):
        with pytest.raises(ValueError, match="options must be from 1 to 20"):
            make_nlp(options=options)
    with pytest.raises(ValueError, match="batch_tokens"):
        make_nlp(batch_tokens=0)


def test_a_model_that_answers_no_questions(make_nlp):
    class Other:
        tokenizer = directory = None
        bidirectional_prompt = True

        def forward(self):
            raise NotImplementedError

    nlp = make_nlp()
    with pytest.raises(ModelError, match="Other answers no questions"):
        nlp.get_pipe("bel_setwise").set_model(Other())


def test_errors_go_to_the_error_handler(make_nlp):
    nlp = make_nlp()
    failed = []
    nlp.set_error_handler(lambda name, proc, docs, error: failed.append((docs[0].text, error)))
    good = [("cold", "Phenomena", [("P1", "cold")])]
    unknown = [("cold", "Phenomena", [("X9", "cold")])]
    docs = [
        marked(nlp, "A cold.", good),
        marked(nlp, "Some cold.", unknown),
        marked(nlp, "No cold.", good),
    ]
    assert [doc.text for doc in nlp.pipe(docs)] == ["A cold.", "No cold."]
    ((text, error),) = failed
    assert text == "Some cold."
    assert isinstance(error, KnowledgeBaseError) and "no concept 'X9'" in str(error)


def test_a_context_longer_than_the_window(make_nlp, tmp_path, caplog):
    tiny_model("gpt2", window=500).save(tmp_path / "small")
    nlp = make_nlp(model=str(tmp_path / "small"))
    text = "cough and " * 200 + "cold " + "or chills " * 200
    candidates = [("P1", "cold"), ("D3", "cold"), ("D1", "MI")]
    with caplog.at_level(logging.WARNING, logger="spacy_bel"):
        (ent,) = nlp(marked(nlp, text, [("cold", "Any", candidates)])).ents
    report = nlp.get_pipe("bel_setwise").report
    assert (report.mentions, report.context_cut, report.options_cut) == (1, 1, 0)
    assert "context cut to words around the mention in 1" in caplog.text
    assert ent.kb_id_ and all(c.score > 0 for c in ent._.kb_candidates)


def test_more_candidates_than_fit(make_nlp, tmp_path):
    tiny_model("gpt2", window=400).save(tmp_path / "small")
    nlp = make_nlp(model=str(tmp_path / "small"), max_candidates=200)
    wide = [("D1", "MI " * 10), ("D2", "cardiac failure " * 3), ("D3", "cold " * 30)]
    (ent,) = nlp(marked(nlp, "A cold.", [("cold", "Any", wide)])).ents
    report = nlp.get_pipe("bel_setwise").report
    assert report.options_cut == 1
    assert ent._.kb_candidates[-1].code == "D3" and ent._.kb_candidates[-1].score == 0
    tiny_model("gpt2", window=100).save(tmp_path / "tiny")
    nlp = make_nlp(model=str(tmp_path / "tiny"))
    with pytest.raises(ModelError, match="'cold' and its first option"):
        nlp(marked(nlp, "A cold.", [("cold", "Any", wide)]))
