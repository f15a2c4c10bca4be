"""Training that was interrupted."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
import torch

import spacy_bel.checkpoints as checkpoint_module
import spacy_bel.longbel.training.steps as steps_module
from spacy_bel.errors import (
    FingerprintMismatchError,
    TrainingError,
)

from .tiny_runs import (
    DEV,
    EXAMPLES,
    SETTINGS,
    Killed,
    copy_model,
    killed_at,
    run,
    same,
    weights,
)


@pytest.mark.parametrize(("step", "dropout"), [(1, None), (5, 0.2), (10, 0.2), (11, None)])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, monkeypatch, step, dropout):
    settings = replace(SETTINGS, dropout=dropout)
    whole = copy_model()
    expected = run(whole, tmp_path / "whole", settings, dev=DEV)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        killed_at(patched, step)
        run(copy_model(), tmp_path / "parts", settings, dev=DEV)
    assert not (tmp_path / "parts").exists()
    torch.manual_seed(step)  # what was drawn before does not matter
    model = copy_model()
    torch.rand(step)
    found = run(model, tmp_path / "parts", settings, dev=DEV)
    assert same(weights(model), weights(whole))
    scores = ("step", "epoch", "loss", "dev_loss", "dev_exact_match", "learning_rate")
    assert [[e[s] for s in scores] for e in found.history] == [
        [e[s] for s in scores] for e in expected.history
    ]
    files = [p.name for p in (tmp_path / "whole").iterdir() if p.name != "training.json"]
    for name in files:
        left, right = (tmp_path / d / name for d in ("whole", "parts"))
        assert left.read_bytes() == right.read_bytes()


def test_a_run_is_taken_up_and_not_begun_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(Killed):
        killed_at(patched, 10)
        run(copy_model(), tmp_path / "out")
    made = []
    learn = steps_module.Steps.step
    monkeypatch.setattr(
        steps_module.Steps, "step", lambda self, n, *a: (made.append(n), learn(self, n, *a))[1]
    )
    run(copy_model(), tmp_path / "out")
    assert made == [9, 10, 11]


def test_a_finished_run_is_not_repeated(tmp_path, monkeypatch):
    model, again = copy_model(), copy_model()
    first = run(model, tmp_path / "out", dev=DEV)
    with monkeypatch.context() as patched:
        killed_at(patched, 0)
        second = run(again, tmp_path / "out", dev=DEV)
        with pytest.raises(Killed):
            run(copy_model(), tmp_path / "out", dev=DEV, force=True)
    assert second.history == first.history and second.best == first.best
    assert same(weights(again), {k: v.half().float() for k, v in weights(model).items()})


def test_what_does_not_change_the_result_may_change_in_between(tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(Killed):
        killed_at(patched, 10)
        run(copy_model(), tmp_path / "out")
    run(copy_model(), tmp_path / "out", replace(SETTINGS, micro_batch_tokens=40))


@pytest.mark.parametrize(
    "other",
    [
        {"settings": replace(SETTINGS, learning_rate=1e-3)},
        {"examples": EXAMPLES[1:]},
        {"dev": DEV},
        {"about": {"corpus": "another"}},
    ],
)
def test_what_belongs_to_another_run_is_refused(tmp_path, monkeypatch, other):
    with monkeypatch.context() as patched, pytest.raises(Killed):
        killed_at(patched, 5)
        run(copy_model(), tmp_path / "out")
    with pytest.raises(FingerprintMismatchError, match="delete it to start again"):
        run(copy_model(), tmp_path / "out", **other)
    with pytest.raises(FingerprintMismatchError):
        run(copy_model(seed=1), tmp_path / "out")
    run(copy_model(), tmp_path / "out")
    with pytest.raises(TrainingError, match="another output"):
        run(copy_model(), tmp_path / "out", **other)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    whole = copy_model()
    run(whole, tmp_path / "whole")
    write, written = checkpoint_module.save_file, []

    def full(tensors, path, metadata):
        written.append(path)
        if len(written) == 3:
            path.write_bytes(b"some of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(tensors, path, metadata)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_module, "save_file", full)
        with pytest.raises(TrainingError, match="make room"):
            run(copy_model(), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "out.checkpoint"}
    model = copy_model()
    run(model, tmp_path / "out")
    assert same(weights(model), weights(whole))


def test_a_damaged_checkpoint_is_told(tmp_path):
    (tmp_path / "out.checkpoint").write_bytes(b"no tensors")
    with pytest.raises(TrainingError, match="delete it"):
        run(copy_model(), tmp_path / "out")
