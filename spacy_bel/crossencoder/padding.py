"""Inputs side by side, filled up to one length, for encoders that cannot read them in a row.

Architectures take a mask per pair of tokens in different forms, and some take none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .inputs import CONTEXT, Batch, IntArray
from .positions import first_position, local_attention, masks_given, token_types
from .rows import seen

_PADDING = -2


class Padded:
    """A batch with padding.

    padding: the token id to fill up with. real: which are tokens. ids, positions, blocks, parts:
    see `Batch`. All of shape (inputs, tokens).
    """

    def __init__(self, batch: Batch, device: torch.device, padding: int = 0) -> None:
        lengths = torch.from_numpy(batch.lengths).to(device)
        self.real = torch.arange(int(batch.lengths.max()), device=device) < lengths[:, None]
        self.ids = self._table(batch.ids, padding)
        self.positions = self._table(batch.positions, 0)
        self.blocks = self._table(batch.blocks, _PADDING)
        self.parts = self._table(batch.parts, CONTEXT)

    def _table(self, column: IntArray, padding: int) -> Tensor:
        table = torch.full(self.real.shape, padding, device=self.real.device)
        table[self.real] = torch.from_numpy(column).to(self.real.device)
        return table

    @property
    def seen(self) -> Tensor:
        """Who sees whom, shape (inputs, tokens, tokens).

        Padding sees the context, since a token that sees nothing gives NaN.
        """
        return seen(self.blocks, self.parts)


PaddedForward = Callable[[Any, Padded], Any]


def plain_forward(network: Any, inputs: Padded) -> Any:
    """What a model says with full attention."""
    return network(input_ids=inputs.ids, attention_mask=inputs.real.long())


def _matrix(network: Any, inputs: Padded) -> Any:
    return network(
        input_ids=inputs.ids, attention_mask=inputs.seen.long(), **_more(network, inputs)
    )


def _added(network: Any, inputs: Padded) -> Any:
    mask = _addend(inputs.seen, network.dtype)
    return network(input_ids=inputs.ids, attention_mask=mask, **_more(network, inputs))


def _local_and_global(network: Any, inputs: Padded) -> Any:
    """ModernBERT: some layers see only tokens near by, and near is a matter of position."""
    encoder, positions, everything = network.base_model, inputs.positions, inputs.seen
    distance = (positions[:, :, None] - positions[:, None, :]).abs()
    near = everything & (distance <= encoder.config.local_attention // 2)
    # Padding far from the context would see nothing.
    near = near | (~inputs.real)[:, :, None]
    masks = _addend(everything, encoder.dtype), _addend(near, encoder.dtype)
    with masks_given(encoder, masks):
        return network(
            input_ids=inputs.ids,
            attention_mask=torch.ones_like(inputs.ids),
            position_ids=positions,
        )


def block_ways(encoder: Any) -> list[PaddedForward]:
    """What may work for block attention."""
    if hasattr(encoder, "_update_attention_mask"):
        return [_local_and_global]
    if local_attention(encoder):
        return []  # it would go by places in the input, not by positions
    return [_matrix, _added]


def _more(network: Any, inputs: Padded) -> dict[str, Tensor]:
    positions = inputs.positions + first_position(network.base_model)
    return {"position_ids": positions, **token_types(network, inputs.ids)}


def _addend(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the weights of attention so that only what is allowed is seen."""
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill(~allowed, torch.finfo(dtype).min)[:, None]
