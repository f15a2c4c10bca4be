"""What the decoder asks of a language model."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import torch
from torch import Tensor


class LanguageModel(Protocol):
    """A model that reads tokens left to right through a cache and scores the next one.

    tokenizer: Hugging Face tokenizer. max_length: positions the model can read.
    bidirectional_prompt: prompt tokens also read what follows them, so that a changed prompt must
    be read again from its beginning. directory: where the model was read from, if it was.
    """

    tokenizer: Any
    max_length: int
    vocab_size: int
    bidirectional_prompt: bool
    directory: Any

    @property
    def device(self) -> torch.device:
        """Where ids are to be put."""
        ...

    def new_cache(self, rows: int, capacity: int) -> Any:
        """An empty `StaticCache` for `rows` sequences of up to `capacity` slots."""
        ...

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        mask: Tensor,
        cache: Any,
        rows: slice | Tensor,
        keep: int,
    ) -> Tensor:
        """Log-probabilities of the next token, float32 (r, keep, vocabulary).

        ids, positions, slots: int64 (r, q), token ids, position ids and the cache slot that each
        token is written to. mask: bool (r, q, n), which of the first n slots a token reads, its own
        among them. cache: what `new_cache` gave. rows: the r cache rows. keep: answer for the last
        `keep` tokens of each row.
        """
        ...


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """sha256 over everything that decides how a tokenizer splits text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        content = backend.to_str()
    else:
        content = repr((type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
