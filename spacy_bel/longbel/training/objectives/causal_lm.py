"""The objective of causal language models of transformers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....dropout import set_dropout
from ....errors import ModelError
from ....memory import is_out_of_memory
from ..sequence import TokenSequence
from .base import FromLogits
from .packed_attention import PackedAttention
from .packing import Bucket, Pack, pack


class CausalObjective(FromLogits):
    """Log-probabilities under a causal language model.

    Sequences stand in one row without padding if the model computes attention by PyTorch's
    function, else side by side, those of similar length together. Logits are computed only where a
    token is learned, if the model can be asked for that.

    network: a causal language model of transformers, trained in place. dropout,
    gradient_checkpointing: see `objective_of`.
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
        self._keeps = "logits_to_keep" in inspect.signature(network.forward).parameters
        self._attention: PackedAttention | None = None
        if dropout is not None:
            set_dropout(network, dropout, adapters=False)
        #: Whether sequences are read without padding.
        self.packs = self._can_pack()
        if gradient_checkpointing:
            network.gradient_checkpointing_enable(
                {"use_reentrant": False, "context_fn": self._contexts}
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device  # type: ignore[no-any-return]

    def logits(self, batch: Sequence[TokenSequence]) -> tuple[Tensor, Tensor]:
        """As in `FromLogits`."""
        packed = pack(batch, self.device)
        logits = self._in_a_row(packed) if self.packs else self._side_by_side(packed)
        order = torch.argsort(packed.given)
        return logits[order], packed.targets[order]

    def _in_a_row(self, packed: Pack) -> Tensor:
        """Logits (targets, vocabulary) in the order in which sequences stand."""
        count = len(packed.ids)
        # Who reads whom is decided in attention: this mask only keeps models from theirs.
        mask = torch.zeros(1, 1, 1, count, dtype=self.network.dtype, device=self.device)
        self._attention = PackedAttention(packed)
        try:
            with self._attention:
                logits = self.network(
                    input_ids=packed.ids[None],
                    position_ids=packed.positions[None],
                    attention_mask=mask,
                    use_cache=False,
                    **({"logits_to_keep": packed.asked} if self._keeps else {}),
                ).logits[0]
            if not self._attention.calls:
                raise ModelError("The model computes attention by itself.")
        finally:
            self._attention = None
        return logits if self._keeps else logits[packed.asked]  # type: ignore[no-any-return]

    def _side_by_side(self, packed: Pack) -> Tensor:
        return torch.cat([self._bucket(packed, bucket) for bucket in packed.buckets])

    def _bucket(self, packed: Pack, bucket: Bucket) -> Tensor:
        asked = packed.asked
        own = asked[(asked >= bucket.start) & (asked < bucket.stop)] - bucket.start
        flat = own if bucket.kept is None else bucket.kept[own]
        rows, columns = flat // bucket.width, flat % bucket.width
        mask = torch.ones(bucket.rows * bucket.width, dtype=torch.long, device=self.device)
        if bucket.kept is not None:
            mask = torch.zeros_like(mask).index_fill(0, bucket.kept, 1)
        kept, at = columns.unique(return_inverse=True)
        logits = self.network(
            input_ids=bucket.side_by_side(packed.ids),
            attention_mask=mask.view(bucket.rows, bucket.width),
            use_cache=False,
            **({"logits_to_keep": kept} if self._keeps else {}),
        ).logits
        return logits[rows, at if self._keeps else columns]  # type: ignore[no-any-return]

    def _contexts(self) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        """Within what a layer is computed, and computed again in the backward pass."""
        if self._attention is None:
            return nullcontext(), nullcontext()
        return nullcontext(), PackedAttention(self._attention.packed)

    @torch.no_grad()
    def _can_pack(self) -> bool:
        """Whether attention can be taken over: found by trying, on a few tokens."""
        some = min(int(self.network.config.get_text_config().vocab_size), 6)
        ids = [np.arange(n, dtype=np.int32) % some for n in (5, 3)]
        trial = pack([TokenSequence(each, ((1, len(each)),)) for each in ids], self.device)
        training = self.network.training
        self.network.eval()
        try:
            expected = self._side_by_side(trial).float()
            found = self._in_a_row(trial).float()
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            return False
        finally:
            self.network.train(training)
        apart = torch.nan_to_num(found - expected).abs().mean(dim=-1).max()
        # In half precision each of many logits may be off by a tenth; on average they are not.
        return bool(apart < (1e-3 if self.network.dtype == torch.float32 else 0.2))
