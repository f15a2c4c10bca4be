"""`longbel_linker` in a pipeline: mentions, links, streams, processes, and disks."""

from __future__ import annotations

import logging

import pytest
import spacy
from spacy.tokens import Span, SpanGroup
from spacy.training import Example

from spacy_bel.candidates import Candidate
from spacy_bel.errors import (
    KnowledgeBaseError,
    ModelError,
    UnknownGroupError,
    UnmappedLabelError,
)

from .conftest import make_kb
from .helpers import TEXT, links, marked


def test_plain_strings_are_enough(make_nlp):
    nlp = make_nlp(prompt="hybrid_long", num_beams=5)
    doc = nlp(marked(nlp))
    for ent in doc.ents:
        candidates = ent._.kb_candidates
        assert ent.kb_id_ == candidates[0].code
        assert isinstance(candidates[0], Candidate)
        assert len({c.code for c in candidates}) == len(candidates) <= 5
        scores = [c.score for c in candidates]
        assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
    groups = {c.code[0] for c in doc.ents[2]._.kb_candidates}
    assert groups <= {"P"}


def test_registered_form(kb_dir, model_dir, make_nlp):
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "longbel_linker",
        config={
            "kb": {"@misc": "spacy_bel.KnowledgeBase.v1", "path": str(kb_dir)},
            "model": {"@misc": "spacy_bel.CausalLM.v1", "path": str(model_dir)},
        },
    )
    plain = make_nlp()
    assert links(nlp(marked(nlp))) == links(plain(marked(plain)))


def test_pipe_equals_calls_in_order(make_nlp):
    nlp = make_nlp(batch_size=3)
    texts = [TEXT, "No mentions.", "", "A cold." * 3]
    docs = [marked(nlp), nlp.make_doc(texts[1]), nlp.make_doc("")]
    docs.append(marked(nlp, "A cold in the head.", [("cold", "Disorders")]))
    piped = list(nlp.pipe([doc.copy() for doc in docs]))
    assert [doc.text for doc in piped] == [doc.text for doc in docs]
    for got, doc in zip(piped, docs, strict=True):
        expected = nlp(doc)
        assert [e.kb_id_ for e in got.ents] == [e.kb_id_ for e in expected.ents]


def test_pipe_is_lazy_on_an_endless_stream(make_nlp):
    nlp = make_nlp(batch_size=2)

    def endless():
        while True:
            yield marked(nlp)

    stream = nlp.pipe(endless(), batch_size=2)
    assert all(next(stream).ents[0].kb_id_ for _ in range(5))


def test_another_kb_can_be_set(make_nlp):
    nlp = make_nlp()
    nlp(marked(nlp))
    linker = nlp.get_pipe("longbel_linker")
    linker.set_kb(make_kb([("X", "Disorders", ["x"]), ("Y", "Phenomena", ["y"])]))
    assert [e.kb_id_ for e in nlp(marked(nlp)).ents] == ["X", "X", "Y"]


def test_another_prompt_can_be_set(make_nlp):
    nlp = make_nlp(prompt="short")
    nlp(marked(nlp))
    linker = nlp.get_pipe("longbel_linker")
    for prompt in ("hybrid_long", "long"):
        linker.set_prompt(prompt)
        other = make_nlp(prompt=prompt)
        assert links(nlp(marked(nlp))) == links(other(marked(other)))


def test_span_groups_with_nested_and_equal_spans(make_nlp):
    nlp = make_nlp(spans_key="sc")
    doc = nlp.make_doc(TEXT)
    doc.spans["sc"] = SpanGroup(
        doc,
        spans=[
            Span(doc, 1, 2, label="Disorders"),
            Span(doc, 0, 2, label="Disorders"),
            Span(doc, 8, 9, label="Disorders"),
            Span(doc, 8, 9, label="Phenomena"),
        ],
        attrs={"kept": 1},
    )
    doc = nlp(doc)
    spans = list(doc.spans["sc"])
    assert [(s.start, s.end, s.label_) for s in spans] == [
        (1, 2, "Disorders"),
        (0, 2, "Disorders"),
        (8, 9, "Disorders"),
        (8, 9, "Phenomena"),
    ]
    for span in spans:
        assert span.kb_id_ == span._.kb_candidates[0].code
    assert {c.code[0] for c in spans[2]._.kb_candidates} == {"D"} or spans[2].kb_id_ == "P2"
    assert {c.code[0] for c in spans[3]._.kb_candidates} == {"P"}
    assert doc.spans["sc"].attrs == {"kept": 1} and not doc.ents


def test_missing_span_group_is_no_mentions(make_nlp):
    nlp = make_nlp(spans_key="sc")
    assert not nlp("Nothing marked.").spans


def test_passages(make_nlp, monkeypatch):
    nlp = make_nlp(prompt="hybrid_medium")
    doc = marked(nlp)
    doc.spans["passages"] = [doc[0:8], doc[8 : len(doc)]]
    seen = []
    tokenizer = nlp.get_pipe("longbel_linker").engine.tokenizer
    encode = tokenizer.encode
    monkeypatch.setattr(tokenizer, "encode", lambda text: seen.append(text) or encode(text))
    nlp(doc)
    assert seen[0].startswith("### Context\nSevere [headache] and a heart attak. The\ncold was")


def test_label_groups(make_nlp):
    nlp = make_nlp(label_groups={"DISEASE": "Disorders", "ANY": ["Disorders", "Phenomena"]})
    doc = nlp(marked(nlp, mentions=[("headache", "DISEASE"), ("cold", "ANY")]))
    assert all(ent.kb_id_ for ent in doc.ents)


def test_unmapped_label(make_nlp):
    nlp = make_nlp()
    with pytest.raises(UnmappedLabelError, match=r"label_groups.*'DISEASE': 'Disorders'"):
        nlp(marked(nlp, mentions=[("headache", "DISEASE")]))
    everything = make_nlp(unmapped_labels="all")
    doc = everything(marked(everything, mentions=[("headache", "DISEASE")]))
    assert doc.ents[0].kb_id_
    skipping = make_nlp(unmapped_labels="skip")
    doc = skipping(marked(skipping, mentions=[("headache", "DISEASE")]))
    assert doc.ents[0].kb_id_ == "" and not doc.ents[0]._.kb_candidates


def test_unknown_group(make_nlp):
    with pytest.raises(UnknownGroupError, match="Disorders, Phenomena"):
        nlp = make_nlp(label_groups={"DISEASE": "Diseases"})
        nlp("Nothing.")


def test_a_kb_of_one_group_takes_any_label(make_nlp):
    nlp = make_nlp(kb=None)
    linker = nlp.get_pipe("longbel_linker")
    linker.set_kb(make_kb([("X", "Only", ["x"])]))
    assert nlp(marked(nlp, mentions=[("headache", "WHATEVER")])).ents[0].kb_id_ == "X"


@pytest.mark.parametrize("text", ["[]", "{ }", "...", "[[[", "- -"])
def test_mentions_without_content_are_nil(make_nlp, text):
    nlp = make_nlp()
    doc = nlp.make_doc(f"See {text} here.")
    start = doc.text.index(text)
    doc.ents = [doc.char_span(start, start + len(text), label="Disorders", alignment_mode="expand")]
    doc = nlp(doc)
    assert doc.ents[0].kb_id_ == "NIL" and doc.ents[0]._.kb_candidates == []


def test_a_mention_of_spaces_is_nil(make_nlp):
    nlp = make_nlp(spans_key="sc")
    doc = nlp.make_doc("Two   colds.")
    doc.spans["sc"] = [doc.char_span(4, 6, label="Disorders", alignment_mode="contract")]
    assert doc.spans["sc"][0].text.isspace()
    (span,) = nlp(doc).spans["sc"]
    assert span.kb_id_ == "NIL" and span._.kb_candidates == []


def test_threshold_gives_nil_and_keeps_candidates(make_nlp):
    nlp = make_nlp(threshold=1.1)
    doc = nlp(marked(nlp))
    assert {ent.kb_id_ for ent in doc.ents} == {"NIL"}
    assert all(ent._.kb_candidates for ent in doc.ents)


def test_empty_document(make_nlp):
    nlp = make_nlp()
    assert len(nlp("")) == 0


def test_a_hundred_thousand_characters(make_nlp, caplog):
    nlp = make_nlp(max_length=400, prompt="hybrid_long")
    text = "Lorem ipsum dolor sit amet. " * 3_600 + "The cold stayed. It was a cold."
    doc = nlp.make_doc(text)
    starts = [text.index("cold"), text.rindex("cold")]
    doc.ents = [doc.char_span(s, s + 4, label="Disorders") for s in starts]
    with caplog.at_level(logging.WARNING, logger="spacy_bel"):
        doc = nlp(doc)
    assert len(text) > 100_000 and all(ent.kb_id_ for ent in doc.ents)
    report = nlp.get_pipe("longbel_linker").report
    assert report.context_cut == 2 and report.mentions == 2
    assert sum("context cut" in record.message for record in caplog.records) == 1


def test_errors_go_to_the_error_handler(make_nlp):
    nlp = make_nlp()
    failed = []
    nlp.set_error_handler(lambda name, proc, docs, error: failed.append((docs[0].text, error)))
    docs = [
        marked(nlp, "A cold.", [("cold", "Disorders")]),
        marked(nlp, "A chill.", [("chill", "Unheard of")]),
        marked(nlp, "No cold.", [("cold", "Disorders")]),
        marked(nlp, "One chill.", [("chill", "Unheard of")]),
    ]
    assert [doc.text for doc in nlp.pipe(docs)] == ["A cold.", "No cold."]
    assert [text for text, _ in failed] == ["A chill.", "One chill."]
    assert all(isinstance(error, UnmappedLabelError) for _, error in failed)


def test_a_missing_resource_is_no_fault_of_a_document(make_nlp):
    nlp = make_nlp(kb="nowhere")
    nlp.set_error_handler(lambda *_: None)
    with pytest.raises(KnowledgeBaseError, match="nowhere"):
        list(nlp.pipe(["One.", "Two."]))


def test_model_directory_without_tokenizer(make_nlp, model_dir, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((model_dir / name).read_bytes())
    nlp = make_nlp(model=str(tmp_path))
    with pytest.raises(ModelError, match="no tokenizer"):
        nlp("A cold.")


def test_missing_model_directory(make_nlp):
    nlp = make_nlp(model="./nowhere")
    with pytest.raises(ModelError, match="nowhere"):
        nlp("A cold.")


def test_evaluate_scores_links(make_nlp):
    nlp = make_nlp()
    gold = marked(nlp)
    linked = nlp(marked(nlp))
    gold.ents = [
        Span(gold, e.start, e.end, e.label_, kb_id=code)
        for e, code in zip(gold.ents, [linked.ents[0].kb_id_, "WRONG", ""], strict=True)
    ]
    scores = nlp.evaluate([Example(marked(nlp), gold)])
    assert scores["bel_recall_at_1"] == 0.5


def test_analysis_knows_what_it_assigns(make_nlp):
    nlp = make_nlp()
    analysis = nlp.analyze_pipes()
    assert analysis["summary"]["longbel_linker"]["requires"] == ["doc.ents"]
    assert "span._.kb_candidates" in analysis["summary"]["longbel_linker"]["assigns"]
