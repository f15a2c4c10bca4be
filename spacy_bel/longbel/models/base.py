"""What the decoder asks of a language model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...kb.token_trie import IntArray


class Segment(NamedTuple):
    """Tokens of one cache row that are read in the next forward pass.

    row: of the cache. ids, positions, slots: (q,), token ids, position ids, and the slot that the
    keys and values of each token are written to. mask: bool (q, n), which of the first n slots of
    the row a token reads, its own among them; None if it reads those up to its own. keep: answer
    for the last `keep` tokens.
    """

    row: int
    ids: IntArray
    positions: IntArray
    slots: IntArray
    mask: npt.NDArray[np.bool_] | None
    keep: int

    @property
    def length(self) -> int:
        """Leading slots that are read."""
        return int(self.slots.max()) + 1 if self.mask is None else self.mask.shape[1]

    def readable(self) -> npt.NDArray[np.bool_]:
        """The mask, bool (q, length), written out."""
        if self.mask is not None:
            return self.mask
        return np.arange(self.length) <= self.slots[:, None]


class LanguageModel(Protocol):
    """A model that reads tokens left to right through a cache and scores the next one.

    tokenizer: Hugging Face tokenizer. max_length: positions the model can read.
    bidirectional_prompt: prompt tokens also read what follows them, so that a changed prompt must
    be read again from its beginning, and at once. counted_prompt_tokens: how many of the tokens
    that `decoder_prompt` answers with count in the length of names. directory: where the model was
    read from, if it was.
    """

    tokenizer: Any
    max_length: int
    vocab_size: int
    bidirectional_prompt: bool
    counted_prompt_tokens: int
    directory: Any

    @property
    def device(self) -> torch.device:
        """Where ids are to be put."""
        ...

    def new_cache(self, rows: int, capacity: int) -> Any:
        """An empty `StaticCache` for `rows` sequences of up to `capacity` slots."""
        ...

    def decoder_prompt(self, ids: list[int]) -> list[int]:
        """What is read of a prompt through `read`: the prompt itself.

        A model that reads prompts with an encoder takes them from `StaticCache.begin` and answers
        with what its decoder starts with.
        """
        ...

    def read(self, segments: Sequence[Segment], cache: Any) -> Tensor:
        """Log-probabilities of the next token, float32 (kept tokens of all segments, vocabulary).

        Segments belong to different rows. They are read in one forward pass if the model can, or in
        several that suit it.
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
