"""Low-rank adapters: a few weights that are trained while those of the model stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from ..errors import MissingExtraError, SettingsError

_ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """LoRA (Hu et al. 2022, arXiv 2106.09685) on every linear layer but the output layer.

    rank: of the adapters. alpha: what they add is multiplied by ``alpha / rank``.
    """

    rank: int = 16
    alpha: float = 32.0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0:
            raise SettingsError(
                "lora needs a rank of at least 1 and an alpha above 0, not "
                f"{self.rank} and {self.alpha}."
            )


def add_adapters(model: Any, settings: LoraSettings, seed: int = 0) -> None:
    """Put adapters into a model, which train in float32; all other weights are frozen.

    The model answers as before until they are trained. seed: for the adapters. Raises
    MissingExtraError without peft.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError(
            "LoRA needs peft: pip install 'spacy-bel[train]', or set lora to null to train all "
            "weights."
        ) from error
    config = LoraConfig(
        r=settings.rank,
        # peft declares a whole number, and divides it.
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        # Only a beginning, so that there is a place for dropout: each update sets its own.
        lora_dropout=0.1,
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def has_adapters(model: Any) -> bool:
    """Whether a model carries adapters."""
    return any(hasattr(module, "lora_A") for module in model.modules())


def save_merged(model: Any, path: Path) -> None:
    """Write a model as transformers does, with its adapters added to the weights they belong to.

    The model itself is left as it is, so that training goes on with the very same numbers.
    """
    if not has_adapters(model):
        model.save_pretrained(path, safe_serialization=True)
    else:
        model.save_pretrained(path, safe_serialization=True, state_dict=_merged(model))


@torch.no_grad()
def _merged(model: Any) -> dict[str, Tensor]:
    state = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in model.state_dict().items()
        if ".lora_" not in name
    }
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            weight = module.get_base_layer().weight
            merged = weight.float() + module.get_delta_weight(_ADAPTER).float()
            # One layer at a time leaves the device, where there may be no room for a second model.
            state[f"{name}.weight"] = merged.to(weight.dtype).cpu()
    return state
