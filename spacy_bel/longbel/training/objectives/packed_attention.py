"""Attention within each of several sequences that stand in one row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .packing import Pack

_ATTENTION: Any = torch.nn.functional.scaled_dot_product_attention


class PackedAttention(TorchFunctionMode):
    """Answers calls of PyTorch's attention sequence by sequence, from left to right.

    calls: how many there were.
    """

    def __init__(self, packed: Pack) -> None:
        super().__init__()
        self.packed = packed
        self.calls = 0

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is not _ATTENTION:
            return func(*args, **kwargs)
        self.calls += 1
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        query, key, value = (given[name] for name in names[:3])
        kept = {k: given[k] for k in ("dropout_p", "scale", "enable_gqa") if given.get(k)}
        return self._attend(query, key, value, kept)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, options: Any) -> Tensor:
        """From and to (1, heads, tokens, size)."""
        tokens = [states[0].transpose(0, 1) for states in (query, key, value)]
        found = []
        for bucket in self.packed.buckets:
            rows = [bucket.side_by_side(states).transpose(1, 2) for states in tokens]
            # Padding is on the right, and so is seen by nothing else.
            read = _ATTENTION(*rows, is_causal=True, **options)
            found.append(bucket.in_a_row(read.transpose(1, 2)))
        return torch.cat(found).transpose(0, 1)[None]
