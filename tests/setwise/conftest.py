"""A terminology, a tiny model, and documents with candidates."""

from __future__ import annotations

import pytest
import spacy

import spacy_bel.factories  # noqa: F401
from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.kb import Concept, KnowledgeBaseBuilder

from .tiny_models import tiny_model

ROWS = [
    ("D1", "Disorders", ["heart attack", "myocardial infarction", "MI"]),
    ("D2", "Disorders", ["heart failure", "cardiac failure"]),
    ("D3", "Disorders", ["common cold", "cold"]),
    ("D4", "Disorders", ["headache", "cephalalgia", "head pain"]),
    ("P1", "Phenomena", ["low temperature", "cold"]),
]
TEXT = "Severe headache and a heart attak. The cold was worse. Headache again."
MENTIONS = [
    ("headache", "Disorders", [("D4", "headache"), ("D1", "MI"), ("D2", "heart failure")]),
    ("heart attak", "Disorders", [("D1", "heart attack"), ("D2", "cardiac failure")]),
    ("cold", "Phenomena", [("P1", "cold")]),
    ("Headache", "Disorders", []),
]


@pytest.fixture(scope="session")
def kb():
    builder = KnowledgeBaseBuilder("test")
    for code, group, names in ROWS:
        builder.add(Concept(code=code, names=tuple(names), groups=(group,)))
    return builder.build()


@pytest.fixture(scope="session")
def kb_dir(tmp_path_factory, kb):
    path = tmp_path_factory.mktemp("kb") / "kb"
    kb.to_disk(path)
    return path


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    tiny_model().save(path)
    return path


@pytest.fixture
def make_nlp(kb_dir, model_dir):
    def make(**config):
        nlp = spacy.blank("en")
        nlp.add_pipe("bel_setwise", config={"kb": str(kb_dir), "model": str(model_dir), **config})
        return nlp

    return make


def marked(nlp, text=TEXT, mentions=MENTIONS, spans_key=None):
    """mentions: (surface, label, candidates as (code, name)) in order of appearance."""
    doc = nlp.make_doc(text)
    spans, position = [], 0
    for surface, label, candidates in mentions:
        position = text.index(surface, position)
        span = doc.char_span(position, position + len(surface), label=label, kb_id="NIL")
        position += len(surface)
        spans.append(span)
        set_candidates(span, [Candidate(*row, 1 / n) for n, row in enumerate(candidates, 1)])
    if spans_key is None:
        doc.ents = spans
    else:
        doc.spans[spans_key] = spans
    return doc


def links(doc):
    return [(ent.text, ent.kb_id_, ent._.kb_candidates) for ent in doc.ents]


def same(a, b):
    """Whether links are the same up to rounding of scores."""
    assert [(text, code, [c[:2] for c in cs]) for text, code, cs in a] == [
        (text, code, [c[:2] for c in cs]) for text, code, cs in b
    ]
    scores = [[c.score for _, _, cs in rows for c in cs] for rows in (a, b)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
