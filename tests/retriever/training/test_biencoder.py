from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from spacy_bel import checkpoints as checkpoint_module
from spacy_bel.errors import FingerprintMismatchError, ModelError, SettingsError, TrainingError
from spacy_bel.expansion import Query
from spacy_bel.kb import Concept
from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.training.biencoder import train_biencoder
from spacy_bel.retriever.training.names import TrainingNames
from spacy_bel.retriever.training.selection import DevelopmentMention, DevelopmentSet
from spacy_bel.retriever.training.settings import BiEncoderSettings

from .conftest import make_kb

SETTINGS = BiEncoderSettings(
    epochs=3,
    steps_per_epoch=3,
    batch_size=16,
    learning_rate=3e-3,
    warmup_steps=2,
    hard_negatives=1,
    mined_concepts=20,
    patience=10,
)


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def names(words_kb):
    names = TrainingNames()
    names.add_kb(words_kb)
    names.pair(50, 0)
    return names


@pytest.fixture(scope="module")
def development(words_kb):
    """Find every concept by its second name, where there are only first names."""
    kb = make_kb([Concept(code, words_kb[code].names[:1], ("g",)) for code in words_kb])
    mask = kb.group_mask(["g"])
    mentions = [
        DevelopmentMention([Query(words_kb[code].names[1])], frozenset([code]), mask)
        for code in words_kb
    ]
    return [DevelopmentSet("words", kb, mentions)]


@pytest.fixture
def train(encoder_path, names, development, tmp_path):
    def train(settings=SETTINGS, output="model", development=development, **options):
        encoder = Encoder.from_pretrained(encoder_path)
        return train_biencoder(encoder, names, development, settings, tmp_path / output, **options)

    return train


def weights(path):
    return {name: array.tobytes() for name, array in load_file(path / "model.safetensors").items()}


def stop_after(epoch):
    def on_epoch(figures):
        if figures["epoch"] == epoch:
            raise Stop

    return on_epoch


def without_times(history):
    times = ("seconds", "names_per_second")
    return [{k: v for k, v in epoch.items() if k not in times} for epoch in history]


def test_training_brings_synonyms_together(encoder_path, names, words_kb, development, tmp_path):
    settings = replace(SETTINGS, epochs=3, steps_per_epoch=20, batch_size=40, hard_negatives=0)
    history = train_biencoder(
        Encoder.from_pretrained(encoder_path), names, development, settings, tmp_path / "model"
    )
    first = history[0]["development"]["words"]["recall@1"]
    best = max(epoch["development"]["words"]["recall@1"] for epoch in history)
    assert first < 0.3 and best > 0.6
    report = json.loads((tmp_path / "model" / "training.json").read_text())
    assert report["finished"] and report["epochs"] == history
    assert report["settings"]["learning_rate"] == 3e-3
    # The output is the encoder of the best epoch.
    written = Encoder.from_pretrained(tmp_path / "model")
    (of,) = development
    scores = of.scores(written.encode(of.names), written.encode(of.queries))
    best_epoch = report["best_epoch"]
    assert scores == history[best_epoch]["development"]["words"]
    assert history[best_epoch]["mrr"] == max(epoch["mrr"] for epoch in history)
    assert not (tmp_path / "model.checkpoint").exists()


@pytest.fixture(scope="module")
def whole(encoder_path, names, tmp_path_factory):
    """History and weights of a run without interruption; the last epoch is written."""
    output = tmp_path_factory.mktemp("whole") / "model"
    history = train_biencoder(Encoder.from_pretrained(encoder_path), names, [], SETTINGS, output)
    return without_times(history), weights(output)


@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
def test_an_interrupted_run_ends_with_the_same_weights(train, whole, tmp_path, epoch):
    with pytest.raises(Stop):
        train(development=[], on_epoch=stop_after(epoch))
    seen = []
    history = train(development=[], on_epoch=seen.append)
    assert (without_times(history), weights(tmp_path / "model")) == whole
    assert [figures["epoch"] for figures in seen] == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_interrupted_before_the_output_was_written(train, whole, tmp_path, monkeypatch):
    def interrupt(*_):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("spacy_bel.retriever.training.biencoder.write_encoder", interrupt)
        with pytest.raises(Stop):
            train(development=[])
    history = train(development=[])
    assert (without_times(history), weights(tmp_path / "model")) == whole


def test_another_seed_gives_other_weights(train, whole, tmp_path):
    train(replace(SETTINGS, seed=1), development=[])
    assert weights(tmp_path / "model") != whole[1]


def test_training_stops_without_improvement(train, tmp_path):
    settings = replace(SETTINGS, epochs=20, learning_rate=1e-12, patience=2)
    history = train(settings)
    # Nothing is learnt, so the untrained encoder stays the best.
    assert [epoch["epoch"] for epoch in history] == [0, 1, 2]
    assert json.loads((tmp_path / "model" / "training.json").read_text())["best_epoch"] == 0


@pytest.mark.parametrize("change", ["settings", "development", "encoder", "names"])
def test_a_checkpoint_of_another_run_is_refused(
    train, encoder_path, names, development, words_kb, tmp_path, change
):
    with pytest.raises(Stop):
        train(on_epoch=stop_after(1))
    before = weights(tmp_path / "model")
    encoder = Encoder.from_pretrained(encoder_path)
    settings = SETTINGS
    if change == "settings":
        settings = replace(SETTINGS, alpha=2.0)
    elif change == "development":
        development = []
    elif change == "encoder":
        encoder.model.encoder.layer[0].output.dense.bias.data += 1
    else:
        names = TrainingNames()
        names.add_kb(words_kb)
        names.pair(50, 1)
        names.add_mentions([("m", "C00")])
        names.pair(50, 0)
    with pytest.raises(FingerprintMismatchError, match="other settings"):
        train_biencoder(encoder, names, development, settings, tmp_path / "model")
    assert weights(tmp_path / "model") == before
    train_biencoder(encoder, names, development, settings, tmp_path / "model", force=True)
    report = json.loads((tmp_path / "model" / "training.json").read_text())
    assert report["finished"] and report["settings"]["alpha"] == settings.alpha


def test_what_is_at_the_output_is_not_replaced(train, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("mine")
    with pytest.raises(TrainingError, match="exists already: give another output"):
        train()
    assert (tmp_path / "model" / "thesis.txt").read_text() == "mine"
    train(output="other")
    with pytest.raises(TrainingError, match="finished result of this very run"):
        train(output="other")
    assert len(train(output="other", force=True)) == 4


def test_the_best_epoch_has_been_deleted(train, tmp_path):
    with pytest.raises(Stop):
        train(on_epoch=stop_after(1))
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(TrainingError, match="no longer at"):
        train()


def test_a_damaged_checkpoint(train, tmp_path):
    (tmp_path / "model.checkpoint").write_bytes(b"\x08" * 100)
    with pytest.raises(TrainingError, match="delete it to start again"):
        train()


def test_a_full_disk_leaves_what_was_there(train, whole, tmp_path, monkeypatch):
    with pytest.raises(Stop):
        train(development=[], on_epoch=stop_after(1))
    before = (tmp_path / "model.checkpoint").read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "save_file", full)
        with pytest.raises(TrainingError, match=r"No space left .* make room"):
            train(development=[])
    assert (tmp_path / "model.checkpoint").read_bytes() == before
    history = train(development=[])
    assert (without_times(history), weights(tmp_path / "model")) == whole


def test_a_loss_that_is_no_number(train, tmp_path, encoder_path, names):
    encoder = Encoder.from_pretrained(encoder_path)
    encoder.model.embeddings.LayerNorm.weight.data[0] = float("nan")
    settings = replace(SETTINGS, hard_negatives=0)
    with pytest.raises(ModelError, match="no numbers any more at step 0: lower learning_rate"):
        train_biencoder(encoder, names, [], settings, tmp_path / "model")


def test_16_bits(train):
    history = train(replace(SETTINGS, dtype="bfloat16", epochs=1))
    assert np.isfinite(history[1]["loss"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "epochs is 0: give more than 0"),
        ({"batch_size": 1}, "at least 2"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"mention_share": 1.5}, "from 0 to 1"),
        ({"dtype": "float16"}, "use 'float32' or 'bfloat16'"),
        ({"margin_of": "angle"}, "use 'cosine' or 'distance'"),
    ],
)
def test_settings_that_cannot_be_used(setting, message):
    with pytest.raises(SettingsError, match=message):
        BiEncoderSettings(**setting)


def test_the_engine_trains_where_spacy_is_missing():
    script = """
import sys
sys.modules["spacy"] = sys.modules["thinc"] = None
import spacy_bel.retriever.training.config, spacy_bel.retriever.training.ngram_tuning
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
