"""The objective of encoder-decoder models of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ....dropout import set_dropout
from ..sequence import TokenSequence
from .base import FromLogits

#: Sequences share a call if the shortest source has at least this share of the longest's tokens.
_SIMILAR = 0.75


class EncoderDecoderObjective(FromLogits):
    """Log-probabilities under an encoder-decoder: `source` is encoded, `ids` are decoded.

    Sequences stand side by side, those with sources of similar length together: encoders see both
    ways and have biases of their own, so that there is no attention that suits all. network: a
    sequence-to-sequence model of transformers, trained in place. dropout, gradient_checkpointing:
    see `objective_of`.
    """

    def __init__(
        self,
        network: Any,
        *,
        dropout: float | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        if dropout is not None:
            set_dropout(network, dropout, adapters=False)
        if gradient_checkpointing:
            network.gradient_checkpointing_enable({"use_reentrant": False})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device  # type: ignore[no-any-return]

    def logits(self, batch: Sequence[TokenSequence]) -> tuple[Tensor, Tensor]:
        """As in `FromLogits`."""
        order = sorted(range(len(batch)), key=lambda i: -len(_source(batch[i])))
        groups: list[list[int]] = []
        for i in order:
            longest = len(_source(batch[groups[-1][0]])) if groups else 0
            if not groups or len(_source(batch[i])) < _SIMILAR * longest:
                groups.append([])
            groups[-1].append(i)
        found: list[Tensor] = [torch.empty(0)] * len(batch)
        for group in groups:
            for i, logits in zip(group, self._read([batch[i] for i in group]), strict=True):
                found[i] = logits
        targets = [each.ids[a:b] for each in batch for a, b in each.learned]
        learned = torch.cat([torch.from_numpy(ids).long() for ids in targets])
        return torch.cat(found), learned.to(self.device)

    def _read(self, batch: Sequence[TokenSequence]) -> list[Tensor]:
        """Logits before the learned tokens of each sequence."""
        source, seen = self._side_by_side([_source(each) for each in batch])
        # What follows the last learned token is not read, nor is that token.
        read = [each.ids[: each.learned[-1][1] - 1] for each in batch]
        # Behind the tokens that are read, where no token that is looked at can see it.
        decoded, _ = self._side_by_side(read)
        logits = self.network(
            input_ids=source, attention_mask=seen, decoder_input_ids=decoded, use_cache=False
        ).logits
        return [
            torch.cat([logits[row, a - 1 : b - 1] for a, b in each.learned])
            for row, each in enumerate(batch)
        ]

    def _side_by_side(self, rows: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Ids (r, w), padded on the right, and what is no padding."""
        padding = self.network.config.pad_token_id or 0
        ids = torch.full((len(rows), max(map(len, rows))), padding)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.from_numpy(row)
            mask[place, : len(row)] = 1
        return ids.to(self.device), mask.to(self.device)


def _source(sequence: TokenSequence) -> Any:
    if sequence.source is None:
        raise ValueError("A sequence for an encoder-decoder needs a source.")
    return sequence.source
