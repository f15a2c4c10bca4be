"""The thinc model of `bel_crossencoder`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from thinc.api import Model

from ..default import default_encoder_directory
from ..torch_shim import engine_model
from .layouts import Layout
from .scorer import CrossEncoder, Dtype


def crossencoder_model(encoder: str | None, layout: Layout, dtype: Dtype) -> Model[Any, Any]:
    """A model that reads mention and candidate together: packed inputs in, logits out.

    encoder: directory or hub id of a transformer encoder with a mask token, or of a cross-encoder,
        read when training begins; all-MiniLM-L6-v2 of the extra "default-model" if None.
    dtype: the arithmetic; weights stay in float32.
    """
    return engine_model(
        "crossencoder",
        partial(_pretrained, encoder, layout, dtype),
        partial(_load, layout, dtype),
    )


def _pretrained(
    encoder: str | None, layout: Layout, dtype: Dtype, device: torch.device
) -> CrossEncoder:
    return CrossEncoder.from_pretrained(
        default_encoder_directory() if encoder is None else encoder,
        layout,
        device=str(device),
        dtype=dtype,
    )


def _load(layout: Layout, dtype: Dtype, path: Path, device: torch.device) -> CrossEncoder:
    return CrossEncoder.from_pretrained(path, layout, device=str(device), dtype=dtype)
