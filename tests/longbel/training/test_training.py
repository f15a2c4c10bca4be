"""Whole training runs of tiny models: what comes out, and what a step does."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from spacy_bel.errors import (
    SettingsError,
    TrainingError,
)
from spacy_bel.longbel.models.loading import resolve_model
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.training.objectives import objective_of
from spacy_bel.longbel.training.objectives.copy_lm import CopyObjective
from spacy_bel.longbel.training.tokenizing import SequenceMaker
from spacy_bel.longbel.training.training import train

from ..conftest import tiny_llama
from ..encoder_decoders import tiny_bart
from .tiny_runs import (
    DEV,
    EXAMPLES,
    SETTINGS,
    SHORT,
    copy_model,
    example,
    run,
    same,
    weights,
)

# What comes out


def test_a_model_learns_its_examples_and_is_written(tmp_path):
    model = copy_model()
    settings = replace(SETTINGS, max_steps=90, batch_tokens=1000, learning_rate=1e-2, eval_every=30)
    report = run(model, tmp_path / "out", settings, dev=EXAMPLES)
    assert report.history[-1]["dev_exact_match"] == 1 and report.history[-1]["dev_loss"] < 0.1
    losses = [entry["loss"] for entry in report.history]
    assert losses == sorted(losses, reverse=True)
    assert (report.steps, report.epochs, report.examples.names) == (90, 90, len(EXAMPLES))
    stored = resolve_model(tmp_path / "out")
    assert stored.prompt == "mention"
    sequences = SequenceMaker(stored, SHORT).sequences(EXAMPLES)
    assert objective_of(stored).judge(sequences).best.all()
    assert model.directory == tmp_path / "out" and not model.network.training
    written = json.loads((tmp_path / "out" / "training.json").read_text())
    assert written["settings"]["max_steps"] == 90 and written["history"] == report.history
    assert written["counts"]["names"] == len(EXAMPLES) and written["versions"]["torch"]
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.parametrize("make", [tiny_llama, tiny_bart])
def test_other_models_learn_and_are_written(tmp_path, make):
    torch.manual_seed(0)
    model = make()
    prompt = get_prompt("genre" if make is tiny_bart else "mention")
    settings = replace(SETTINGS, max_steps=40, batch_tokens=2000, learning_rate=1e-2, eval_every=20)
    report = train(model, prompt, EXAMPLES, settings, tmp_path / "out", dev=DEV, progress=False)
    assert report.history[1]["loss"] < report.history[0]["loss"] * 0.8
    assert report.history[1]["dev_loss"] < report.history[0]["dev_loss"]
    assert not model.model.training
    stored = resolve_model(tmp_path / "out")
    assert same(weights(stored), weights(model))


def test_the_best_weights_are_kept_and_the_last_beside_them(tmp_path):
    model = copy_model()
    # So fast that what was learned is lost again.
    rates = [1e-2] * 30 + [3.0] * 30
    settings = replace(SETTINGS, max_steps=60, batch_tokens=2000, eval_every=10, checkpoint_every=7)
    report = run(model, tmp_path / "out", settings, dev=EXAMPLES, rate=rates.__getitem__)
    scores = [(e["dev_exact_match"], -e["dev_loss"]) for e in report.history]
    assert report.best == scores.index(max(scores)) < len(scores) - 1
    for path, expected in (("out", max(scores)), ("out-last", scores[-1])):
        stored = resolve_model(tmp_path / path)
        judged = objective_of(stored).judge(SequenceMaker(stored, SHORT).sequences(EXAMPLES))
        # Stored in half precision.
        assert -float(judged.log_probs.mean()) == pytest.approx(-expected[1], rel=0.05)
    assert same(
        weights(resolve_model(tmp_path / "out")),
        {k: v.half().float() for k, v in weights(model).items()},
    )


def test_patience_ends_a_run(tmp_path):
    settings = replace(SETTINGS, max_steps=80, eval_every=5, patience=2)
    rates = [1e-2] * 10 + [1.0] * 70
    report = run(copy_model(), tmp_path / "out", settings, dev=DEV, rate=rates.__getitem__)
    assert report.steps < 80 and len(report.history) - 1 - report.best == 2


def test_minutes_end_a_run(tmp_path, monkeypatch):
    clock = SimpleNamespace(monotonic=map(float, itertools.count()).__next__)  # a second a look
    monkeypatch.setattr("spacy_bel.longbel.training.run.time", clock)
    settings = replace(SETTINGS, max_steps=None, minutes=0.5, warmup=0.1, eval_every=0)
    report = run(copy_model(), tmp_path / "out", settings)
    assert 30 <= report.seconds < 35 and 5 < report.steps <= 30
    assert report.history[-1]["learning_rate"] < settings.learning_rate / 2


# Steps


@pytest.mark.parametrize("other", [{"micro_batch_tokens": 60}, {"gradient_checkpointing": True}])
def test_how_a_step_is_computed_does_not_matter(tmp_path, other):
    left = run(copy_model(), tmp_path / "plain")
    right = run(copy_model(), tmp_path / "parts", replace(SETTINGS, **other))
    for one, two in zip(left.history, right.history, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
        assert one["step"] == two["step"]


def test_less_is_read_at_once_where_memory_ends(tmp_path, monkeypatch, caplog):
    forward, sizes = CopyObjective.forward, []

    def small(self, batch):
        result = forward(self, batch)
        sizes.append(sum(each.tokens for each in batch))
        if sizes[-1] > 80:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return result

    expected = run(copy_model(), tmp_path / "whole")
    monkeypatch.setattr(CopyObjective, "forward", small)
    found = run(copy_model(), tmp_path / "out")
    assert sum(size > 80 for size in sizes) == 1
    assert "micro_batch_tokens" in caplog.text
    for one, two in zip(expected.history, found.history, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)


def test_memory_that_is_too_short_for_one_sequence_is_told(tmp_path, monkeypatch):
    def never(self, batch):
        raise RuntimeError("CUDA out of memory. Tried to allocate")

    monkeypatch.setattr(CopyObjective, "forward", never)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(copy_model(), tmp_path / "out")


def test_no_numbers_end_a_run(tmp_path):
    model = copy_model()
    with torch.no_grad():
        model.network.layers[0].down.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="learning_rate"):
        run(model, tmp_path / "out")


def test_nothing_to_learn_is_told(tmp_path):
    with pytest.raises(SettingsError, match="None of 1 examples"):
        run(copy_model(), tmp_path / "out", examples=[example("x" * 200, "cold")])
