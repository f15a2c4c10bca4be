"""Segments one behind the other, for models whose attention can be taken over.

Everything but attention treats tokens alike, so that rows of any length stand in one row without
padding. Attention is taken over where a model calls PyTorch's for it, and computed row by row
against the row's keys and values, of which only those it reads are touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers.cache_utils import Cache

from .base import Segment
from .static_cache import StaticCache

_ATTENTION = torch.nn.functional.scaled_dot_product_attention
#: Segments of up to so many tokens are computed together where calls cost more than padding.
_NARROW = 32


class _Group(NamedTuple):
    """Segments whose attention is one call.

    rows: of the cache. tokens: int64 (r, q), where the row's tokens stand among all that are read;
    padding repeats the first. length: slots that are read. bias: (r, 1, q, length). taken: int64,
    which of the r * q results are of tokens. places: int64, where these tokens stand.
    """

    rows: slice | Tensor
    tokens: Tensor
    length: int
    bias: Tensor
    taken: Tensor | None
    places: Tensor


class RaggedCache(Cache):
    """Shows a `StaticCache` to a transformers model for one forward pass over segments."""

    def __init__(
        self,
        cache: StaticCache,
        segments: Sequence[Segment],
        dtype: torch.dtype,
        device: torch.device,
        *,
        join: bool,
    ) -> None:
        # Not the base class's: it sets up storage of its own, differently in each version.
        self.cache = cache
        self.layers: list[Any] = []  # transformers 5 looks for sliding windows among them
        self.layer = 0
        lengths = [len(segment.ids) for segment in segments]
        self.tokens = sum(lengths)
        starts = np.cumsum([0, *lengths[:-1]])
        rows = np.repeat([segment.row for segment in segments], lengths)
        self._rows = torch.from_numpy(rows).to(device)
        slots = np.concatenate([segment.slots for segment in segments])
        self._slots = torch.from_numpy(slots).to(device)
        self._groups = [
            _group(chosen, segments, starts, dtype, device)
            for chosen in _together(segments, join=join)
        ]

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Store a layer's keys and values, (1, heads, tokens, size)."""
        self.layer = layer_idx
        self.cache.write(key_states[0], value_states[0], layer_idx, self._rows, self._slots)
        return key_states, value_states

    def attend(self, query: Tensor, scale: float | None) -> Tensor:
        """What every token reads in the newest layer; query and result (1, heads, tokens, size)."""
        keys, values = self.cache.layer(self.layer)
        given = query.shape
        # A single token may come with its heads in groups, as many as there are heads of keys.
        query = query.reshape(1, -1, self.tokens, given[-1])
        result = torch.empty_like(query)
        for group in self._groups:
            key = keys[group.rows, :, : group.length]
            value = values[group.rows, :, : group.length]
            chosen = query[0][:, group.tokens].transpose(0, 1)  # (r, heads, q, size)
            found = _grouped(chosen, key, value, group.bias, scale)
            flat = found.transpose(0, 1).flatten(1, 2)
            result[0][:, group.places] = flat if group.taken is None else flat[:, group.taken]
        return result.reshape(given)

    def get_seq_length(self, layer_idx: int | None = 0) -> int:
        """None of what was read before stands in the row."""
        return 0

    def get_mask_sizes(self, cache_position: Any, layer_idx: int = 0) -> tuple[int, int]:
        """Tokens of the row, and where they begin."""
        return self.tokens, 0

    def get_max_cache_shape(self, *args: Any) -> int | None:
        """No limit."""
        return None


class RaggedAttention(TorchFunctionMode):
    """Answers calls of PyTorch's attention from a `RaggedCache`."""

    def __init__(self, cache: RaggedCache) -> None:
        super().__init__()
        self.cache = cache
        self.calls = 0

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not _ATTENTION:
            return func(*args, **kwargs)
        self.calls += 1
        query = args[0] if args else kwargs["query"]
        return self.cache.attend(query, kwargs.get("scale"))


def _together(segments: Sequence[Segment], *, join: bool) -> list[list[int]]:
    """Segments by the call that computes their attention."""
    if not join:
        return [[i] for i in range(len(segments))]
    narrow = [i for i, segment in enumerate(segments) if len(segment.ids) <= _NARROW]
    groups = [[i] for i, segment in enumerate(segments) if len(segment.ids) > _NARROW]
    return [*groups, *([narrow] if narrow else [])]


def _group(
    chosen: list[int],
    segments: Sequence[Segment],
    starts: np.ndarray,
    dtype: torch.dtype,
    device: torch.device,
) -> _Group:
    width = max(len(segments[i].ids) for i in chosen)
    length = max(segments[i].length for i in chosen)
    mask = np.zeros((len(chosen), width, length), bool)
    mask[:, :, 0] = True  # padding has to read something
    tokens = np.zeros((len(chosen), width), np.int64)
    taken = np.zeros((len(chosen), width), bool)
    for r, i in enumerate(chosen):
        segment = segments[i]
        q = len(segment.ids)
        tokens[r], taken[r, :q] = starts[i], True
        tokens[r, :q] = starts[i] + np.arange(q)
        mask[r, :q, 0] = False
        mask[r, :q, : segment.length] = segment.readable()
    seen = torch.from_numpy(mask).to(device)
    bias = torch.zeros(seen.shape, dtype=dtype, device=device)
    bias.masked_fill_(~seen, torch.finfo(dtype).min)
    rows = [segments[i].row for i in chosen]
    together = rows == list(range(rows[0], rows[0] + len(rows)))
    kept = np.flatnonzero(taken)
    return _Group(
        # A view of the cache, if it can be one.
        slice(rows[0], rows[0] + len(rows)) if together else torch.tensor(rows, device=device),
        torch.from_numpy(tokens).to(device),
        length,
        bias[:, None],
        None if taken.all() else torch.from_numpy(kept).to(device),
        torch.from_numpy(tokens[taken]).to(device),
    )


def _grouped(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float | None
) -> Tensor:
    """Attention (r, heads, q, size) where several query heads may share a key head.

    They are read as more queries of that head, so that keys and values are read once.
    """
    rows, heads, width, size = query.shape
    shared = heads // key.shape[1]
    if shared > 1:
        query = query.reshape(rows, key.shape[1], shared * width, size)
        bias = bias.repeat(1, 1, shared, 1)
    found = _ATTENTION(query, key, value, attn_mask=bias, scale=scale)
    return found.reshape(rows, heads, width, found.shape[-1])
