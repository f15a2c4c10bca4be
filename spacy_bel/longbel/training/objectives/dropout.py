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


def set_dropout(network: nn.Module, share: float) -> None:
    """Drop that share of values wherever the network drops any, but in adapters."""
    for name, module in network.named_modules():
        if "lora_" in name:
            continue
        if isinstance(module, nn.Dropout):
            module.p = share
        for attribute in _SHARES:
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, share)
