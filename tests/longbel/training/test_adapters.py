"""Training of low-rank adapters."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from spacy_bel.errors import (
    MissingExtraError,
    SettingsError,
)
from spacy_bel.longbel.models.copy_lm import CopyLanguageModel
from spacy_bel.longbel.models.loading import resolve_model
from spacy_bel.longbel.training.objectives import objective_of
from spacy_bel.longbel.training.tokenizing import SequenceMaker

from ..conftest import tiny_gpt2, tiny_llama
from .tiny_runs import (
    EXAMPLES,
    SETTINGS,
    SHORT,
    Killed,
    copy_model,
    killed_at,
    run,
    same,
    weights,
)

LORA = replace(SETTINGS, learning_rate=2e-2, lora={"rank": 4, "alpha": 8, "dropout": 0.1})


@pytest.mark.parametrize("make", [copy_model, tiny_llama, tiny_gpt2])
def test_adapters_are_trained_and_merged(tmp_path, make):
    pytest.importorskip("peft")
    model = make()
    before = weights(model)
    report = run(model, tmp_path / "out", replace(LORA, max_steps=24), dev=EXAMPLES)
    assert report.history[-1]["loss"] < report.history[0]["loss"] - 0.3
    after = weights(model)
    assert after.keys() == before.keys()  # a plain model again
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and not any("embed" in n or "tokens" in n or "bias" in n for n in changed)
    for name in changed:
        assert torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-4) <= 4
    network = model.network if isinstance(model, CopyLanguageModel) else model.model
    assert all(parameter.requires_grad for parameter in network.parameters())
    judged = objective_of(model).judge(SequenceMaker(model, SHORT).sequences(EXAMPLES))
    assert -float(judged.log_probs.mean()) == pytest.approx(
        report.history[report.best]["dev_loss"], abs=1e-3
    )
    assert resolve_model(tmp_path / "out").directory == tmp_path / "out"


def test_adapters_are_taken_up_and_the_last_ones_kept(tmp_path, monkeypatch):
    pytest.importorskip("peft")
    rates = [2e-2] * 8 + [10.0] * 4  # what was learned is lost again
    options = {"dev": EXAMPLES, "rate": rates.__getitem__}
    whole, parts = tiny_llama(), tiny_llama()
    report = run(whole, tmp_path / "whole", LORA, **options)
    assert report.best < len(report.history) - 1
    with monkeypatch.context() as patched, pytest.raises(Killed):
        killed_at(patched, 10)
        run(tiny_llama(), tmp_path / "parts", LORA, **options)
    run(parts, tmp_path / "parts", LORA, **options)
    assert same(weights(whole), weights(parts))
    for suffix, entry in (("", report.history[report.best]), ("-last", report.history[-1])):
        stored = [resolve_model(tmp_path / f"{name}{suffix}") for name in ("whole", "parts")]
        assert same(*map(weights, stored))
        judged = objective_of(stored[0]).judge(SequenceMaker(stored[0], SHORT).sequences(EXAMPLES))
        assert -float(judged.log_probs.mean()) == pytest.approx(entry["dev_loss"], rel=1e-3)


def test_adapters_of_some_layers(tmp_path):
    pytest.importorskip("peft")
    model = tiny_llama()
    before = weights(model)
    run(model, tmp_path / "out", replace(LORA, lora={"targets": ["q_proj"]}))
    after = weights(model)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {f"model.layers.{i}.self_attn.q_proj.weight" for i in range(2)}
    with pytest.raises(SettingsError, match="No linear layer"):
        run(tiny_llama(), tmp_path / "two", replace(LORA, lora={"targets": ["query"]}))


def test_adapters_need_peft(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        run(copy_model(), tmp_path / "out", LORA)
