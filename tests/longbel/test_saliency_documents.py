"""Saliency for the mentions of spaCy documents."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from spacy.tokens import Span

from spacy_bel.longbel.saliency import memory_lines
from spacy_bel.longbel.saliency.documents import explain

from .helpers import marked, reference
from .traces import traces


@pytest.fixture
def traced(make_nlp, monkeypatch):
    """A pipeline and its linker, whose searches find one given name for each mention."""

    def make(names):
        nlp = make_nlp()
        linker = nlp.get_pipe("longbel_linker")
        linker.prepare()
        monkeypatch.setattr(linker.engine, "trace", traces(linker.engine, names), raising=False)
        return nlp, linker

    return make


def test_every_mention_of_a_document_is_explained(traced):
    nlp, linker = traced(["headache", "heart attack", "cold"])
    doc = marked(nlp)
    before = doc.to_bytes()
    found = explain(linker, doc)
    assert doc.to_bytes() == before
    assert [(s.mention, s.name, s.code) for s in found] == [
        ("headache", "headache", "D4"),
        ("heart attak", "heart attack", "D1"),
        ("cold", "cold", "P1"),
    ]
    for each, span in zip(found, doc.ents, strict=True):
        assert each.span == (span.start_char, span.end_char)
        assert each.text.endswith(f"[{span.text}]{{{span.label_}}}")
        assert each.suffix == f"{each.name} ({each.code})"
        tokens, _ = linker.engine.tokenizer.name_sequences([each.name])
        expected = reference(linker.language_model, each.tokens.tolist(), tokens.tolist()[:-1])
        assert each.log_probability == pytest.approx(expected, abs=1e-3)
    linked = linker(doc)
    again = explain(linker, linked)
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)


def test_mentions_by_span_and_by_index(traced):
    nlp, linker = traced(["headache", "heart attack", "cold"])
    doc = marked(nlp)
    (second,) = explain(linker, doc, mentions=1)
    assert second.mention == "heart attak"
    third = doc.ents[2]
    for choice in (third, [third], [-1], [doc[third.start : third.end]]):
        assert [s.mention for s in explain(linker, doc, mentions=choice)] == ["cold"]
    assert [s.mention for s in explain(linker, doc, mentions=[2, 0])] == ["headache", "cold"]
    assert explain(linker, doc, mentions=[]) == []
    for choice in (3, doc[0:1], Span(doc, third.start, third.end, label="Other")):
        with pytest.raises(ValueError, match="3 mentions"):
            explain(linker, doc, mentions=choice)


def test_mentions_without_a_name(traced):
    nlp, linker = traced(["headache", None, "cold"])
    doc = marked(nlp)
    assert [s.mention for s in explain(linker, doc)] == ["headache", "cold"]
    with pytest.raises(ValueError, match="'heart attak'"):
        explain(linker, doc, mentions=[0, 1])


def test_composite_and_free_names(traced):
    nlp, linker = traced(["headache<+>asthma", "*infarkt", "cold"])
    composite, free, _ = explain(linker, marked(nlp))
    assert (composite.name, composite.code) == ("headache<+>asthma", "D4+D5")
    assert (free.name, free.code, free.suffix) == ("infarkt", "", "infarkt")


def test_nothing_to_link(traced):
    nlp, linker = traced([])
    assert explain(linker, nlp.make_doc("")) == []
    assert explain(linker, spacy.blank("en")("No mention.")) == []


@pytest.mark.parametrize("prompt", ["incremental", "hybrid_short"])
def test_what_is_explained_is_what_is_linked(make_nlp, prompt):
    nlp = make_nlp(prompt=prompt)
    linker = nlp.get_pipe("longbel_linker")
    doc = nlp(marked(nlp))
    found = explain(linker, doc)
    assert [(s.code, s.name) for s in found] == [e._.kb_candidates[0][:2] for e in doc.ents]
    document = linker.document_of(marks := linker.mark(doc), linker.read_mentions(marks))
    (traces_of_all,) = linker.engine.trace([document])
    for each, trace in zip(found, traces_of_all, strict=True):
        assert each.tokens.tolist() == trace.prompt
    # Later prompts show earlier links, and say how much they count.
    assert [len(memory_lines(each)) for each in found] == [0, 1, 2]
