"""Inputs one behind the other in a single row, where only attention knows which is which.

Everything but attention treats tokens alike, so that a row needs no padding. Attention is taken
over where encoders call PyTorch's for it, and computed input by input. Weights of attention are not
dropped out in training; the encoder's other dropout stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .inputs import CONTEXT, Batch, IntArray
from .joint import Bucket, Group, JointAttention, available

_ATTENTION = torch.nn.functional.scaled_dot_product_attention
#: A bucket holds blocks of at least this share of the longest one's length.
_SIMILAR = 0.75


class Row:
    """Who sees whom in a batch.

    window: how far apart positions may be in layers with local attention, None without such.
    """

    def __init__(self, batch: Batch, device: torch.device, window: int | None = None) -> None:
        self._batch = batch
        self._device = device
        self._window = window
        self.groups = _groups(batch.lengths, batch.contexts)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """Attention of every token to what it sees; all of shape (tokens, heads, size)."""
        if available(query):
            found: Tensor = JointAttention.apply(
                query, key, value, scale, self.groups, self.buckets
            )
            return found
        return self._masked(query, key, value, scale, self._masks)

    def attend_near(self, query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
        """The same in a layer with local attention."""
        return self._masked(query, key, value, scale, self._near)

    def _masked(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float | None,
        masks: list[Tensor | None],
    ) -> Tensor:
        found = [
            _ATTENTION(
                group.of(query), group.of(key), group.of(value), attn_mask=mask, scale=scale
            ).transpose(1, 2).flatten(0, 1)
            for group, mask in zip(self.groups, masks, strict=True)
        ]  # fmt: skip
        return found[0] if len(found) == 1 else torch.cat(found)

    @cached_property
    def buckets(self) -> list[Bucket]:
        """The blocks of all inputs."""
        return _buckets(self._batch, self._device)

    @cached_property
    def _masks(self) -> list[Tensor | None]:
        """For each group None, or who sees whom, shape (inputs, 1, tokens, tokens)."""
        return [
            None if group.context == group.length else self._seen(group)[:, None]
            for group in self.groups
        ]

    @cached_property
    def _near(self) -> list[Tensor | None]:
        assert self._window is not None
        found: list[Tensor | None] = []
        for group, mask in zip(self.groups, self._masks, strict=True):
            positions = self._tensor(self._batch.positions, group)
            near = (positions[:, :, None] - positions[:, None, :]).abs() <= self._window
            if mask is not None:
                near = near & mask[:, 0]
            found.append(None if near.all() else near[:, None])
        return found

    def _seen(self, group: Group) -> Tensor:
        return seen(self._tensor(self._batch.blocks, group), self._tensor(self._batch.parts, group))

    def _tensor(self, column: IntArray, group: Group) -> Tensor:
        part = column[group.start : group.start + group.inputs * group.length]
        return torch.from_numpy(part).to(self._device).view(group.inputs, group.length)


class RowAttention(TorchFunctionMode):
    """While active, attention over one row of inputs, in whatever encoder.

    row: the inputs. local: the mask by which layers with local attention are known. `calls` counts
    how often attention was taken over.
    """

    def __init__(self, row: Row, local: Tensor | None = None) -> None:
        super().__init__()
        self.row = row
        self.local = local
        self.calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is not _ATTENTION:
            return func(*args, **(kwargs or {}))
        return self._attend(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        self.calls += 1
        if is_causal or query.shape != key.shape or query.shape[0] != 1:
            raise ValueError("This is no attention of a row to itself.")
        near = self.local is not None and attn_mask is self.local
        attend = self.row.attend_near if near else self.row.attend
        query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        return attend(query, key, value, scale).transpose(0, 1)[None]


def seen(blocks: Tensor, parts: Tensor) -> Tensor:
    """Who sees whom, from the second axis to the third; blocks, parts: shape (inputs, tokens)."""
    same_block = blocks[:, :, None] == blocks[:, None, :]
    shared_or_same = (parts == CONTEXT)[:, None, :] | (parts[:, :, None] == parts[:, None, :])
    return (blocks == CONTEXT)[:, None, :] | (same_block & shared_or_same)


def _groups(lengths: IntArray, contexts: IntArray) -> list[Group]:
    groups: list[Group] = []
    start = 0
    for length, context in zip(lengths.tolist(), contexts.tolist(), strict=True):
        last = groups[-1] if groups else None
        if last is not None and (last.length, last.context) == (length, context):
            groups[-1] = Group(last.start, last.inputs + 1, length, context)
        else:
            groups.append(Group(start, 1, length, context))
        start += length
    return groups


def _buckets(batch: Batch, device: torch.device) -> list[Bucket]:
    """Blocks sorted by length and cut where lengths differ too much."""
    inputs = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
    inside = np.flatnonzero(batch.blocks != CONTEXT)
    if not len(inside):
        return []
    # A block's tokens are neighbours; a new one begins where its number or the input changes.
    change = (np.diff(batch.blocks[inside]) != 0) | (np.diff(inputs[inside]) != 0)
    first = np.concatenate([[0], np.flatnonzero(change) + 1])
    lengths = np.diff([*first, len(inside)])
    starts = inside[first]
    order = np.argsort(-lengths, kind="stable")
    buckets = []
    while len(order):
        width = lengths[order[0]]
        size = int(np.sum(lengths[order] >= _SIMILAR * width))
        buckets.append(_bucket(batch.parts, starts[order[:size]], lengths[order[:size]], device))
        order = order[size:]
    return buckets


def _bucket(parts: IntArray, starts: IntArray, lengths: IntArray, device: torch.device) -> Bucket:
    steps = np.arange(lengths.max())
    real = steps < lengths[:, None]
    index = starts[:, None] + np.where(real, steps, 0)
    part = parts[index]
    sees = (part == CONTEXT)[:, None, :] | (part[:, :, None] == part[:, None, :])
    mask = np.where(sees & real[:, None, :], np.float32(0), np.float32(-np.inf))
    return Bucket(
        torch.from_numpy(index).to(device),
        torch.from_numpy(np.flatnonzero(real)).to(device),
        torch.from_numpy(index[real]).to(device),
        torch.from_numpy(mask).to(device)[:, None],
    )
