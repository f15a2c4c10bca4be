"""The processes that train together; one, unless ``accelerate launch`` started more."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import MissingExtraError, SettingsError

#: Numbers that are sent at once; more would only cost memory.
_NUMBERS = 16_000_000


class Workers:
    """One process that trains by itself.

    rank: of this process. count: of all. Every method is called by all processes at once.
    """

    rank = 0
    count = 1

    @property
    def main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes."""

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers over all processes."""
        return list(values)

    def wait(self) -> None:
        """Return when all processes have come here."""


class AcceleratedWorkers(Workers):
    """The processes that ``accelerate launch`` started.

    accelerator: an `accelerate.Accelerator`; each process holds the whole model. Raises
    SettingsError where it is to be split among them.
    """

    def __init__(self, accelerator: Any) -> None:
        kind = str(getattr(accelerator.distributed_type, "value", accelerator.distributed_type))
        if kind in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
            raise SettingsError(
                f"accelerate is configured for {kind}, which splits a model among processes: here "
                "each holds the whole model. Configure plain multi-GPU training, and set lora, "
                "gradient_checkpointing or a smaller micro_batch_tokens if memory is short."
            )
        self.accelerator = accelerator
        self.rank = int(accelerator.process_index)
        self.count = int(accelerator.num_processes)

    @property
    def device(self) -> torch.device:
        """Where this process is to compute."""
        return self.accelerator.device  # type: ignore[no-any-return]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """As in `Workers`; few large messages instead of many small ones."""
        if self.count == 1:
            return
        together: list[Tensor] = []
        for i, tensor in enumerate(tensors):
            together.append(tensor)
            following = tensors[i + 1] if i + 1 < len(tensors) else None
            size = sum(t.numel() for t in together)
            if following is None or following.dtype != tensor.dtype or size > _NUMBERS:
                flat = self.accelerator.reduce(torch.cat([t.flatten() for t in together]), "sum")
                for t, part in zip(
                    together, flat.split([t.numel() for t in together]), strict=True
                ):
                    t.copy_(part.view_as(t))
                together = []

    def total(self, values: Sequence[float]) -> list[float]:
        """As in `Workers`."""
        device = self.device
        # Some devices have no float64: rounding to float32 is the same in every process.
        kind = torch.float32 if device.type == "mps" else torch.float64
        sums = self.accelerator.reduce(torch.tensor(values, dtype=kind, device=device), "sum")
        return [float(value) for value in sums]

    def wait(self) -> None:
        """As in `Workers`."""
        self.accelerator.wait_for_everyone()


def find_workers() -> Workers:
    """The processes that this one was started with.

    Raises MissingExtraError if there are several and accelerate is not installed, SettingsError if
    it does not know of them.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started == 1:
        return Workers()
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingExtraError(
            "Training in several processes needs accelerate: pip install 'spacy-bel[train]'."
        ) from error
    # Where there is no other device, several processors are only found if they are asked for.
    there = getattr(torch, "accelerator", torch.cuda).is_available()
    accelerator = Accelerator(cpu=not there)
    if accelerator.num_processes != started:
        raise SettingsError(
            f"{started} processes were started, but accelerate sees {accelerator.num_processes}: "
            "run `accelerate config` for this machine, or start one process."
        )
    return AcceleratedWorkers(accelerator)
