"""Attention to a context and to one's own block, without a mask over the whole row.

A token's keys are in two places, its input's context and its block. Each part is computed by the
kernel that PyTorch has for whole matrices, which also gives the logarithm of the sum of
exponentials; with these, the two results become what one softmax over all keys gives (Dao et al.,
"FlashAttention", NeurIPS 2022, section 3.1). Backwards each part needs only the joint result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_FORWARD = "_scaled_dot_product_flash_attention_for_cpu"
_BACKWARD = "_scaled_dot_product_flash_attention_for_cpu_backward"


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring inputs of equal numbers of tokens: where they begin, how many they are, how
    many tokens each has, and how many of these, the first ones, are context."""

    start: int
    inputs: int
    length: int
    context: int

    def of(self, rows: Tensor) -> Tensor:
        """Shape (tokens, heads, size) to (inputs, heads, tokens of an input, size)."""
        part = rows[self.start : self.start + self.inputs * self.length]
        return part.unflatten(0, (self.inputs, self.length)).transpose(1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Bucket:
    """Blocks of similar lengths.

    index: the place in the row of each token, filled up with the block's first, shape (blocks,
    tokens). real: which are not filled up, in the flattened index. places: the places of these.
    mask: who sees whom, shape (blocks, 1, tokens, tokens).
    """

    index: Tensor
    real: Tensor
    places: Tensor
    mask: Tensor

    def of(self, rows: Tensor) -> Tensor:
        """Shape (tokens, heads, …) to (blocks, heads, tokens of a block, …)."""
        return rows[self.index].transpose(1, 2)


def available(query: Tensor) -> bool:
    """Whether there are kernels for such a tensor."""
    return query.device.type == "cpu" and hasattr(torch.ops.aten, _FORWARD)


class JointAttention(torch.autograd.Function):
    """Scaled dot-product attention in a row of inputs with blocks.

    apply(query, key, value, scale, groups, buckets): tensors of shape (tokens, heads, size); the
    result has the same shape and type. Computed in float32, in which the kernels are no slower
    than in bfloat16, and backwards several times as fast.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float | None,
        groups: list[Group],
        buckets: list[Bucket],
    ) -> Tensor:
        """Each part by itself, then both together."""
        inputs, dtype = (query, key, value), query.dtype
        query, key, value = query.float(), key.float(), value.float()
        kernel = getattr(torch.ops.aten, _FORWARD)
        outs, sums = [], []
        for group in groups:
            out, total = kernel(
                group.of(query),
                group.of(key)[:, :, : group.context],
                group.of(value)[:, :, : group.context],
                scale=scale,
            )
            outs.append(out.transpose(1, 2).flatten(0, 1))
            sums.append(total.transpose(1, 2).flatten(0, 1))
        out, total = _joined(outs), _joined(sums)
        for bucket in buckets:
            own, own_total = kernel(
                bucket.of(query),
                bucket.of(key),
                bucket.of(value),
                attn_mask=bucket.mask,
                scale=scale,
            )
            own = own.transpose(1, 2).flatten(0, 1)[bucket.real]
            own_total = own_total.transpose(1, 2).flatten(0, 1)[bucket.real]
            shared = total[bucket.places]
            both = torch.logaddexp(shared, own_total)
            share = (own_total - both).exp()[..., None]
            out[bucket.places] = torch.lerp(out[bucket.places], own, share)
            total[bucket.places] = both
        out = out.to(dtype)
        ctx.save_for_backward(*inputs, out, total)
        ctx.scale, ctx.groups, ctx.buckets = scale, groups, buckets
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of query, key and value, from each part with the joint result."""
        *inputs, total = ctx.saved_tensors
        query, key, value, out = (tensor.float() for tensor in inputs)
        kernel, grad = getattr(torch.ops.aten, _BACKWARD), grad.float().contiguous()
        grads = [torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)]
        for group in ctx.groups:
            parts = kernel(
                group.of(grad),
                group.of(query),
                group.of(key)[:, :, : group.context],
                group.of(value)[:, :, : group.context],
                group.of(out),
                group.of(total),
                0.0,
                False,
                scale=ctx.scale,
            )
            for table, part in zip(grads, parts, strict=True):
                group.of(table)[:, :, : part.shape[2]].copy_(part)
        for bucket in ctx.buckets:
            # What fills blocks up has no gradient, so that it gives none either.
            own = grad.new_zeros(bucket.index.numel(), *grad.shape[1:])
            own[bucket.real] = grad[bucket.places]
            parts = kernel(
                own.unflatten(0, bucket.index.shape).transpose(1, 2),
                bucket.of(query),
                bucket.of(key),
                bucket.of(value),
                bucket.of(out),
                bucket.of(total),
                0.0,
                False,
                attn_mask=bucket.mask,
                scale=ctx.scale,
            )
            for table, part in zip(grads, parts, strict=True):
                part = part.transpose(1, 2).flatten(0, 1)[bucket.real]
                table[bucket.places] += part
        return (*(table.to(inputs[0].dtype) for table in grads), None, None, None)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
