"""How a bi-encoder is trained."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from spacy_bel.errors import SettingsError
from spacy_bel.retriever.training.loss import MarginOf

Dtype = Literal["float32", "bfloat16"]

# Settings that must be more than 0; the others must not be less.
_POSITIVE = {
    *("epochs", "steps_per_epoch", "learning_rate", "alpha", "beta", "patience", "max_grad_norm"),
}


@dataclass(frozen=True)
class BiEncoderSettings:
    """Settings of `train_biencoder`; loss and miner are SapBERT's (Liu et al. 2021).

    epochs, steps_per_epoch: an epoch is so many batches; then negatives are mined and the
        development mentions are scored.
    batch_size: names in a batch, two of each concept.
    learning_rate: highest, of AdamW; reached after ``warmup_steps``, then falling linearly to zero.
    alpha, beta, base, margin, margin_of: of `multi_similarity_loss`.
    hard_negatives: confusable concepts that follow each concept into its batch; 0 for random
        batches. mined_concepts: among how many concepts, drawn anew each epoch, they are looked
        for.
    mention_share: share of concepts that come with a training mention, where there are any.
    patience: stop after so many epochs without a better mean reciprocal rank.
    max_grad_norm: longer gradients are shortened to it.
    dtype: "bfloat16" to run matrix products in 16 bits, where processor or GPU are fast in it.
    seed: of everything that is drawn; equal seeds give equal weights on one thread of a processor.

    Raises SettingsError for a setting that cannot be used.
    """

    epochs: int = 10
    steps_per_epoch: int = 200
    batch_size: int = 256
    learning_rate: float = 2e-5
    weight_decay: float = 0.01
    warmup_steps: int = 50
    alpha: float = 1.0
    beta: float = 60.0
    base: float = 0.5
    margin: float = 0.2
    margin_of: MarginOf = "cosine"
    hard_negatives: int = 3
    mined_concepts: int = 30_000
    mention_share: float = 0.5
    patience: int = 3
    max_grad_norm: float = 1.0
    dtype: Dtype = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                continue
            if value < 0 or (field.name in _POSITIVE and value == 0):
                least = "more than" if field.name in _POSITIVE else "at least"
                raise SettingsError(f"{field.name} is {value}: give {least} 0.")
        if self.batch_size < 2 or self.mined_concepts < 2:
            raise SettingsError("batch_size and mined_concepts must be at least 2.")
        if self.mention_share > 1:
            raise SettingsError(f"mention_share is {self.mention_share}: give a share from 0 to 1.")
        for name, choices in (("dtype", Dtype), ("margin_of", MarginOf)):
            if (value := getattr(self, name)) not in get_args(choices):
                known = " or ".join(map(repr, get_args(choices)))
                raise SettingsError(f"{name} is {value!r}: use {known}.")
