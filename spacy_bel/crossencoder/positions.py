"""What encoders differ in: where positions begin, token types, masks that they make themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def first_position(encoder: Any) -> int:
    """The position of the first token: the RoBERTa family counts from behind its padding."""
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def local_attention(encoder: Any) -> bool:
    """Whether some layers see only tokens near by."""
    names = ("local_attention", "sliding_window")
    return any(getattr(encoder.config, name, None) for name in names)


def token_types(network: Any, ids: Tensor) -> dict[str, Tensor]:
    """Token types, where a model would only make them for as many tokens as it has positions."""
    if hasattr(getattr(network.base_model, "embeddings", None), "token_type_embeddings"):
        return {"token_type_ids": torch.zeros_like(ids)}
    return {}


@contextmanager
def masks_given(encoder: Any, masks: tuple[Tensor | None, Tensor | None]) -> Iterator[None]:
    """Give ModernBERT its two masks, of all layers and of those with local attention, where it
    would make them from padding; other encoders are left alone."""
    if not hasattr(encoder, "_update_attention_mask"):
        yield
        return
    encoder._update_attention_mask = lambda *_, **__: masks
    try:
        yield
    finally:
        del encoder._update_attention_mask
