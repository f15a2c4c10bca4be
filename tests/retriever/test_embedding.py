from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import threading
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from spacy_bel.errors import (
    FingerprintMismatchError,
    KnowledgeBaseError,
    ModelError,
    NoSpaceError,
)
from spacy_bel.kb import Concept, KnowledgeBase, KnowledgeBaseBuilder
from spacy_bel.retriever import embedding
from spacy_bel.retriever.embedding import EmbeddingKey, embed_names
from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.name_table import NameTable
from tests.retriever.tiny_encoders import TEXTS, write_encoder

WORDS = sorted({word for text in TEXTS for word in text.split()})


@pytest.fixture(scope="module")
def kb() -> KnowledgeBase:
    random = np.random.default_rng(0)
    builder = KnowledgeBaseBuilder("toy")
    for i in range(60):
        names = [" ".join(random.choice(WORDS, size=random.integers(1, 6))) for _ in range(3)]
        builder.add(Concept(f"C{i}", (*names, names[0].upper(), "é" + names[0]), ("g",)))
    return builder.build()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("model") / "bert", "bert")


@pytest.fixture(scope="module")
def encoder(model):
    return Encoder.from_pretrained(model, preset="minilm")


@pytest.fixture(scope="module", params=[True, False], ids=["folded", "raw"])
def names(kb, request):
    return NameTable(kb, folded=request.param)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_one_row_for_each_name(names, encoder, tmp_path, dtype):
    matrix = embed_names(names, encoder, tmp_path / "e", dtype=dtype)
    texts = list(names.texts())
    expected = encoder.encode(texts)
    found = matrix.float32(slice(0, len(matrix)))
    assert len(found) == len(names) == len(texts)
    assert np.abs(found - expected).max() < (1e-3 if dtype == "float16" else 4e-3)
    assert isinstance(matrix.array, np.memmap)
    assert sorted(f.name for f in (tmp_path / "e").iterdir()) == [
        "digests.npy",
        "meta.json",
        "vectors.npy",
    ]
    assert not (tmp_path / "e.partial").exists()


def test_coder_is_padded_to_its_fixed_length(names, model, tmp_path):
    encoder = Encoder.from_pretrained(model, preset="coder")
    found = embed_names(names, encoder, tmp_path / "e").float32(slice(0, len(names)))
    assert np.abs(found - encoder.encode(list(names.texts()))).max() < 1e-3


def test_what_is_there_is_opened(names, encoder, tmp_path, monkeypatch):
    first = embed_names(names, encoder, tmp_path / "e").array.tobytes()
    monkeypatch.setattr(Encoder, "encode_tokens", None)
    assert embed_names(names, encoder, tmp_path / "e").array.tobytes() == first


def test_of_a_new_release_only_new_names_are_embedded(encoder, tmp_path, monkeypatch):
    def release(*more):
        builder = KnowledgeBaseBuilder("t")
        for number, name in enumerate([*map(" ".join, product(WORDS[:6], WORDS[6:9])), *more]):
            builder.add(Concept(f"C:{number}", (name, f"{name} {name}"), ("Finding",)))
        return NameTable(builder.build())

    embed_names(release(), encoder, tmp_path / "old")
    new = release(WORDS[10], WORDS[11])
    whole = embed_names(new, encoder, tmp_path / "elsewhere" / "new").array.tobytes()
    with monkeypatch.context() as patch:
        embedded = stop_after(patch, None, None)
        assert embed_names(new, encoder, tmp_path / "new").array.tobytes() == whole
    assert sum(embedded) == 4
    # What another encoder made is of no use.
    other = Encoder(encoder.model, encoder.tokenizer, replace(encoder.settings, max_length=5))
    with monkeypatch.context() as patch:
        embedded = stop_after(patch, None, None)
        embed_names(new, other, tmp_path / "other")
    assert sum(embedded) > 4


def stop_after(monkeypatch, batches, error):
    """Let the encoder fail after some batches, each of which is journalled."""
    monkeypatch.setattr(embedding, "FLUSH_SECONDS", -1.0)
    monkeypatch.setattr("spacy_bel.retriever.encoder.TOKENS_AT_ONCE", 64)
    original = Encoder.encode_tokens
    seen = []

    def encode_tokens(self, tokens):
        if batches is not None and len(seen) == batches:
            raise error
        seen.append(len(tokens))
        return original(self, tokens)

    monkeypatch.setattr(Encoder, "encode_tokens", encode_tokens)
    return seen


def test_an_interrupted_run_goes_on(names, encoder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        everything = stop_after(patch, None, None)
        embed_names(names, encoder, tmp_path / "elsewhere" / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 7, KeyboardInterrupt())
        embed_names(names, encoder, tmp_path / "e")
    assert not (tmp_path / "e").exists()
    with monkeypatch.context() as patch:
        rest = stop_after(patch, None, None)
        embed_names(names, encoder, tmp_path / "e")
    assert rest == everything[7:]
    for name in ("vectors.npy", "meta.json"):
        assert (tmp_path / "e" / name).read_bytes() == (
            tmp_path / "elsewhere" / "whole" / name
        ).read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_killed_run_goes_on(kb, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    names = NameTable(kb)
    stop_after(monkeypatch, None, None)
    embed_names(names, encoder, tmp_path / "elsewhere" / "whole")
    target, ends = tmp_path / "e", []
    random = np.random.default_rng(0)
    while not target.is_dir():
        # Points to die at: before each batch, and where files are opened, removed or renamed.
        point = random.integers(1, 18)
        child = os.fork()
        if not child:
            run_until(point, lambda: embed_names(names, encoder, target))
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert len(ends) < 200 and set(ends) <= {0, -signal.SIGKILL}
    assert ends.count(-signal.SIGKILL) > 3
    for name in ("vectors.npy", "meta.json"):
        assert (target / name).read_bytes() == (
            tmp_path / "elsewhere" / "whole" / name
        ).read_bytes()


def run_until(point, run):
    """In a child process: run and exit with 0, or die at a point."""
    left = point

    def step(event, arguments):
        nonlocal left
        if event in ("open", "os.rename", "os.remove", "os.truncate") and "/e" in str(arguments):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    inner = Encoder.encode_tokens

    def encode_tokens(self, tokens):
        step("open", "/e")
        return inner(self, tokens)

    try:
        Encoder.encode_tokens = encode_tokens
        sys.addaudithook(step)
        run()
        os._exit(0)
    finally:
        os._exit(1)


def test_a_line_of_the_journal_that_was_cut_does_not_count(names, encoder, tmp_path, monkeypatch):
    embed_names(names, encoder, tmp_path / "elsewhere" / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 5, KeyboardInterrupt())
        embed_names(names, encoder, tmp_path / "e")
    journal = tmp_path / "e.partial" / "journal.txt"
    with journal.open("a") as stream:
        stream.write("999")  # no line break
    embed_names(names, encoder, tmp_path / "e")
    pairs = [np.load(tmp_path / name / "vectors.npy") for name in ("e", "elsewhere/whole")]
    assert np.abs(pairs[0].astype(float) - pairs[1].astype(float)).max() < 1e-3
    assert pairs[0].any(axis=1).all()


@pytest.mark.parametrize("finished", [False, True])
def test_vectors_of_something_else_are_not_used(names, kb, model, encoder, tmp_path, finished):
    target = tmp_path / "e"
    if finished:
        embed_names(names, encoder, target)
    else:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_after(patch, 3, KeyboardInterrupt())
            embed_names(names, encoder, target)
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    other = KnowledgeBaseBuilder("other")
    other.add(Concept("C1", ("x",), ("g",)))
    with pytest.raises(FingerprintMismatchError, match=r"another kb.*choose another directory"):
        embed_names(NameTable(other.build(), folded=names.folded), encoder, target)
    changed = Encoder.from_pretrained(model, preset="minilm", max_length=20)
    with pytest.raises(FingerprintMismatchError, match="another encoder"):
        embed_names(names, changed, target)
    with pytest.raises(FingerprintMismatchError, match="another dtype"):
        embed_names(names, encoder, target, dtype="bfloat16")
    with pytest.raises(FingerprintMismatchError, match="another folded"):
        embed_names(NameTable(kb, folded=not names.folded), encoder, target)
    assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before


def test_too_little_space_is_noticed_before(names, encoder, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(NoSpaceError, match=r"need 0 MB in .*Make room and run this again"):
            embed_names(names, encoder, tmp_path / "e")
    embed_names(names, encoder, tmp_path / "e")


def test_a_disk_that_runs_full_loses_nothing(names, encoder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 7, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(NoSpaceError, match=r"e\.partial and is not computed twice") as caught:
            embed_names(names, encoder, tmp_path / "e")
    assert caught.value.errno == errno.ENOSPC
    with monkeypatch.context() as patch:
        everything = stop_after(patch, None, None)
        embed_names(names, encoder, tmp_path / "elsewhere" / "whole")
    with monkeypatch.context() as patch:
        rest = stop_after(patch, None, None)
        embed_names(names, encoder, tmp_path / "e")
    assert rest == everything[7:]


def test_nan_names_the_name_and_keeps_the_rest(kb, model, tmp_path):
    encoder = Encoder.from_pretrained(model, preset="minilm")
    row = encoder.tokenize(["ataxia-telangiectasia"])[0][2]
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight[row] = float("nan")
    with pytest.raises(ModelError, match=r"NaN or infinity for '.*ataxia-telangiectasia"):
        embed_names(NameTable(kb), encoder, tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_two_at_once(names, encoder, tmp_path, monkeypatch):
    seen = stop_after(monkeypatch, None, None)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(embed_names(names, encoder, tmp_path / "e")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2 and results[0].array.tobytes() == results[1].array.tobytes()
    total = len(seen)
    embed_names(names, encoder, tmp_path / "elsewhere" / "again")
    assert len(seen) == 2 * total  # the two of them did the work of one


def test_damage_and_foreign_directories(names, kb, encoder, tmp_path):
    kb.to_disk(tmp_path / "kb")
    with pytest.raises(KnowledgeBaseError, match="holds no embeddings"):
        embed_names(names, encoder, tmp_path / "kb")
    embed_names(names, encoder, tmp_path / "e")
    file = tmp_path / "e" / "vectors.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(KnowledgeBaseError, match="sha256 differs"):
        embed_names(names, encoder, tmp_path / "e")


def test_keys(names, encoder):
    key = EmbeddingKey.of(names, encoder, "float16")
    assert key.kb == names.kb.fingerprint and key.encoder == encoder.fingerprint
    assert json.dumps(vars(key))
