"""torch models inside thinc: trained by its optimizers, stored as the files transformers reads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import srsly
import torch
from thinc.api import Model
from thinc.shims.pytorch import PyTorchShim
from thinc.types import Floats2d
from thinc.util import get_torch_default_device, torch2xp, xp2torch
from torch import Tensor

from .errors import ModelError


class Engine(Protocol):
    """A torch model with what it takes to run it.

    model: what is trained; parameters that do not require gradients stay as they are.
    """

    model: torch.nn.Module

    def forward(self, batch: Any) -> Tensor:
        """The logits of a batch, shape (rows, columns), with gradients where enabled."""

    def to_disk(self, path: Path) -> None:
        """Write a directory of safetensors, JSON and tokenizer files."""


Load = Callable[[Path, torch.device], Engine]


class EngineShim(PyTorchShim):
    """Lets thinc train an engine.

    It is stored as the files of its directory: nothing is pickled, which thinc's own shims do.
    load: reads an engine from such a directory onto a device. engine: None until there is one.
    """

    def __init__(self, load: Load) -> None:
        super().__init__(None)
        self.load = load
        self.engine: Engine | None = None

    def set_engine(self, engine: Engine) -> None:
        """Train this engine from now on."""
        self.engine, self._model = engine, engine.model

    def __call__(
        self, inputs: Sequence[Any], is_train: bool
    ) -> tuple[list[Tensor], Callable[[list[Tensor]], None]]:
        """The logits of each batch, and what takes their gradients."""
        if self.engine is None:
            raise ModelError("There is no model yet: call nlp.initialize() or load a pipeline.")
        self.engine.model.train(is_train)
        with torch.set_grad_enabled(is_train):
            outputs = [self.engine.forward(batch) for batch in inputs]

        weights = [w for w in self.engine.model.parameters() if w.requires_grad]

        def backprop(gradients: list[Tensor]) -> None:
            found = torch.autograd.grad(outputs, weights, gradients, allow_unused=True)
            add_gradients(weights, found)

        return outputs, backprop

    def to_bytes(self) -> bytes:
        """The files of the engine's directory."""
        if self.engine is None:
            return srsly.msgpack_dumps({})
        with tempfile.TemporaryDirectory() as directory:
            self.engine.to_disk(Path(directory))
            files = {file.name: file.read_bytes() for file in sorted(Path(directory).iterdir())}
        return srsly.msgpack_dumps(files)

    def from_bytes(self, bytes_data: bytes) -> EngineShim:
        """Read what `to_bytes` gave."""
        files = srsly.msgpack_loads(bytes_data)
        if files:
            with tempfile.TemporaryDirectory() as directory:
                for name, content in files.items():
                    (Path(directory) / Path(name).name).write_bytes(content)
                self.from_disk(directory)
        return self

    def to_disk(self, path: str | Path) -> None:
        """Write the engine's directory."""
        if self.engine is None:
            return
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        # Weights may be mapped from the very files that are written: these are replaced whole.
        with tempfile.TemporaryDirectory(dir=path.parent) as written:
            self.engine.to_disk(Path(written))
            for file in sorted(Path(written).iterdir()):
                file.replace(path / file.name)

    def from_disk(self, path: str | Path) -> EngineShim:
        """Read an engine's directory."""
        self.set_engine(self.load(Path(path), get_torch_default_device()))
        return self

    def copy(self) -> EngineShim:
        """A shim with an engine of its own."""
        return EngineShim(self.load).from_bytes(self.to_bytes())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.load, self.to_bytes())


def add_gradients(weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Add gradients to those of the weights, to all of them or, if memory runs out, to none.

    So what failed can be done again. autograd itself adds up on its way through the model.
    """
    # Copied, since gradients of several weights may be the same tensor.
    added = [
        gradient.clone() if weight.grad is None and gradient is not None else gradient
        for weight, gradient in zip(weights, gradients, strict=True)
    ]
    for weight, gradient in zip(weights, added, strict=True):
        if gradient is not None and weight.grad is not None:
            weight.grad += gradient
        elif gradient is not None:
            weight.grad = gradient


def _restore(load: Load, data: bytes) -> EngineShim:
    return EngineShim(load).from_bytes(data)


def engine_model(
    name: str, pretrained: Callable[[torch.device], Engine], load: Load
) -> Model[Sequence[Any], list[Floats2d]]:
    """A thinc model around an engine: batches in, logits of each batch out.

    pretrained: reads the engine that training begins with; called by `initialize`, so that a stored
    pipeline needs it no more. load: see `EngineShim`. Both must be picklable.
    """
    return Model(
        name,
        _forward,
        init=_init,
        attrs={"pretrained": pretrained},
        shims=[EngineShim(load)],
    )


def get_shim(model: Model[Any, Any]) -> EngineShim:
    """The shim of a model that `engine_model` made; ModelError if it is another."""
    if model.shims and isinstance(model.shims[0], EngineShim):
        return model.shims[0]
    raise ModelError(f"The model '{model.name}' has no engine: use a registered architecture.")


def has_engine(model: Model[Any, Any]) -> bool:
    """Whether a model that `engine_model` made was initialized or loaded."""
    return get_shim(model).engine is not None


def get_engine(model: Model[Any, Any]) -> Any:
    """The engine of a model; that which training begins with is read if there is none yet."""
    if not has_engine(model):
        model.initialize()
    return get_shim(model).engine


def _init(model: Model[Any, Any], X: Any = None, Y: Any = None) -> None:
    shim = get_shim(model)
    if shim.engine is None:
        shim.set_engine(model.attrs["pretrained"](get_torch_default_device()))


def _forward(
    model: Model[Any, Any], batches: Sequence[Any], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], Sequence[Any]]]:
    outputs, backprop = model.shims[0](batches, is_train)

    def backward(gradients: list[Floats2d]) -> Sequence[Any]:
        backprop(
            [
                xp2torch(gradient, device=output.device).to(output.dtype)
                for gradient, output in zip(gradients, outputs, strict=True)
            ]
        )
        return []

    return [cast(Floats2d, torch2xp(output.detach())) for output in outputs], backward
