from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification, AutoTokenizer

from spacy_bel.crossencoder.document import Document, Mention
from spacy_bel.crossencoder.layouts import Layout
from spacy_bel.crossencoder.scorer import CrossEncoder
from spacy_bel.errors import ModelError
from tests.crossencoder.samples import KINDS, LAYOUTS, document, documents, write_model

DOC = document(
    "acute MI on chronic. renal failure. MI on ataxia\nheart attack and renal failure",
    ("MI", ["heart attack", "Myocardial infarction", "ataxia"]),
    ("renal failure", ["renal failure, acute on chronic", "heart failure"]),
    ("MI", ["heart attack", "MI"]),
    ("heart attack", ["Myocardial infarction"]),
    ("renal failure", []),
)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossencoders")
    return {kind: write_model(folder / kind, kind) for kind in KINDS}


@pytest.fixture(scope="session")
def load(models):
    @cache
    def loaded(kind: str, layout: Layout) -> CrossEncoder:
        return CrossEncoder.from_pretrained(models[kind], layout, device="cpu")

    return loaded


def logits_of(encoder, *docs, **options) -> list[np.ndarray]:
    return [rows for doc in encoder.score(docs, **options).logits for rows in doc]


def assert_close(found, expected, atol=1e-5):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_base_is_the_plain_forward_of_the_written_text(load, models, kind, tmp_path):
    encoder = load(kind, Layout(name="base"))
    encoder.to_disk(tmp_path)
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    found = logits_of(encoder, DOC)
    sentences = ["acute MI on chronic.", "renal failure.", DOC.text[36:]]
    sentence_of = [0, 1, 2, 2]
    compared = set()
    for i, mention in enumerate(DOC.mentions[:4]):
        for j, name in enumerate(mention.candidates):
            text = (
                f"{sentences[sentence_of[i]]}{tokenizer.sep_token} {mention.text}"
                f"{tokenizer.mask_token} {name}"
            )
            encoded = tokenizer(text, return_tensors="pt")
            at = encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)
            with torch.no_grad():
                expected = plain(
                    input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
                ).logits[0, at]
            np.testing.assert_allclose(found[i][j], expected.numpy(), atol=1e-5)
            compared.add(round(float(expected[1]), 4))
    assert len(compared) == 8  # no two pairs look alike to the model


def alone(doc: Document, mention: int, candidate: int) -> Document:
    """The same context with a single pair."""
    kept = tuple(
        replace(m, candidates=(m.candidates[candidate],) if i == mention else ())
        for i, m in enumerate(doc.mentions)
    )
    return replace(doc, mentions=kept)


@pytest.mark.parametrize("markers", ["none", "numbers"])
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_with_the_block_mask_a_pair_scores_as_it_does_alone(load, kind, name, markers):
    layout = Layout(name=name, attention="block", markers=markers, repeat_mention=False)
    encoder = load(kind, layout)
    found = logits_of(encoder, DOC)
    distinct = set()
    for i, mention in enumerate(DOC.mentions):
        for j in range(len(mention.candidates)):
            single = logits_of(encoder, alone(DOC, i, j))
            np.testing.assert_allclose(found[i][j], single[i][0], atol=1e-5)
            distinct.add(round(float(single[i][0][1]), 4))
    assert len(distinct) >= 7  # "MI" twice with the same candidate may look alike
    # Nor does it matter in which order candidates are read, whether the mention is repeated,
    # or what else is read in the same forward pass.
    assert_close(logits_of(encoder, DOC, seed=1), found)
    assert_close(logits_of(load(kind, replace(layout, repeat_mention=True)), DOC), found)
    other = document("heart attack " * 20, ("heart", ["MI", "ataxia"]))
    assert_close(logits_of(encoder, other, DOC)[1:], found)


@settings(deadline=None, max_examples=25)
@given(doc=documents(most_candidates=6), length=st.sampled_from([64, 512]))
def test_packing_does_not_matter_with_the_block_mask(load, doc, length):
    layout = Layout(name="document", attention="block", max_length=length)
    wide = replace(layout, input_tokens=4096, repeat_mention=False)
    found = logits_of(load("bert", layout), doc)
    assert_close(logits_of(load("bert", wide), doc, seed=5), found)
    if doc.mentions:
        last = len(doc.mentions) - 1
        for j in range(len(doc.mentions[last].candidates)):
            single = logits_of(load("bert", layout), alone(doc, last, j))
            np.testing.assert_allclose(found[last][j], single[last][0], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_may_be_longer_than_the_positions_of_the_model(load, kind):
    names = [f"heart attack {word} {i}" for i in range(40) for word in ("chronic", "acute")]
    doc = document("on MI and heart", ("MI", names), ("heart", names))
    long = load(kind, Layout(name="document", attention="block", input_tokens=4096))
    inputs, _ = long.pack([doc])
    assert len(inputs) == 1 and len(inputs[0]) > 600
    short = load(kind, Layout(name="base", attention="block"))
    assert_close(logits_of(long, doc), logits_of(short, doc))


def test_with_full_attention_company_matters(load):
    """What the block mask is for; a test that nothing matters would pass on a constant."""
    encoder = load("bert", Layout(name="document"))
    found = logits_of(encoder, DOC)
    assert np.abs(found[0][0] - logits_of(encoder, alone(DOC, 0, 0))[0][0]).max() > 1e-3
    shuffled = [logits_of(encoder, DOC, seed=seed)[0] for seed in range(3)]
    assert max(np.abs(rows - found[0]).max() for rows in shuffled) > 1e-3


def test_block_attention_reads_a_context_longer_than_local_attention(load):
    """ModernBERT's local layers see what is near by position, wherever it stands in the input."""
    names = [f"heart attack on {word}" for word in ("chronic", "acute", "renal", "MI") * 5]
    doc = document("on MI " + "acute renal failure " * 20, ("MI", names))
    encoder = load("modernbert", Layout(name="parallel", attention="block"))
    found = logits_of(encoder, doc)[0]
    for j in (0, 7, 19):
        np.testing.assert_allclose(found[j], logits_of(encoder, alone(doc, 0, j))[0][0], atol=1e-5)


@pytest.mark.parametrize("budget", [1, 60, 300, 100_000])
@pytest.mark.parametrize("attention", ["full", "block"])
def test_scores_do_not_depend_on_the_batch(models, load, attention, budget):
    layout = Layout(name="parallel", attention=attention)
    encoder = CrossEncoder.from_pretrained(models["roberta"], layout, tokens_at_once=budget)
    assert_close(logits_of(encoder, DOC, DOC), logits_of(load("roberta", layout), DOC) * 2)


def test_probabilities_are_the_softmax(load):
    encoder = load("bert", Layout(name="multi"))
    scores = encoder.score([DOC])
    for rows, found in zip(scores.logits[0], scores.probabilities[0], strict=True):
        expected = torch.softmax(torch.tensor(rows), dim=-1)[:, 1].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert scores.report.without_candidates == 1
    assert [len(rows) for rows in scores.logits[0]] == [3, 2, 2, 1, 0]


def test_nothing_to_score(load):
    encoder = load("bert", Layout())
    assert encoder.score([]).logits == []
    empty = Document("", ())
    bare = document("on MI", ("MI", []))
    scores = encoder.score([empty, bare, document("MI", ("MI", ["a"]))])
    assert [len(doc) for doc in scores.logits] == [0, 1, 1]
    assert scores.logits[1][0].shape == (0, 2)
    assert scores.logits[2][0].shape == (1, 2)


def test_same_seed_same_head_and_scores(models):
    first, again, other = (
        logits_of(CrossEncoder.from_pretrained(models["bert"], seed=seed), DOC)
        for seed in (3, 3, 4)
    )
    for one, two, three in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not len(one) or np.abs(one - three).max() > 1e-3


@pytest.mark.parametrize("attention", ["full", "block"])
def test_gradients_reach_encoder_and_head(models, attention):
    encoder = CrossEncoder.from_pretrained(models["bert"], Layout(attention=attention))
    inputs, _ = encoder.pack([DOC], seed=1)
    batch = encoder.collate(inputs)
    logits = encoder.forward(batch)
    assert logits.shape == (8, 2)
    labels = torch.zeros(8, dtype=torch.long)
    torch.nn.functional.cross_entropy(logits, labels).backward()
    for name, weights in encoder.model.named_parameters():
        assert weights.grad is not None and weights.grad.abs().sum() > 0, name


def test_memory_that_runs_out_halves_the_batches(models, load, monkeypatch, caplog):
    layout = Layout(name="base")
    encoder = CrossEncoder.from_pretrained(models["bert"], layout, tokens_at_once=4000)
    forward, sizes = encoder.forward, []

    def limited(batch):
        sizes.append(batch.ids.size)
        if batch.ids.size > 70:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(batch)

    monkeypatch.setattr(encoder, "forward", limited)
    assert_close(logits_of(encoder, DOC), logits_of(load("bert", layout), DOC))
    assert encoder.tokens_at_once <= 70
    failed = [size for size in sizes if size > 70]
    assert sizes[: len(failed)] == failed and len(failed) <= 4  # never again
    assert "going on with" in caplog.text


def test_memory_too_small_for_one_input(models, monkeypatch):
    encoder = CrossEncoder.from_pretrained(models["bert"])

    def failing(batch):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …")

    monkeypatch.setattr(encoder, "forward", failing)
    with pytest.raises(ModelError, match="too little memory for one input of"):
        encoder.score([DOC])


def test_other_errors_are_not_taken_for_memory(models, monkeypatch):
    encoder = CrossEncoder.from_pretrained(models["bert"])

    def failing(batch):
        raise RuntimeError("index out of range")

    monkeypatch.setattr(encoder, "forward", failing)
    with pytest.raises(RuntimeError, match="index out of range"):
        encoder.score([DOC])


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_through_safetensors(load, tmp_path, kind):
    layout = Layout(name="multi", attention="block", markers="brackets", candidate_tokens=9)
    encoder = load(kind, layout)
    encoder.to_disk(tmp_path)
    assert not list(tmp_path.glob("*.bin")) and (tmp_path / "model.safetensors").is_file()
    again = CrossEncoder.from_pretrained(tmp_path, seed=99)
    assert again.layout == layout
    assert_close(logits_of(again, DOC), logits_of(encoder, DOC), atol=0)
    # How much is read at once may change, what was trained may not.
    CrossEncoder.from_pretrained(tmp_path, replace(layout, max_length=128))
    with pytest.raises(ModelError, match="was trained with name='multi', not 'base'"):
        CrossEncoder.from_pretrained(tmp_path, replace(layout, name="base"))
    with pytest.raises(ModelError, match="was trained with attention='block'"):
        CrossEncoder.from_pretrained(tmp_path, replace(layout, attention="full"))


def test_a_checkpoint_without_its_head(load, tmp_path):
    load("bert", Layout()).to_disk(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lack classifier.weight: copy the complete model"):
        CrossEncoder.from_pretrained(tmp_path)


def test_an_encoder_without_all_weights(models, tmp_path):
    shutil.copytree(models["bert"], tmp_path / "copy")
    weights = load_file(tmp_path / "copy" / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, tmp_path / "copy" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lack bert.encoder.layer.0.output.dense.weight"):
        CrossEncoder.from_pretrained(tmp_path / "copy")


def test_a_damaged_layout_file(load, tmp_path):
    load("bert", Layout()).to_disk(tmp_path)
    file = tmp_path / "spacy_bel_crossencoder.json"
    for damage in ("{", "[]", json.dumps({"name": "star"}), json.dumps({"colour": 1})):
        file.write_text(damage)
        with pytest.raises(ModelError, match="is damaged"):
            CrossEncoder.from_pretrained(tmp_path)


def test_an_encoder_without_mask_token(models, tmp_path):
    shutil.copytree(models["bert"], tmp_path / "copy")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = tmp_path / "copy" / name
        content = json.loads(file.read_text())
        content.pop("mask_token", None)
        file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="no mask token, at which scores are read: give"):
        CrossEncoder.from_pretrained(tmp_path / "copy")


def test_old_checkpoints_are_read_as_weights_only(models, tmp_path):
    shutil.copytree(models["bert"], tmp_path / "copy")
    weights = load_file(tmp_path / "copy" / "model.safetensors")
    (tmp_path / "copy" / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "copy" / "pytorch_model.bin")
    doc = document("on MI acute", ("MI", ["a", "heart attack"]))
    (expected,), (found,) = (
        CrossEncoder.from_pretrained(path).score([doc]).logits
        for path in (models["bert"], tmp_path / "copy")
    )
    assert np.array_equal(expected[0], found[0])
    evil = {**weights, "x": Payload(tmp_path / "ran")}
    torch.save(evil, tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="Cannot read an encoder"):
        CrossEncoder.from_pretrained(tmp_path / "copy")
    assert not (tmp_path / "ran").exists()


class Payload:
    """Makes a directory when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def test_a_directory_that_is_not_there():
    with pytest.raises(ModelError, match="There is no model directory"):
        CrossEncoder.from_pretrained("./nowhere")


def test_weights_that_give_no_numbers(models):
    encoder = CrossEncoder.from_pretrained(models["bert"])
    with torch.no_grad():
        encoder.model.classifier.bias[0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinity for a candidate of 'MI'"):
        encoder.score([document("on MI", ("MI", ["a"]))])


def test_an_architecture_that_cannot_be_given_block_attention(tmp_path):
    from transformers import DistilBertConfig, DistilBertModel

    from tests.retriever.tiny_encoders import wordpiece

    tokenizer = wordpiece()
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=32, hidden_dim=48, n_layers=1,
                              n_heads=4)  # fmt: skip
    DistilBertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert len(logits_of(CrossEncoder.from_pretrained(tmp_path), DOC)) == 5
    with pytest.raises(ModelError, match="'distilbert' cannot be given block attention"):
        CrossEncoder.from_pretrained(tmp_path, Layout(attention="block"))


def test_bfloat16_is_close(models, load):
    layout = Layout(name="document", attention="block")
    low = CrossEncoder.from_pretrained(models["bert"], layout, dtype="bfloat16")
    assert_close(logits_of(low, DOC), logits_of(load("bert", layout), DOC), atol=0.5)
    assert next(low.model.parameters()).dtype == torch.float32


def test_scoring_leaves_the_mode_alone(models):
    encoder = CrossEncoder.from_pretrained(models["bert"])
    encoder.model.train()
    first, second = (logits_of(encoder, DOC) for _ in range(2))
    assert_close(first, second, atol=0)  # no dropout
    assert encoder.model.training


def test_odd_characters_shift_nothing(load):
    text = "心臓病 \ud800 MI [MASK] [SEP] \u200bMI"
    doc = Document(text, tuple(
        Mention(i, i + 2, "MI", "g", ("[MASK]", "\ud800", "心")) for i in (6, 23)))  # fmt: skip
    for kind in KINDS:
        rows = logits_of(load(kind, Layout(name="document", markers="numbers")), doc)
        assert [len(r) for r in rows] == [3, 3]


def test_the_engine_needs_no_spacy():
    code = (
        "import sys; sys.modules['spacy'] = None; import spacy_bel.crossencoder.scorer, "
        "spacy_bel.crossencoder.candidate_text"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
