"""Whole training runs of tiny models."""

from __future__ import annotations

import errno
import itertools
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import spacy_bel.checkpoints as checkpoint_module
import spacy_bel.longbel.training.steps as steps_module
from spacy_bel.errors import (
    FingerprintMismatchError,
    MissingExtraError,
    SettingsError,
    TrainingError,
)
from spacy_bel.longbel.models.copy_lm import CopyConfig, CopyLanguageModel, CopyNetwork
from spacy_bel.longbel.models.loading import resolve_model
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.training.batching import Plan, micro_batches, shares
from spacy_bel.longbel.training.example import TrainingExample, Turn
from spacy_bel.longbel.training.objectives import objective_of
from spacy_bel.longbel.training.objectives.copy_lm import CopyObjective
from spacy_bel.longbel.training.schedule import learning_rate
from spacy_bel.longbel.training.settings import TrainingSettings
from spacy_bel.longbel.training.tokenizing import SequenceMaker
from spacy_bel.longbel.training.training import train

from ..conftest import character_tokenizer, tiny_gpt2, tiny_llama
from ..encoder_decoders import tiny_bart

SHORT = get_prompt("mention")
NAMES = {
    "mi": "heart attack",
    "chf": "heart failure",
    "cold": "common cold",
    "ache": "headache",
    "flu": "influenza",
    "tb": "tuberculosis",
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def example(mention, name):
    return TrainingExample((Turn(f"### Prediction\n[{mention}]{{D}}", (name,)),))


EXAMPLES = [example(*pair) for pair in NAMES.items()]
DEV = EXAMPLES[:2]


def copy_model(seed=0):
    tokenizer = character_tokenizer(bos=False)
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(seed)
    sizes = dict(hidden_size=32, layers=2, heads=4, intermediate_size=48, max_length=128)
    config = CopyConfig(len(tokenizer), ids("["), ids("]"), copy_size=8, **sizes)
    return CopyLanguageModel(CopyNetwork(config), tokenizer)


SETTINGS = TrainingSettings(
    learning_rate=3e-3, max_steps=12, batch_tokens=150, checkpoint_every=3, eval_every=4, warmup=2
)


def weights(model):
    network = model.network if isinstance(model, CopyLanguageModel) else model.model
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def run(model, output, settings=SETTINGS, examples=EXAMPLES, **options):
    return train(model, SHORT, examples, settings, output, **{"progress": False, **options})


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


# Interruption


class Killed(BaseException):
    pass


def killed_at(monkeypatch, step):
    """End the process, as it were, before that step."""
    learn = steps_module.Steps.step

    def step_or_die(self, number, *args):
        if number == step:
            raise Killed
        return learn(self, number, *args)

    monkeypatch.setattr(steps_module.Steps, "step", step_or_die)


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


# Adapters

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
