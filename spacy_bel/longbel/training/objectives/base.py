"""What every objective offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..sequence import TokenSequence


class Judged(NamedTuple):
    """How a model does on learned tokens, each read behind the right ones.

    log_probs: float32 (targets,). best: bool (targets,), whether no other token is more probable.
    """

    log_probs: Tensor
    best: Tensor


class Objective(nn.Module):
    """Log-probabilities of learned tokens, with gradients.

    Its parameters are those of the model, which is trained in place.
    """

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the weights are."""

    @abstractmethod
    def forward(self, batch: Sequence[TokenSequence]) -> Tensor:
        """Log-probabilities of the learned tokens of all sequences in order, float32 (targets,).

        Each sequence is read by itself.
        """

    @abstractmethod
    def judge(self, batch: Sequence[TokenSequence]) -> Judged:
        """The same with what else the model might have written; for evaluation."""


class FromLogits(Objective):
    """An objective whose model has one logit for every token of the vocabulary.

    label_smoothing: share of each learned token's weight that all tokens get alike (Szegedy et al.
    2016); `judge` passes it over.
    """

    label_smoothing: float = 0.0

    @abstractmethod
    def logits(self, batch: Sequence[TokenSequence]) -> tuple[Tensor, Tensor]:
        """Logits (targets, vocabulary) before learned tokens, and the tokens (targets,)."""

    def forward(self, batch: Sequence[TokenSequence]) -> Tensor:
        """As in `Objective`."""
        logits, targets = self.logits(batch)
        return -nn.functional.cross_entropy(
            logits.float(), targets, reduction="none", label_smoothing=self.label_smoothing
        )

    @torch.no_grad()
    def judge(self, batch: Sequence[TokenSequence]) -> Judged:
        """As in `Objective`."""
        logits, targets = self.logits(batch)
        log_probs = -nn.functional.cross_entropy(logits.float(), targets, reduction="none")
        return Judged(log_probs, logits.argmax(-1) == targets)
