"""How a generator is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, get_args

from ...errors import SettingsError

Dtype = Literal["float32", "bfloat16"]
Schedule = Literal["linear", "cosine", "constant"]

_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters (Hu et al. 2022, arXiv 2106.09685), added to the weights at the end.

    rank: of the adapters. alpha: what they add is multiplied by ``alpha / rank``. dropout: of what
    they read. targets: ends of the names of the layers that have one; None for every linear layer
    but the output layer.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.targets is not None:
            object.__setattr__(self, "targets", tuple(self.targets))
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise SettingsError(
                "lora needs a rank of at least 1, an alpha above 0 and a dropout from 0 to below "
                f"1, not {self.rank}, {self.alpha} and {self.dropout}."
            )


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of `train`.

    learning_rate: highest, of AdamW. schedule: how it falls after the warm-up: to zero by a line or
        a cosine, or not at all. warmup: steps in which it rises; a share of the run if below 1.
    weight_decay: of weights, not of biases and norms. betas, epsilon: of AdamW.
    max_grad_norm: longer gradients are shortened to it.
    epochs, max_steps, minutes: the run ends with the first of them that is reached.
    batch_tokens: tokens read for one step of the optimizer, in all processes together.
    micro_batch_tokens: tokens that a process reads at once; the step's other tokens follow before
        the optimizer steps. None for all. Halved, with a warning, where memory runs out.
    dropout: share of values that are dropped; None for what the model has by itself.
    label_smoothing: share of a learned token's weight that all tokens get alike.
    dtype: "bfloat16" to run matrix products in 16 bits; weights stay in the precision that the
        model was loaded with.
    gradient_checkpointing: compute layers again in the backward pass rather than keep their states.
    lora: train adapters instead of all weights; a `LoraSettings` or its values.
    checkpoint_every: steps between checkpoints; 0 for one at each evaluation only.
    eval_every: steps between evaluations; 0 for one after each epoch.
    patience: stop after so many evaluations that were not better than the best; 0 for never.
    seed: of everything that is drawn; equal seeds give equal weights on one thread of a processor.

    Raises SettingsError for a setting that cannot be used.
    """

    learning_rate: float = 3e-5
    schedule: Schedule = "linear"
    warmup: float = 0.03
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    epochs: int | None = None
    max_steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 16_384
    micro_batch_tokens: int | None = None
    dropout: float | None = None
    label_smoothing: float = 0.0
    dtype: Dtype = "float32"
    gradient_checkpointing: bool = False
    lora: LoraSettings | None = None
    checkpoint_every: int = 500
    eval_every: int = 0
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.lora, Mapping):
            object.__setattr__(self, "lora", from_mapping(LoraSettings, self.lora, "lora"))
        object.__setattr__(self, "betas", tuple(self.betas))
        for name in ("learning_rate", "max_grad_norm", "epsilon", "batch_tokens"):
            self._check(name, getattr(self, name) > 0, "more than 0")
        for name in ("epochs", "max_steps", "minutes", "micro_batch_tokens"):
            value = getattr(self, name)
            self._check(name, value is None or value > 0, "more than 0, or null")
        for name in ("warmup", "weight_decay", "checkpoint_every", "eval_every", "patience"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        self._check("dropout", self.dropout is None or 0 <= self.dropout < 1, "0 to below 1")
        self._check("label_smoothing", 0 <= self.label_smoothing < 1, "0 to below 1")
        self._check(
            "betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two below 1"
        )
        for name, choices in (("dtype", Dtype), ("schedule", Schedule)):
            allowed = get_args(choices)
            self._check(name, getattr(self, name) in allowed, " or ".join(map(repr, allowed)))
        if self.epochs is self.max_steps is self.minutes is None:
            raise SettingsError("Nothing ends the training: set epochs, max_steps or minutes.")

    def _check(self, name: str, right: bool, wanted: str) -> None:
        value = getattr(self, name)
        finite = not isinstance(value, float) or math.isfinite(value)
        if not right or not finite:
            raise SettingsError(f"{name} is {value!r}: give {wanted}.")


def from_mapping(kind: type[_Settings], values: Mapping[str, Any], section: str) -> _Settings:
    """Settings of a configuration. Raises SettingsError for a name or value that is not one."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"use {', '.join(known)}."
            raise SettingsError(f"[{section}] has no setting '{name}': {hint}")
    try:
        return kind(**values)
    except TypeError as error:
        raise SettingsError(f"[{section}] has a value of the wrong type: {error}") from error
