"""`longbel_linker` with a released checkpoint as all of its config."""

from __future__ import annotations

import pickle
import shutil

import pytest
import spacy
from thinc.api import Config

from .helpers import links, marked
from .pages import PAGE
from .released import TABLE, write_released


@pytest.fixture
def checkpoint(tmp_path):
    return write_released(tmp_path / "checkpoint", model_type="llama_syncabel")


def pipeline(model, **config):
    nlp = spacy.blank("fr")
    nlp.add_pipe("longbel_linker", config={"model": str(model), **config})
    return nlp


def same(found, expected):
    for one, other in zip(links(found), links(expected), strict=True):
        assert one[:3] == other[:3] and [c[:2] for c in one[3]] == [c[:2] for c in other[3]]
        assert [c.score for c in one[3]] == pytest.approx([c.score for c in other[3]], 1e-3)


def test_a_config_file_is_enough(checkpoint):
    nlp = pipeline(checkpoint, compat="longbel")
    expected = nlp(marked(nlp))
    again = spacy.util.load_model_from_config(Config().from_str(nlp.config.to_str()))
    same(again(marked(again)), expected)
    linker = again.get_pipe("longbel_linker")
    assert linker.compat == "longbel" and linker.prompt.name == "syncabel_fr"
    assert set(linker.kb.groups) == set(TABLE)
    for ent in expected.ents:
        assert {c.code for c in ent._.kb_candidates} <= set(TABLE[ent.label_].values())


@pytest.mark.parametrize("store_kb", [True, False])
def test_a_saved_pipeline_does_not_need_the_checkpoint(checkpoint, tmp_path, store_kb):
    """Without a knowledge base of its own it finds the table beside its copy of the model."""
    nlp = pipeline(checkpoint, store_kb=store_kb)
    expected = nlp(marked(nlp))
    records = nlp.get_pipe("longbel_linker").sample([PAGE])
    nlp.to_disk(tmp_path / "pipeline")
    assert not (checkpoint / "unpickled").exists()
    shutil.rmtree(checkpoint)
    shutil.rmtree(tmp_path / "cache")
    read = spacy.load(tmp_path / "pipeline")
    same(read(marked(read)), expected)
    again = read.get_pipe("longbel_linker").sample([PAGE])
    assert [r["pred_concept_code"] for r in again] == [r["pred_concept_code"] for r in records]
    kept = {path.name for path in (tmp_path / "pipeline").rglob("*")}
    assert "text_to_code.json" in kept
    assert not {"candidate_trie.pkl", "own.py", "unpickled"} & kept


def test_bytes_and_pickles(checkpoint, tmp_path):
    nlp = pipeline(checkpoint)
    expected = nlp(marked(nlp))
    linker = pickle.loads(pickle.dumps(nlp.get_pipe("longbel_linker")))
    same(linker(marked(nlp)), expected)
    data = nlp.to_bytes()
    shutil.rmtree(checkpoint)
    read = pipeline("./nowhere").from_bytes(data)
    same(read(marked(read)), expected)
    # What came as bytes still knows its prompt when it is written again.
    read.to_disk(tmp_path / "pipeline")
    written = spacy.load(tmp_path / "pipeline")
    same(written(marked(written)), expected)
