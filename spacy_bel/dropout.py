"""Dropout of models of transformers, which keep it in many places."""

from __future__ import annotations

from torch import nn

#: Attributes in which modules keep the share that their forward pass drops.
_SHARES = (
    "dropout",
    "dropout_prob",
    "dropout_rate",
    "attention_dropout",
    "activation_dropout",
    "hidden_dropout",
)


def set_dropout(network: nn.Module, share: float, *, adapters: bool = True) -> None:
    """Drop that share of values wherever a network drops any, that of attention included.

    adapters: also in low-rank adapters, which have a setting of their own.
    """
    for name, module in network.named_modules():
        if "lora_" in name and not adapters:
            continue
        if isinstance(module, nn.Dropout):
            module.p = share
        for attribute in _SHARES:
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, share)
