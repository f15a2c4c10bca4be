from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from spacy_bel.errors import ModelError
from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.presets import PRESETS, EncoderSettings
from tests.retriever.tiny_encoders import TEXTS, write_encoder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: write_encoder(root / kind, kind) for kind in ("bert", "roberta", "xlmr")}


@pytest.fixture(scope="module")
def bert(models):
    return models["bert"]


@torch.no_grad()
def authors(preset, directory, text):
    """What the authors of a preset compute for one string, each in its own words."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModel.from_pretrained(directory).eval()
    if preset.startswith("sapbert") or preset == "bergamot":
        batch = tokenizer(
            [text.lower()],
            padding="max_length",
            max_length=25,
            truncation=True,
            return_tensors="pt",
        )
        hidden = model(**batch)[0]
        return hidden.mean(1)[0] if preset == "sapbert-mean" else hidden[0, 0]
    if preset.startswith("coder"):
        ids = tokenizer.encode(text, max_length=32, truncation=True, padding="max_length")
        output = model(torch.tensor([ids]))
        vector = output[0].mean(1)[0] if preset == "coder-pp" else output[1][0]
        return vector / vector.norm()
    if preset in ("clinlinker", "medprocner"):
        batch = tokenizer(text, max_length=256, truncation=True, return_tensors="pt")
        vector = model(**batch).last_hidden_state[0, 0]
        return vector / vector.norm()
    assert preset == "minilm"
    batch = tokenizer(text, max_length=256, truncation=True, return_tensors="pt")
    vector = model(**batch).last_hidden_state[0].mean(0)
    return vector / vector.norm()


ARCHITECTURES = {
    **{name: "bert" for name in PRESETS},
    **{"sapbert-xlmr": "xlmr", "clinlinker": "roberta", "medprocner": "roberta"},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_compute_what_their_authors_compute(models, preset):
    directory = models[ARCHITECTURES[preset]]
    encoder = Encoder.from_pretrained(directory, preset=preset)
    expected = np.stack([authors(preset, directory, text).numpy() for text in TEXTS])
    assert encoder.width == expected.shape[1]
    assert np.abs(encoder.encode(TEXTS) - expected).max() < 1e-5
    assert np.abs(encoder.embed(TEXTS).detach().numpy() - expected).max() < 1e-5
    for text, vector in zip(TEXTS, expected, strict=True):
        assert np.abs(encoder.encode([text])[0] - vector).max() < 1e-5
        assert np.abs(encoder.embed([text]).detach().numpy()[0] - vector).max() < 1e-5


def test_visible_padding_would_change_the_vector(bert):
    """The trap that a fixed length avoids: without a mask, longer neighbours change a vector."""
    tokenizer = AutoTokenizer.from_pretrained(bert)
    model = AutoModel.from_pretrained(bert).eval()
    short, long = [
        tokenizer(["MI"], padding="max_length", max_length=n, return_tensors="pt")["input_ids"]
        for n in (8, 32)
    ]
    with torch.no_grad():
        assert (model(short)[1] - model(long)[1]).abs().max() > 1e-2
    with pytest.raises(ModelError, match="fixed length"):
        Encoder.from_pretrained(bert, preset="coder", padding="longest")


@pytest.mark.parametrize("preset", ["sapbert", "coder", "minilm"])
def test_a_vector_depends_on_no_other_string(bert, preset):
    encoder = Encoder.from_pretrained(bert, preset=preset)
    together = encoder.encode(TEXTS * 3)
    assert np.array_equal(together, np.tile(encoder.encode(TEXTS), (3, 1)))
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(together[: len(TEXTS)] - alone).max() < 2e-6
    assert np.array_equal(encoder.encode(TEXTS[::-1])[::-1], encoder.encode(TEXTS))


def test_strings_of_the_same_tokens_are_embedded_once(bert, monkeypatch):
    encoder = Encoder.from_pretrained(bert, preset="minilm")
    seen = []
    original = encoder.encode_tokens
    monkeypatch.setattr(
        encoder, "encode_tokens", lambda tokens: (seen.extend(tokens), original(tokens))[1]
    )
    vectors = encoder.encode(["heart attack", "Heart  Attack", "heart attack", "mi"])
    assert len(seen) == 2
    assert np.array_equal(vectors[0], vectors[1]) and np.array_equal(vectors[0], vectors[2])


def test_gradients_flow_through_embed_only(bert):
    encoder = Encoder.from_pretrained(bert)
    encoder.model.train()
    assert isinstance(encoder.encode(["a"]), np.ndarray)
    assert encoder.model.training  # as it was
    encoder.embed(["heart", "renal failure"]).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.model.parameters())


def test_no_strings(bert):
    encoder = Encoder.from_pretrained(bert)
    assert encoder.encode([]).shape == (0, 32)
    assert encoder.embed([]).shape == (0, 32)


def test_lone_surrogates_and_long_strings(bert):
    encoder = Encoder.from_pretrained(bert, preset="sapbert")
    assert len(encoder.tokenize(["heart " * 1000])[0]) == 25
    assert np.isfinite(encoder.encode(["\ud800", "heart " * 1000])).all()


def test_bfloat16_is_close(bert):
    exact = Encoder.from_pretrained(bert, normalize=True).encode(TEXTS)
    quick = Encoder.from_pretrained(bert, normalize=True, dtype="bfloat16").encode(TEXTS)
    assert (exact * quick).sum(1).min() > 0.99
    assert not np.array_equal(exact, quick)


# Where settings come from


def test_overrides_beat_the_preset_which_beats_the_files(bert, tmp_path):
    Encoder.from_pretrained(bert, pooling="mean", normalize=True, max_length=77).to_disk(tmp_path)
    assert Encoder.from_pretrained(tmp_path).settings.max_length == 77
    found = Encoder.from_pretrained(tmp_path, preset="sapbert", max_length=30, pooling=None)
    assert found.settings == EncoderSettings(pooling="cls", max_length=30, lower_case=True)


def test_known_models_are_recognised_by_the_name_in_their_files(bert, tmp_path):
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["_name_or_path"] = "GanjinZero/coder_eng"
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Encoder.from_pretrained(tmp_path).settings == PRESETS["coder"]
    assert Encoder.from_pretrained(bert).settings == EncoderSettings("mean", True, 128)


@pytest.mark.parametrize(
    ("pooling", "modules", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, 2, ("cls", False)),
        ({"pooling_mode_mean_tokens": True}, 3, ("mean", True)),
        ({"pooling_mode": "mean"}, 2, ("mean", False)),
    ],
)
def test_layout_of_sentence_transformers(bert, tmp_path, pooling, modules, expected):
    write_layout(bert, tmp_path, pooling, ["Transformer", "Pooling", "Normalize"][:modules])
    settings = Encoder.from_pretrained(tmp_path, preset="sentence-transformers").settings
    assert (settings.pooling, settings.normalize) == expected
    assert (settings.max_length, settings.lower_case) == (17, True)


def write_layout(bert, path, pooling, modules):
    AutoModel.from_pretrained(bert).save_pretrained(path)
    AutoTokenizer.from_pretrained(bert).save_pretrained(path)
    rows = [
        {"idx": i, "name": str(i), "path": f"{i}_{m}" if i else "", "type": f"x.models.{m}"}
        for i, m in enumerate(modules)
    ]
    (path / "modules.json").write_text(json.dumps(rows))
    (path / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 17, "do_lower_case": True})
    )
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("pooling", "modules", "message"),
    [
        ({"pooling_mode_max_tokens": True}, ["Transformer", "Pooling"], "max_tokens"),
        ({"pooling_mode": "lasttoken"}, ["Transformer", "Pooling"], "lasttoken"),
        ({"pooling_mode": "mean"}, ["Transformer", "Pooling", "Dense"], "Dense"),
    ],
)
def test_layouts_that_cannot_be_used(bert, tmp_path, pooling, modules, message):
    write_layout(bert, tmp_path, pooling, modules)
    with pytest.raises(ModelError, match=message):
        Encoder.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "sapbart"}, "There is no preset 'sapbart'"),
        ({"preset": "sentence-transformers"}, "no modules.json"),
        ({"pooling": "max"}, "There is no pooling 'max'"),
        ({"poling": "cls"}, "There is no setting 'poling'"),
        ({"max_length": 1000}, "at most 512"),
        ({"max_length": 1}, "at least 3"),
        ({"dtype": "int4"}, "int4"),
    ],
)
def test_settings_that_make_no_sense(bert, settings, message):
    with pytest.raises(ModelError, match=message):
        Encoder.from_pretrained(bert, **settings)


def test_roberta_reads_two_positions_fewer(models):
    with pytest.raises(ModelError, match="at most 512"):
        Encoder.from_pretrained(models["roberta"], max_length=513)
    encoder = Encoder.from_pretrained(models["roberta"], max_length=512)
    assert len(encoder.tokenize(["a b " * 2000])[0]) == 512
    assert np.isfinite(encoder.encode(["a b " * 2000])).all()


# Files


@pytest.mark.parametrize("preset", ["sapbert", "coder", "minilm", "sapbert-mean"])
def test_a_written_encoder_is_the_same(bert, tmp_path, preset):
    encoder = Encoder.from_pretrained(bert, preset=preset)
    encoder.to_disk(tmp_path / "encoder")
    again = Encoder.from_pretrained(tmp_path / "encoder")
    assert again.settings == encoder.settings
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
    suffixes = {f.suffix for f in (tmp_path / "encoder").rglob("*") if f.is_file()}
    assert suffixes <= {".json", ".txt", ".safetensors"}


def test_what_is_written_for_sentence_transformers(bert, tmp_path):
    Encoder.from_pretrained(bert, preset="minilm").to_disk(tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [m["type"].rsplit(".", 1)[1] for m in modules] == ["Transformer", "Pooling", "Normalize"]
    assert modules[0]["path"] == ""
    assert all((tmp_path / m["path"]).is_dir() for m in modules)
    pooling = json.loads((tmp_path / modules[1]["path"] / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] and not pooling["pooling_mode_cls_token"]
    (tmp_path / "spacy_bel_encoder.json").unlink()  # as if written by sentence-transformers
    assert Encoder.from_pretrained(tmp_path).settings == PRESETS["minilm"]


def test_fingerprints(bert, models, tmp_path):
    encoder = Encoder.from_pretrained(bert, preset="sapbert")
    before = encoder.fingerprint
    encoder.encode(TEXTS)  # leaves truncation behind in the tokenizer
    assert encoder.fingerprint == before
    weights = load_file(bert / "model.safetensors")
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    reordered = dict(reversed(weights.items()))
    save_file(reordered, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert Encoder.from_pretrained(tmp_path, preset="sapbert").fingerprint == before
    others = [
        Encoder.from_pretrained(bert, preset="sapbert", max_length=26),
        Encoder.from_pretrained(models["roberta"], preset="sapbert"),
    ]
    with torch.no_grad():
        encoder.model.encoder.layer[1].output.dense.bias[3] += 1e-3
    assert len({before, encoder.fingerprint, *(o.fingerprint for o in others)}) == 4


def test_a_pooling_layer_that_is_missing(tmp_path):
    path = write_encoder(tmp_path / "bert", "bert", pooler=False)
    with pytest.raises(ModelError, match=r"lack pooler.*pooling=\"cls\""):
        Encoder.from_pretrained(path, preset="coder")
    first, second = (Encoder.from_pretrained(path, preset="sapbert") for _ in range(2))
    assert first.fingerprint == second.fingerprint  # nothing that was made up counts


def test_weights_that_are_missing(bert, tmp_path):
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(bert / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.bias")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack encoder\.layer\.1\.output\.dense\.bias"):
        Encoder.from_pretrained(tmp_path)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def test_old_checkpoints_are_read_as_weights_only(bert, tmp_path):
    plain, evil = tmp_path / "plain", tmp_path / "evil"
    for path in (plain, evil):
        path.mkdir()
        for file in bert.iterdir():
            if file.suffix != ".safetensors":
                (path / file.name).write_bytes(file.read_bytes())
    weights = load_file(bert / "model.safetensors")
    torch.save(weights, plain / "pytorch_model.bin")
    expected = Encoder.from_pretrained(bert, preset="sapbert")
    found = Encoder.from_pretrained(plain, preset="sapbert")
    assert found.fingerprint == expected.fingerprint
    torch.save({**weights, "x": Payload(tmp_path / "ran")}, evil / "pytorch_model.bin")
    with pytest.raises(ModelError, match="Cannot read an encoder"):
        Encoder.from_pretrained(evil, preset="sapbert")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda path: (path / "model.safetensors").write_bytes(b"xx"), "Cannot read an encoder"),
        (lambda path: (path / "config.json").write_text("{"), "not valid JSON|cannot be read"),
        (lambda path: (path / "modules.json").write_text("["), "modules.json"),
        (lambda path: (path / "spacy_bel_encoder.json").write_text('{"a": 1}'), "damaged"),
    ],
)
def test_damaged_directories(bert, tmp_path, change, message):
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    change(tmp_path)
    with pytest.raises(ModelError, match=message):
        Encoder.from_pretrained(tmp_path)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="There is no model directory"):
        Encoder.from_pretrained(tmp_path / "none")


def test_nan_names_the_string(bert):
    encoder = Encoder.from_pretrained(bert, preset="minilm")
    row = encoder.tokenize(["mi"])[0][1]
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight[row] = float("nan")
    assert np.isfinite(encoder.encode(["heart attack"])).all()
    with pytest.raises(ModelError, match=r"NaN or infinity for 'MI'"):
        encoder.encode(["heart attack", "MI", "renal failure"])
