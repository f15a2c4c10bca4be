"""Low-rank adapters: a few weights that are trained while those of the model stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ...errors import MissingExtraError, SettingsError
from .settings import LoraSettings

_ADAPTER = "default"


class Adapters:
    """Adapters in a network, which train in float32; all other weights are frozen.

    The network answers as before until they are trained. network: gets them in place. seed: for
    their first weights. Raises MissingExtraError without peft, SettingsError if no layer is called
    as the settings say.
    """

    def __init__(self, network: nn.Module, settings: LoraSettings, seed: int = 0) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise MissingExtraError(
                f"LoRA needs peft ({error}): pip install -U 'spacy-bel[train]', or set lora to "
                "null to train all weights."
            ) from error
        layers = _linear_layers(network)
        if settings.targets is not None:
            layers = [n for n in layers if n.endswith(settings.targets)]
        if not layers:
            raise SettingsError(
                f"No linear layer of the model ends with one of {settings.targets}: set targets of "
                "lora to null for all, or to the ends of their names."
            )
        config = LoraConfig(
            r=settings.rank,
            # peft declares a whole number, and divides it.
            lora_alpha=settings.alpha,  # type: ignore[arg-type]
            lora_dropout=settings.dropout,
            target_modules=[f"network.{name}" for name in layers],
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in network.modules()),
        )
        self._network = network
        self._trained = [p for p in network.parameters() if p.requires_grad]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # Held by another module, since peft expects of a network's configuration what that of
            # a copy network has not.
            holder = nn.ModuleDict({"network": network})
            inject_adapter_in_model(config, holder, adapter_name=_ADAPTER)
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Within, the network is a plain one that answers as with its adapters."""
        before = [(module, _weight(module).cpu().clone()) for _, module in self._adapted()]
        layers = self._adapted()
        self._merge()
        try:
            yield
        finally:
            for name, module in layers:
                _put(self._network, name, module)
            with torch.no_grad():
                for module, weight in before:
                    _weight(module).copy_(weight)

    def merge(self) -> None:
        """Add the adapters to the weights that they belong to, and take them away."""
        self._merge()
        for parameter in self._trained:
            parameter.requires_grad_(True)

    @torch.no_grad()
    def _merge(self) -> None:
        for name, module in self._adapted():
            weight = _weight(module)
            delta = module.get_delta_weight(_ADAPTER).float()
            weight.copy_((weight.float() + delta.to(weight.device)).to(weight.dtype))
            _put(self._network, name, module.get_base_layer())

    def _adapted(self) -> list[tuple[str, Any]]:
        return [(n, m) for n, m in self._network.named_modules() if hasattr(m, "lora_A")]


def _linear_layers(network: nn.Module) -> list[str]:
    """Names of all linear layers but the one that writes."""
    find: Any = getattr(network, "get_output_embeddings", lambda: None)
    output = find()
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not output
    ]


def _weight(module: Any) -> Tensor:
    return module.get_base_layer().weight.data  # type: ignore[no-any-return]


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
