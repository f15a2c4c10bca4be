"""The objective of copy networks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ....errors import SettingsError
from ...models.copy_lm import CopyNetwork, mention_region
from ..sequence import TokenSequence
from .base import Judged, Objective
from .packing import Bucket, Pack, pack

#: What takes the place of minus infinity, and keeps the backward pass free of NaN.
_NEVER = -1e4


class _Mentions(NamedTuple):
    """What can be copied at each of the asked places.

    places: int64 (t, m), in the row. ids: int64 (t, m). valid: bool (t, m).
    """

    places: Tensor
    ids: Tensor
    valid: Tensor


class CopyObjective(Objective):
    """Log-probabilities under a copy network.

    What can be copied before a learned token is the last mention in brackets of the prompt before
    its name. network: trained in place. dropout: behind the embeddings and every part of a layer;
    none if None. gradient_checkpointing: see `objective_of`.
    """

    def __init__(
        self,
        network: CopyNetwork,
        *,
        dropout: float | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.dropout = dropout or 0.0
        self.gradient_checkpointing = gradient_checkpointing

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.bias.device

    def forward(self, batch: Sequence[TokenSequence]) -> Tensor:
        """As in `Objective`."""
        packed = pack(batch, self.device)
        mentions = self._mentions(packed)
        asked, keys = self._states(packed, mentions)
        network = self.network
        logits = F.linear(network.transform(asked), network.tokens.weight, network.bias)
        written = -F.cross_entropy(logits.float(), packed.targets, reduction="none")
        if mentions.ids.shape[1]:
            gate = network.gate(asked).float()[:, 0]
            pointer = torch.bmm(keys, network.copy_query(asked)[:, :, None])[..., 0].float()
            pointer = pointer / network.config.copy_size**0.5
            pointer = pointer.masked_fill(~mentions.valid, _NEVER).log_softmax(-1)
            # A token that occurs twice in the mention collects the mass of both positions.
            same = mentions.valid & (mentions.ids == packed.targets[:, None])
            copied = pointer.masked_fill(~same, _NEVER).logsumexp(-1) + F.logsigmoid(-gate)
            mixed = torch.logaddexp(written + F.logsigmoid(gate), copied)
            written = torch.where(mentions.valid.any(1), mixed, written)
        return packed.restored(written)

    @torch.no_grad()
    def judge(self, batch: Sequence[TokenSequence]) -> Judged:
        """As in `Objective`."""
        packed = pack(batch, self.device)
        mentions = self._mentions(packed)
        asked, keys = self._states(packed, mentions)
        scores = self.network.log_probs(asked[:, None], keys, mentions.ids, mentions.valid)[:, 0]
        found = scores.gather(1, packed.targets[:, None])[:, 0]
        best = scores.argmax(-1) == packed.targets
        return Judged(packed.restored(found), packed.restored(best))

    def _states(self, packed: Pack, mentions: _Mentions) -> tuple[Tensor, Tensor]:
        """States (t, hidden) before learned tokens; keys (t, m, copy) of what can be copied."""
        network = self.network
        masks = [self._mask(packed, bucket) for bucket in packed.buckets]
        states = network.tokens(packed.ids) + network.positions(packed.positions)
        states = self._drop(network.norm(states))
        # Of the last layer nothing else is looked at.
        needed = torch.cat([packed.asked, mentions.places.flatten()]).unique()
        last = len(network.layers) - 1
        for index, layer in enumerate(network.layers):
            read = partial(self._layer, layer, packed, masks, needed if index == last else None)
            if self.gradient_checkpointing and self.training:
                states = checkpoint(read, states, use_reentrant=False)
            else:
                states = read(states)
        asked = states.index_select(0, torch.searchsorted(needed, packed.asked))
        places = torch.searchsorted(needed, mentions.places)
        shown, inverse = places.unique(return_inverse=True)
        keys = network.copy_key(states.index_select(0, shown))
        keys = keys.index_select(0, inverse.flatten())
        return asked, keys.view(*inverse.shape, network.config.copy_size)

    def _layer(
        self,
        layer: nn.Module,
        packed: Pack,
        masks: Sequence[Tensor],
        needed: Tensor | None,
        states: Tensor,
    ) -> Tensor:
        size = states.shape[-1]
        heads: int = layer.heads  # type: ignore[assignment]
        split = layer.qkv(states).view(len(states), 3, heads, size // heads)  # type: ignore[operator]
        found = []
        for bucket, mask in zip(packed.buckets, masks, strict=True):
            query, key, value = bucket.side_by_side(split).permute(2, 0, 3, 1, 4)
            # PyTorch's fused kernel is slow backwards on a CPU when sequences are short.
            scores = (query @ key.transpose(2, 3)) * query.shape[-1] ** -0.5
            read = scores.masked_fill(~mask, _NEVER).softmax(-1).to(value.dtype) @ value
            found.append(bucket.in_a_row(read.transpose(1, 2).flatten(2)))
        read = torch.cat(found)
        if needed is not None:
            read, states = read.index_select(0, needed), states.index_select(0, needed)
        states = layer.attention_norm(states + self._drop(layer.out(read)))  # type: ignore[operator]
        deep = layer.down(F.gelu(layer.up(states)))  # type: ignore[operator]
        return layer.output_norm(states + self._drop(deep))  # type: ignore[operator]

    def _drop(self, states: Tensor) -> Tensor:
        return F.dropout(states, self.dropout, self.training) if self.dropout else states

    def _mask(self, packed: Pack, bucket: Bucket) -> Tensor:
        """Who reads whom, bool, (width, width) or (rows, 1, width, width)."""
        width = bucket.width
        mask = torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        if not self.network.config.bidirectional:
            return mask
        prompts = []
        for start, each in zip(packed.starts, packed.sequences, strict=True):
            if len(each.learned) > 1:
                raise SettingsError(
                    "A model that reads prompts in both directions cannot learn one running "
                    "stream: choose a format with one prompt per mention."
                )
            if bucket.start <= start < bucket.stop:
                prompts.append(each.learned[0][0])
        inside = torch.arange(width) < torch.tensor(prompts)[:, None]
        whole = (inside[:, :, None] & inside[:, None, :]).to(self.device)
        return (mask | whole)[:, None]

    def _mentions(self, packed: Pack) -> _Mentions:
        config = self.network.config
        regions = []
        for start, each in zip(packed.starts, packed.sequences, strict=True):
            ids = each.ids.tolist()
            for a, b in each.learned:
                begin, end = mention_region(ids[:a], config.open_id, config.close_id)
                regions.append((start + begin, each.ids[begin:end], b - a))
        width = max(len(ids) for _, ids, _ in regions)
        places, shown = np.zeros((2, len(regions), width), np.int64)
        valid = np.zeros((len(regions), width), bool)
        for row, (begin, ids, _) in enumerate(regions):
            places[row, : len(ids)] = np.arange(begin, begin + len(ids))
            shown[row, : len(ids)] = ids
            valid[row, : len(ids)] = True
        repeats = [count for _, _, count in regions]
        tensors = (torch.from_numpy(a.repeat(repeats, 0)) for a in (places, shown, valid))
        return _Mentions(*(each.to(self.device) for each in tensors))
