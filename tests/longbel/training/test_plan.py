"""The plan of a run: settings, order of sequences, learning rate."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spacy_bel.errors import (
    SettingsError,
)
from spacy_bel.longbel.training.batching import Plan, micro_batches, shares
from spacy_bel.longbel.training.schedule import learning_rate
from spacy_bel.longbel.training.settings import TrainingSettings
from spacy_bel.longbel.training.tokenizing import SequenceMaker

from .tiny_runs import (
    EXAMPLES,
    SHORT,
    copy_model,
)


def test_every_epoch_has_every_sequence_once_within_the_budget():
    tokens = [10, 30, 5, 70, 20, 20, 1, 9]
    plan = Plan(tokens, 50, seed=3)
    epochs = [[each.tolist() for each in plan.epoch(i)] for i in range(6)]
    for epoch in epochs:
        assert sorted(i for step in epoch for i in step) == list(range(len(tokens)))
        assert all(sum(tokens[i] for i in step) <= 50 or len(step) == 1 for step in epoch)
    assert len({str(epoch) for epoch in epochs}) == 6
    assert [each.tolist() for each in Plan(tokens, 50, seed=3).epoch(4)] == epochs[4]


def test_processes_share_a_step_evenly():
    tokens = torch.arange(1, 41).numpy()
    places = torch.arange(40).numpy()
    given = [part.tolist() for part in shares(places, tokens, 3)]
    assert sorted(i for part in given for i in part) == list(range(40))
    loads = [sum(tokens[i] for i in part) for part in given]
    assert max(loads) - min(loads) <= 40
    assert [len(part) for part in shares(places[:1], tokens, 3)] == [1, 0, 0]


def test_micro_batches_hold_what_they_may():
    sequences = SequenceMaker(copy_model(), SHORT).sequences(EXAMPLES)
    groups = micro_batches(sequences, 70)
    assert len(groups) > 1
    assert all(sum(s.tokens for s in g) <= 70 or len(g) == 1 for g in groups)
    assert sorted(map(id, sequences)) == sorted(id(s) for g in groups for s in g)
    assert micro_batches([], 70) == []


@pytest.mark.parametrize("warmup", [0.1, 10])
def test_the_rate_rises_and_falls(warmup):
    settings = TrainingSettings(learning_rate=2.0, warmup=warmup, max_steps=100)
    rates = [learning_rate(settings, step / 100, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == pytest.approx(2.0)
    assert rates[:10] == sorted(rates[:10]) and rates[9] == pytest.approx(2.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(1.0) and 0 < rates[-1] < 0.05
    cosine = replace(settings, schedule="cosine")
    assert learning_rate(cosine, 0.55, 55, 100) == pytest.approx(1.0)
    assert learning_rate(cosine, 0.9, 90, 100) < rates[90]
    constant = replace(settings, schedule="constant")
    assert learning_rate(constant, 0.99, 99, 100) == 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"epochs": 0},
        {"dropout": 1.0},
        {"dtype": "float16"},
        {"schedule": "steps"},
        {"batch_tokens": 0},
        {"betas": (0.9, 1.0)},
        {"max_steps": None},
        {"lora": {"rank": 0}},
        {"lora": {"ranks": 8}},
    ],
)
def test_settings_that_cannot_be_used_are_named(wrong):
    name = next(iter(wrong))
    with pytest.raises(SettingsError, match=name):
        TrainingSettings(**{"max_steps": 5, **wrong})
