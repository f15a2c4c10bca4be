"""torch models inside thinc: the steps of its optimizers, and models as files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import srsly
import torch
from safetensors.torch import load_file, save_file
from thinc.api import Adam, Model, Optimizer

from spacy_bel.errors import ModelError
from spacy_bel.torch_shim import (
    EngineShim,
    add_gradients,
    engine_model,
    get_engine,
    get_shim,
    has_engine,
)


class Network(torch.nn.Module):
    """Two layers, dropout, and weights that are not trained or not used."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = torch.nn.Linear(3, 5), torch.nn.Linear(5, 2)
        self.frozen, self.unused = torch.nn.Linear(5, 5), torch.nn.Linear(2, 2)
        self.frozen.requires_grad_(False)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, rows):
        return self.second(self.dropout(torch.tanh(self.frozen(self.first(rows)))))


class TinyEngine:
    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        self.model, self.scale = Network(seed), scale

    def forward(self, batch):
        return self.model(torch.as_tensor(batch)) * self.scale

    def to_disk(self, path):
        save_file(self.model.state_dict(), path / "model.safetensors")
        (path / "settings.json").write_text(json.dumps({"scale": self.scale}))


def load(path: Path, device: torch.device) -> TinyEngine:
    engine = TinyEngine(seed=99, **json.loads((path / "settings.json").read_text()))
    engine.model.load_state_dict(load_file(path / "model.safetensors"))
    return engine


def pretrained(device: torch.device) -> TinyEngine:
    return TinyEngine(seed=1, scale=2.0)


def make_model():
    return engine_model("tiny", pretrained, load)


BATCHES = [np.random.default_rng(i).normal(size=(4, 3)).astype(np.float32) for i in range(2)]
TARGET = np.random.default_rng(9).normal(size=(4, 2)).astype(np.float32)


def weights(model):
    return {name: w.detach().clone() for name, w in get_engine(model).model.named_parameters()}


def squared_error(engine):
    return sum(((engine.forward(b) - torch.tensor(TARGET)) ** 2).sum() for b in BATCHES)


def learn(model, optimizer):
    """A step down the squared error, whose gradient is told from outside as components do."""
    outputs, backprop = model.begin_update(BATCHES)
    backprop([2 * (output - TARGET) for output in outputs])
    model.finish_update(optimizer)


@pytest.fixture(autouse=True)
def no_dropout(monkeypatch):
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, rows: rows)


def compare(model, make_torch, optimizer, steps=5):
    model.initialize()
    plain = pretrained(torch.device("cpu"))
    before = weights(model)
    torch_optimizer = make_torch([w for w in plain.model.parameters() if w.requires_grad])
    for _ in range(steps):
        learn(model, optimizer)
        torch_optimizer.zero_grad()
        squared_error(plain).backward()
        torch_optimizer.step()
    after = weights(model)
    for name, expected in plain.model.named_parameters():
        torch.testing.assert_close(after[name], expected.detach(), atol=1e-6, rtol=0)
        moved = not torch.equal(after[name], before[name])
        assert moved == name.startswith(("first", "second"))


def test_a_step_of_adam_is_that_of_torch():
    optimizer = Adam(0.001, L2=0.01, L2_is_weight_decay=True, grad_clip=0.0, use_averages=False)
    compare(make_model(), lambda w: torch.optim.AdamW(w, lr=0.001, weight_decay=0.01), optimizer)


def test_a_step_of_descent_is_that_of_torch():
    optimizer = Optimizer(0.01, L2=0, beta1=0, beta2=0, grad_clip=0.0, use_averages=False)
    compare(make_model(), lambda w: torch.optim.SGD(w, lr=0.01), optimizer)


def test_gradients_add_up_until_a_step_is_made():
    model = make_model()
    engine = get_engine(model)
    squared_error(engine).backward()
    expected = {n: w.grad.clone() for n, w in engine.model.named_parameters() if w.grad is not None}
    engine.model.zero_grad()
    for batch in BATCHES:
        (output,), backprop = model.begin_update([batch])
        backprop([2 * (output - TARGET)])
    found = {n: w.grad for n, w in engine.model.named_parameters() if w.grad is not None}
    assert found.keys() == expected.keys() and len(found) == 4
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5)
    model.finish_update(Adam(0.01))
    assert all(not gradient.any() for gradient in found.values())


def test_gradients_are_added_whole_or_not_at_all(monkeypatch):
    first, second = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    shared = torch.ones(2)
    add_gradients([first, second], [shared, shared])
    first.grad += 1
    assert second.grad.tolist() == [1, 1] and shared.tolist() == [1, 1]
    first.grad, copied = None, []

    def failing(self):
        copied.append(self)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch.Tensor, "clone", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        add_gradients([second, first], [shared, shared])
    assert copied and first.grad is None and second.grad.tolist() == [1, 1]


def test_prediction_keeps_no_graph_and_sets_the_mode():
    model = make_model()
    engine = get_engine(model)
    outputs = model.predict(BATCHES)
    assert [type(output) for output in outputs] == [np.ndarray] * 2 and not engine.model.training
    torch.testing.assert_close(torch.tensor(outputs[0]), engine.forward(BATCHES[0]).detach())
    model.begin_update(BATCHES)
    assert engine.model.training


def test_bytes_are_files_and_nothing_is_pickled(monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("something is pickled")

    for module, name in ((torch, "save"), (torch, "load"), (pickle, "dumps"), (pickle, "loads")):
        monkeypatch.setattr(module, name, forbidden)
    model, other = make_model(), make_model()
    learn_from = get_engine(model)
    with torch.no_grad():
        learn_from.model.first.weight += 1
    data = get_shim(model).to_bytes()
    files = srsly.msgpack_loads(data)
    assert set(files) == {"model.safetensors", "settings.json"}
    assert json.loads(files["settings.json"]) == {"scale": 2.0}
    get_shim(other).from_bytes(data)
    assert get_engine(other).scale == 2.0
    np.testing.assert_array_equal(other.predict(BATCHES)[0], model.predict(BATCHES)[0])


def test_names_in_bytes_lead_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = make_model()
    files = srsly.msgpack_loads(get_shim(_initialized(model)).to_bytes())
    files["../../outside.txt"] = b"mine"
    get_shim(model).from_bytes(srsly.msgpack_dumps(files))
    assert not list(tmp_path.rglob("outside.txt")) and not (tmp_path / "../outside.txt").exists()


def _initialized(model):
    model.initialize()
    return model


def test_disk(tmp_path):
    model, other = _initialized(make_model()), make_model()
    get_shim(model).to_disk(tmp_path / "model")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model"]
    get_shim(other).from_disk(tmp_path / "model")
    # Over the files that its weights may be mapped from.
    get_shim(other).to_disk(tmp_path / "model")
    get_shim(model).from_disk(tmp_path / "model")
    np.testing.assert_array_equal(other.predict(BATCHES)[0], model.predict(BATCHES)[0])


@pytest.mark.parametrize(
    "copied", [lambda model: model.copy(), lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_learn_by_themselves(copied):
    model = _initialized(make_model())
    other = copied(model)
    assert get_shim(other).id != get_shim(model).id
    before = weights(model)
    np.testing.assert_array_equal(other.predict(BATCHES)[0], model.predict(BATCHES)[0])
    learn(other, Adam(0.01))
    assert all(torch.equal(w, before[name]) for name, w in weights(model).items())
    assert np.abs(other.predict(BATCHES)[0] - model.predict(BATCHES)[0]).max() > 1e-4


def test_a_model_that_is_not_there_yet():
    model = make_model()
    assert not has_engine(model)
    with pytest.raises(ModelError, match="no model yet: call nlp.initialize"):
        model.predict(BATCHES)
    for other in (model.copy(), pickle.loads(pickle.dumps(model))):
        assert not has_engine(other)
        assert get_engine(other).scale == 2.0
    model.initialize()
    engine = get_engine(model)
    model.initialize()  # what was trained is kept
    assert get_engine(model) is engine


def test_other_models_of_thinc():
    with pytest.raises(ModelError, match="'linear' has no engine: use a registered architecture"):
        get_shim(Model("linear", lambda model, rows, is_train: (rows, lambda d: d)))
    assert isinstance(get_shim(make_model()), EngineShim)
