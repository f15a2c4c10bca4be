"""What can be wrong with a pipeline of `bel_retriever`: each has an error that says what to do."""

from __future__ import annotations

import errno
import shutil

import pytest
import spacy
import torch

from spacy_bel.errors import (
    FingerprintMismatchError,
    KnowledgeBaseError,
    ModelError,
    NoSpaceError,
    SettingsError,
    UnknownGroupError,
    UnmappedLabelError,
)
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.retriever import embedding
from spacy_bel.retriever.encoder import Encoder
from tests.retriever.tiny_encoders import write_encoder

EXACT = {"@misc": "spacy_bel.ExactRetriever.v1"}
NGRAMS = {"@misc": "spacy_bel.NgramRetriever.v1"}
ENSEMBLE = {"@misc": "spacy_bel.EnsembleRetriever.v1", "members": {"exact": EXACT}}
CONCEPTS = [
    ("D1", "Disorders", "heart attack", "myocardial infarction"),
    ("D2", "Disorders", "renal failure"),
    ("P1", "Phenomena", "cold temperature"),
]


def write_kb(path, concepts=CONCEPTS):
    builder = KnowledgeBaseBuilder("test")
    for code, group, *names in concepts:
        builder.add(Concept(code, tuple(names), (group,)))
    builder.build().to_disk(path, force=path.exists())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A knowledge base, an encoder, and a saved pipeline of both."""
    root = tmp_path_factory.mktemp("place")
    write_kb(root / "kb")
    write_encoder(root / "model", "bert")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPACY_BEL_CACHE", str(root / "cache"))
        make(root).to_disk(root / "pipeline")
    return root


@pytest.fixture
def saved(place, tmp_path):
    """A copy of the pipeline, to be spoilt."""
    return shutil.copytree(place / "pipeline", tmp_path / "pipeline")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path / "cache"))


def make(place, retriever="dense", **config):
    nlp = spacy.blank("en")
    retriever = str(place / "model") if retriever == "dense" else retriever
    config = {"kb": str(place / "kb"), "retriever": retriever, **config}
    nlp.add_pipe("bel_retriever", config=config)
    return nlp


def link(nlp, text="heart attack", label="Disorders"):
    """What is found for a text that is one mention from end to end."""
    doc = nlp.make_doc(text)
    doc.ents = [doc.char_span(0, len(text), label=label)]
    (ent,) = nlp(doc).ents
    return ent.kb_id_, [candidate.code for candidate in ent._.kb_candidates]


def test_an_index_of_another_knowledge_base(saved):
    write_kb(saved / "bel_retriever" / "kb", CONCEPTS[1:])
    with pytest.raises(FingerprintMismatchError, match=r"another knowledge base.*build_index"):
        link(spacy.load(saved))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "another encoder"),
        ({"hidden_size": 16, "intermediate_size": 8}, "width 16, those of the names have 32"),
    ],
)
def test_another_encoder(saved, change, message):
    path = saved / "bel_retriever" / "index" / "encoder"
    encoder = Encoder.from_pretrained(path)
    config = encoder.model.config
    for name, value in change.items():
        setattr(config, name, value)
    torch.manual_seed(7)
    Encoder(type(encoder.model)(config), encoder.tokenizer, encoder.settings).to_disk(path)
    with pytest.raises(FingerprintMismatchError, match=message):
        link(spacy.load(saved))


@pytest.mark.parametrize(
    ("made_by", "read_by", "message"),
    [
        ("dense", NGRAMS, "holds no n-gram index: it is of another retriever"),
        (EXACT, "dense", "holds no dense index: it is of another retriever"),
        (EXACT, NGRAMS, "no n-gram index, but 'exact-match index'"),
    ],
)
def test_an_index_of_another_retriever(place, tmp_path, made_by, read_by, message):
    make(place, made_by).to_disk(tmp_path / "pipeline")
    with pytest.raises(KnowledgeBaseError, match=message):
        link(make(place, read_by).from_disk(tmp_path / "pipeline"))


def test_an_unknown_index_is_refused_before_names_are_embedded(place, tmp_path):
    dense = {"@misc": "spacy_bel.DenseRetriever.v1", "model": str(place / "model")}
    with pytest.raises(SettingsError, match="There is no index 'flat': use one of exact"):
        make(place, {**dense, "index": "flat"}).initialize()
    assert not (tmp_path / "cache").exists()


def test_groups_without_names(place):
    with pytest.raises(UnknownGroupError, match="no semantic group 'Nothing'; use one of"):
        link(make(place, label_groups={"Disorders": ["Nothing"]}))
    with pytest.raises(UnmappedLabelError, match="Add it to the component's setting label_groups"):
        link(make(place), label="Anatomy")
    for retriever in ("dense", EXACT, None):
        assert link(make(place, retriever, label_groups={"Disorders": []})) == ("NIL", [])


@pytest.mark.parametrize("retriever", ["dense", EXACT, None])
def test_empty_and_endless_mentions(place, retriever):
    nlp = make(place, retriever)
    assert link(nlp, "##") == ("NIL", [])
    expected = {"D1", "D2"} if retriever == "dense" else set()
    assert set(link(nlp, "x" * 5000)[1]) == expected
    code, found = link(nlp, "heart attack " * 416 + "heart")
    assert found[:1] == ([] if retriever == EXACT else [code])


def test_nan_names_the_mention_and_spares_other_documents(place):
    nlp = make(place)
    index = nlp.get_pipe("bel_retriever").index
    row = index.encoder.tokenize(["心"])[0][1]
    with torch.no_grad():
        index.encoder.model.embeddings.word_embeddings.weight[row] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinity for '心'"):
        link(nlp, "心")
    assert link(nlp)[0] == "D1"


def test_an_interrupted_embedding_goes_on(place, monkeypatch):
    monkeypatch.setattr(embedding, "FLUSH_SECONDS", -1.0)
    original, embedded = Encoder.encode_tokens, []

    def encode_tokens(self, tokens):
        if len(embedded) == 1:
            embedded.append(None)
            raise KeyboardInterrupt
        embedded.append(len(tokens))
        return original(self, tokens)

    monkeypatch.setattr(Encoder, "encode_tokens", encode_tokens)
    with pytest.raises(KeyboardInterrupt):
        make(place).initialize()
    nlp = make(place)
    nlp.initialize()
    assert embedded[1] is None and sum(n for n in embedded if n) == 4  # each name once
    assert link(nlp)[0] == "D1"


@pytest.mark.parametrize("retriever", ["dense", EXACT, None, ENSEMBLE])
def test_a_full_disk_leaves_the_saved_index(place, tmp_path, monkeypatch, retriever):
    nlp = make(place, retriever)
    index, path = nlp.get_pipe("bel_retriever").index, tmp_path / "index"
    index.to_disk(path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def full(columns):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("spacy_bel.kb.storage.Columns.files", full)
        patch.setattr("spacy_bel.retriever.dense_index.described", lambda meta, columns: meta)
        with pytest.raises(NoSpaceError, match=r"/index\. What was there before is unchanged"):
            index.to_disk(path, force=True)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
