"""Models and tokenizers of transformers, from directories and the hub, read safely."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from . import hub
from .errors import ModelError


def load_pretrained(
    kind: Any, weights: str | Path, **options: Any
) -> tuple[Any, dict[str, Any], Any]:
    """Model, what its weights lack (as transformers reports it), and tokenizer.

    kind: an auto class of transformers, such as AutoModel. weights: a directory, or a hub id, which
    is read from the cache if it is there. options: further arguments of ``from_pretrained``.
    Nothing is unpickled: weights come from safetensors, or from a ``pytorch_model.bin`` that torch
    reads as weights only. No remote code is run. Raises ModelError for what is no model or cannot
    be read safely, and whatever transformers raises for files that are damaged.
    """
    load = partial(_load, kind, options)
    if Path(weights).is_dir():
        return load(weights, safetensors=_has_safetensors(weights))
    hub_id = str(weights)
    hub.check_id(hub_id)
    cached = hub.cached_directory(hub_id)
    if cached is not None:
        # By its directory, as transformers asks the hub for adapters whatever it is told.
        with suppress(OSError, ModelError):  # something is not in the cache
            return load(cached, safetensors=_has_safetensors(cached))
    hub.check_reachable(hub_id)
    return load(hub_id, safetensors=True)


def _load(
    kind: Any, options: dict[str, Any], weights: str | Path, *, safetensors: bool, **place: Any
) -> tuple[Any, dict[str, Any], Any]:
    tokenizer = AutoTokenizer.from_pretrained(weights, trust_remote_code=False, **place)
    load = partial(
        kind.from_pretrained,
        weights,
        **{**options, **place, "trust_remote_code": False, "output_loading_info": True},
    )
    if safetensors:
        try:
            return (*load(use_safetensors=True), tokenizer)
        except OSError:
            if Path(weights).is_dir():
                raise
        # A published model of the time before safetensors.
        _check_torch(weights)
    return (*load(use_safetensors=False, weights_only=True), tokenizer)


def _has_safetensors(weights: str | Path) -> bool:
    files = {file.name for file in Path(weights).iterdir()}
    if any(name.endswith((".safetensors", ".safetensors.index.json")) for name in files):
        return True
    if not files & {"pytorch_model.bin", "pytorch_model.bin.index.json"}:
        raise ModelError(
            f"'{weights}' has no model.safetensors. Copy the weights of the model into it, or "
            "convert them: AutoModel.from_pretrained(…).save_pretrained(…)."
        )
    _check_torch(weights)
    return False


def _check_torch(weights: str | Path) -> None:
    # Older versions can be made to run code even when told to read weights only (CVE-2025-32434).
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < (2, 6):
        raise ModelError(
            f"'{weights}' has only a pytorch_model.bin, which torch {torch.__version__} cannot "
            "read safely: update to torch 2.6, or convert the weights to safetensors there."
        )
