"""What is learned: log-probabilities of names, with gradients, by kind of model."""

from __future__ import annotations

from typing import Any

from torch import nn

from ....errors import ModelError, SettingsError
from ...models.base import LanguageModel
from ...models.causal_lm import CausalLanguageModel
from ...models.copy_lm import CopyLanguageModel
from ...models.encoder_decoder import EncoderDecoderLanguageModel
from .base import FromLogits, Objective
from .causal_lm import CausalObjective
from .copy_lm import CopyObjective
from .encoder_decoder import EncoderDecoderObjective


def network_of(model: LanguageModel) -> nn.Module:
    """The network of a model, which holds all that is trained.

    Raises ModelError if models of its kind cannot be trained.
    """
    if isinstance(model, CopyLanguageModel):
        return model.network
    if isinstance(model, (CausalLanguageModel, EncoderDecoderLanguageModel)):
        return model.model  # type: ignore[no-any-return]
    raise ModelError(
        f"A {type(model).__name__} cannot be trained here. Train a copy model, a causal language "
        "model or an encoder-decoder."
    )


def objective_of(
    model: LanguageModel,
    *,
    dropout: float | None = None,
    gradient_checkpointing: bool = False,
    label_smoothing: float = 0.0,
) -> Objective:
    """The objective that trains a model in place.

    dropout: share of values that are dropped; None for what the model has by itself.
    gradient_checkpointing: compute layers again rather than keep what they computed.
    label_smoothing: see `FromLogits`. Raises ModelError if models of its kind cannot be trained,
    SettingsError if its output is no softmax over logits and labels are to be smoothed.
    """
    network = network_of(model)
    kind: Any = EncoderDecoderObjective
    if isinstance(model, CopyLanguageModel):
        kind = CopyObjective
    elif isinstance(model, CausalLanguageModel):
        kind = CausalObjective
    objective: Objective = kind(
        network, dropout=dropout, gradient_checkpointing=gradient_checkpointing
    )
    if isinstance(objective, FromLogits):
        objective.label_smoothing = label_smoothing
    elif label_smoothing:
        raise SettingsError(
            f"label_smoothing is {label_smoothing}, but the labels of a copy model cannot be "
            "smoothed: set it to 0."
        )
    return objective


__all__ = ["Objective", "network_of", "objective_of"]
