"""How an encoder is told who sees whom.

Architectures take a mask per pair of tokens in different forms, and some take none, or compute
positions themselves. What works is found by trying, on a few tokens, when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from spacy_bel.errors import ModelError

Forward = Callable[[Any, Tensor, Tensor, Tensor], Any]

_TOLERANCE = 1e-4


def plain_forward(network: Any, ids: Tensor, seen: Tensor) -> Any:
    """What a model says with full attention; ids, seen: shape (inputs, tokens)."""
    return network(input_ids=ids, attention_mask=seen.long())


def block_forward(model: Any) -> Forward:
    """A function (network, ids, seen, positions) that runs a model with block attention.

    model: a model of transformers with a head; network: it, or its encoder. ids, positions: shape
    (inputs, tokens). seen: shape (inputs, tokens, tokens). Raises ModelError if the model cannot.
    """
    offset = _position_offset(model.base_model)
    encoder = model.base_model
    if hasattr(encoder, "_update_attention_mask"):
        ways: list[Forward] = [_local_and_global]
    elif getattr(model.config, "local_attention", None) or getattr(
        model.config, "sliding_window", None
    ):
        ways = []  # local attention would go by places in the input, not by positions
    else:
        ways = [_matrix, _added]
    for way in ways:
        if _independent(encoder, way, offset):
            return lambda network, ids, seen, positions: way(network, ids, seen, positions + offset)
    raise ModelError(
        f"An encoder of the kind {model.config.model_type!r} cannot be given block attention: use "
        'attention="full", or an encoder such as BERT, RoBERTa, XLM-R or ModernBERT.'
    )


def longest_input(model: Any) -> int:
    """How many tokens a model can tell apart by position."""
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is None or longest < 0:
        return 1 << 30
    return int(longest) - _position_offset(model.base_model)


def _position_offset(encoder: Any) -> int:
    """The position of the first token: the RoBERTa family counts from behind its padding."""
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def _matrix(network: Any, ids: Tensor, seen: Tensor, positions: Tensor) -> Any:
    return network(
        input_ids=ids, attention_mask=seen.long(), position_ids=positions, **_types(network, ids)
    )


def _added(network: Any, ids: Tensor, seen: Tensor, positions: Tensor) -> Any:
    dtype = network.dtype
    added = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    added = added.masked_fill(~seen, torch.finfo(dtype).min)[:, None]
    return network(
        input_ids=ids, attention_mask=added, position_ids=positions, **_types(network, ids)
    )


def _types(network: Any, ids: Tensor) -> dict[str, Tensor]:
    """Token types, where a model would only make them for as many tokens as it has positions."""
    if hasattr(getattr(network.base_model, "embeddings", None), "token_type_embeddings"):
        return {"token_type_ids": torch.zeros_like(ids)}
    return {}


def _local_and_global(network: Any, ids: Tensor, seen: Tensor, positions: Tensor) -> Any:
    """ModernBERT: some layers see only tokens near by, and near is a matter of position."""
    encoder = network.base_model
    distance = (positions[:, :, None] - positions[:, None, :]).abs()
    near = seen & (distance <= encoder.config.local_attention // 2)
    masks = []
    for allowed in (seen, near):
        added = torch.zeros(allowed.shape, dtype=encoder.dtype, device=ids.device)
        masks.append(added.masked_fill(~allowed, torch.finfo(encoder.dtype).min)[:, None])
    with _masks(encoder, (masks[0], masks[1])):
        return network(input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=positions)


@contextmanager
def _masks(encoder: Any, masks: tuple[Tensor, Tensor]) -> Iterator[None]:
    """Give an encoder its two masks, where it would make them from padding."""
    encoder._update_attention_mask = lambda *_, **__: masks
    try:
        yield
    finally:
        del encoder._update_attention_mask


def _independent(encoder: Any, way: Forward, offset: int) -> bool:
    """Whether the last of three blocks comes out as it does alone."""
    context, block = 5, 3
    device = next(encoder.parameters()).device
    size = context + 3 * block
    ids = torch.arange(size, device=device)[None] % (encoder.config.vocab_size - 1) + 1
    blocks = torch.arange(size, device=device) - context
    owner = torch.where(blocks < 0, -1, torch.div(blocks, block, rounding_mode="floor"))
    positions = torch.where(blocks < 0, blocks + context, context + blocks % block)[None]
    seen = ((owner == -1)[None, :] | (owner[:, None] == owner[None, :]))[None]
    alone = torch.cat([torch.arange(context), torch.arange(size - block, size)]).to(device)
    training = encoder.training
    encoder.eval()
    try:
        with torch.inference_mode():
            packed = way(encoder, ids, seen, positions + offset).last_hidden_state[:, alone]
            single = way(
                encoder, ids[:, alone], seen[:, alone][:, :, alone], positions[:, alone] + offset
            ).last_hidden_state
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    finally:
        encoder.train(training)
    return bool(torch.allclose(packed.float(), single.float(), atol=_TOLERANCE))
