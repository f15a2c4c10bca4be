"""What a training run needs to go on after an interruption."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .disk import is_full
from .errors import FingerprintMismatchError, TrainingError

_MODEL, _OPTIMIZER = "model.", "optimizer."


class Checkpoint:
    """Weights, optimizer and history of a run, in the one file ``<output>.checkpoint``.

    run: what the run is made from; a checkpoint of another run is refused.
    """

    def __init__(self, output: Path, run: dict[str, Any]) -> None:
        self.path = output.with_name(f"{output.name}.checkpoint")
        self.run_id = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()

    def save(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, history: list[Any]
    ) -> None:
        """Replace the checkpoint by this state, whole or not at all.

        Raises TrainingError if there is no room; the state before is then still there.
        """
        tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
        for parameter, values in optimizer.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"{_OPTIMIZER}{parameter}.{name}"] = value
        # Clones, since tensors that share memory are refused.
        tensors = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        metadata = {"run": self.run_id, "history": json.dumps(history)}
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            with disk_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                save_file(tensors, part, metadata)
                part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)

    def restore(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[Any] | None:
        """Take up the state that was saved; returns its history, None if there is no state.

        Raises FingerprintMismatchError if it belongs to a run with other settings.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as stored:
                metadata = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"{self.path} is no checkpoint of this version ({error}): delete it to start again."
            ) from error
        if metadata.get("run") != self.run_id:
            raise FingerprintMismatchError(
                f"{self.path} belongs to a run with other settings, names, development mentions or "
                "encoder: go on with those, or delete it to start again."
            )
        weights, state = _parted(tensors)
        model.load_state_dict(weights)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        history: list[Any] = json.loads(metadata["history"])
        return history

    def remove(self) -> None:
        """Delete the checkpoint, when the run is over."""
        self.path.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing into one that says what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if is_full(error):
            free = shutil.disk_usage(path.parent).free / 1e6
            raise TrainingError(
                f"No space left to write {path} ({free:,.0f} MB are free). What was there before "
                "is unchanged: make room and start the same run again, and it goes on."
            ) from error
        raise TrainingError(f"Cannot write {path}: {error}") from error


def _parted(
    tensors: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[int, dict[str, torch.Tensor]]]:
    """Weights by name, and the state of the optimizer by parameter."""
    weights: dict[str, torch.Tensor] = {}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(_MODEL):
            weights[key.removeprefix(_MODEL)] = tensor
        else:
            parameter, name = key.removeprefix(_OPTIMIZER).split(".")
            state.setdefault(int(parameter), {})[name] = tensor
    return weights, state
