"""What an interrupted run needs to go on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...checkpoints import Checkpoint
from ...errors import FingerprintMismatchError, TrainingError
from .sequence import TokenSequence


@dataclass
class Progress:
    """Where a run stands.

    step: steps made. epoch: of the next step, from 0, of which the first `behind` steps are made.
    seconds: spent so far. loss, targets, tokens: since the last entry of the history. history: the
    figures of each evaluation. best: which of them was the best; -1 for none.
    """

    step: int = 0
    epoch: int = 0
    behind: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    targets: int = 0
    tokens: int = 0
    since: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: int = -1


class RunCheckpoint:
    """Trained weights, the best of them so far, optimizer and progress, in one file.

    The file is ``<output>.checkpoint``, and is replaced whole or not at all. parameters: what is
    trained; others are not stored. run: what the run is made from.
    """

    def __init__(
        self,
        output: Path,
        run: dict[str, Any],
        parameters: Sequence[nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._file = Checkpoint(output, run)
        self._parameters, self._optimizer = parameters, optimizer
        self._best: list[Tensor] = []

    @property
    def run_id(self) -> str:
        """What tells this run from others."""
        return self._file.run_id

    def keep_best(self) -> None:
        """Remember the weights as they are."""
        self._best = [p.detach().cpu().clone() for p in self._parameters]

    @torch.no_grad()
    def take_best(self) -> None:
        """Put the weights that were remembered back into the model."""
        for parameter, best in zip(self._parameters, self._best, strict=True):
            parameter.copy_(best)

    def save(self, progress: Progress) -> None:
        """Replace the checkpoint by this state.

        Raises TrainingError if there is no room; the state before is then still there.
        """
        self._file.save(self._weights(), self._optimizer, [asdict(progress)])

    def restore(self) -> Progress | None:
        """Take up the state that was saved; None if there is none.

        Raises FingerprintMismatchError if it is of another run, TrainingError if it is damaged.
        """
        if not self._file.path.exists():
            return None
        weights = _Weights(self._parameters, self._best)
        try:
            found = self._file.restore(weights, self._optimizer)
        except FingerprintMismatchError as error:
            raise FingerprintMismatchError(
                f"{self._file.path} belongs to a run with other settings, examples or weights to "
                "begin with: go on with those, or delete it to start again."
            ) from error
        except (RuntimeError, KeyError, ValueError) as error:
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(
                f"{self._file.path} is damaged ({error}): delete it to start again."
            ) from error
        self._best = [p.detach().cpu().clone() for p in weights.best]
        return Progress(**found[0]) if found else None

    def remove(self) -> None:
        """Delete the checkpoint, when the run is over."""
        self._file.remove()

    def _weights(self) -> nn.Module:
        return _Weights(self._parameters, self._best)


class _Weights(nn.Module):
    """Weights under numbers instead of names."""

    def __init__(self, trained: Sequence[nn.Parameter], best: Sequence[Tensor]) -> None:
        super().__init__()
        self.trained = nn.ParameterList(trained)
        self.best = nn.ParameterList(nn.Parameter(t, requires_grad=False) for t in best)

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Load weights, with the best ones if they are among them."""
        if any(name.startswith("best.") for name in state_dict) and not len(self.best):
            none = (nn.Parameter(torch.empty_like(p, device="cpu"), False) for p in self.trained)
            self.best = nn.ParameterList(none)
        return super().load_state_dict(state_dict, *args, **kwargs)


def fingerprint_of_sequences(sequences: Iterable[TokenSequence]) -> str:
    """sha256 over all tokens, and which of them are learned."""
    digest = hashlib.sha256()
    for each in sequences:
        source = np.empty(0, np.int32) if each.source is None else each.source
        learned = np.array(each.learned, np.int64).ravel()
        for part in (each.ids, learned, source):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


@torch.no_grad()
def fingerprint_of_weights(module: nn.Module) -> str:
    """sha256 over names, shapes and about 1,024 numbers of each weight: tells models apart."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().flatten()
        # All of a large model would take longer than its first step.
        some = flat[:: max(1, len(flat) // 1024)].float().cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(some).tobytes())
    return digest.hexdigest()
