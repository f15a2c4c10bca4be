"""The thinc model of `bel_setwise`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from thinc.api import Model

from ..errors import ModelError
from ..longbel.models.loading import ModelReference, resolve_model
from ..torch_shim import engine_model
from .engine import LetterEngine


def letter_model(
    reference: ModelReference, *, options: int, device: str | None, dtype: str | None
) -> Model[Any, Any]:
    """A model that answers with letters: prompts in, logits of letters out.

    reference: see `resolve_model`; read when it is needed, and not from a stored pipeline. options:
    see `LetterEngine`. device, dtype: see `CausalLanguageModel.from_pretrained`.
    """
    return engine_model(
        "setwise",
        partial(_pretrained, reference, options, device, dtype),
        partial(_load, options, device, dtype),
    )


def _pretrained(
    reference: ModelReference,
    options: int,
    device: str | None,
    dtype: str | None,
    default: torch.device,
) -> LetterEngine:
    if reference is None:
        raise ModelError(
            "bel_setwise has no default model: set its setting model to the directory or hub id of "
            "a causal language model that follows instructions."
        )
    return LetterEngine(
        resolve_model(reference, device=_device(device, default), dtype=dtype), options
    )


def _load(
    options: int, device: str | None, dtype: str | None, path: Path, default: torch.device
) -> LetterEngine:
    return LetterEngine(resolve_model(path, device=_device(device, default), dtype=dtype), options)


def _device(wanted: str | None, default: torch.device) -> str | None:
    # thinc's default is the processor unless a GPU was asked for; language models look for one.
    return wanted or (str(default) if default.type != "cpu" else None)
