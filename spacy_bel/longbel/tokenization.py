"""Names as token sequences that continue a prompt exactly as the tokenizer would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np

from ..errors import ModelError
from ..kb.token_trie import IntArray
from .prompts import Prompt
from .prompts.text import normalise

_BATCH = 20_000
_PROBE = "[mention]{group}"


class PromptTokenizer:
    """Encodes prompts, and the names that may follow their closing ``}``.

    tokenizer: Hugging Face tokenizer. prompt: decides which token ends a name. Raises ModelError
    if the tokenizer has no such token, or merges ``}`` with its neighbours.
    """

    def __init__(self, tokenizer: Any, prompt: Prompt) -> None:
        self.tokenizer = tokenizer
        end_token = getattr(tokenizer, prompt.end_token, None)
        if end_token is None:
            raise ModelError(
                f"Prompt '{prompt.name}' needs a tokenizer with a {prompt.end_token.split('_')[0]} "
                "token. Choose another prompt, or a model that was trained for this one."
            )
        self.end_token = int(end_token)
        # Some tokenizers close every text with a token of their own; the name has to come first.
        with_special = self._encode(_PROBE, special=True)
        plain = self._encode(_PROBE, special=False)
        at = _find(with_special, plain)
        if at is None:
            raise ModelError("The tokenizer splits text differently with special tokens.")
        self._trailing = len(with_special) - at - len(plain)
        self._check("name")

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, beginning-of-text token included if the tokenizer has one."""
        ids = self._encode(text, special=True)
        return ids[: len(ids) - self._trailing] if self._trailing else ids

    def name_sequences(self, names: Iterable[str]) -> tuple[IntArray, IntArray]:
        """Token ids that generate each name after a prompt, the end token included.

        Returns int32 tokens of all names end to end, and int64 offsets (names + 1).
        """
        # Joined by batch: an array or a list for every name would take more than the tokens.
        pieces, lengths = [np.empty(0, np.int32)], [np.zeros(1, np.int64)]
        for batch in _batches(names, _BATCH):
            texts = [f"}} {normalise(name)}" for name in batch]
            encoded = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            # The first token is the bracket; one for the end comes in its place.
            lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
            tokens = chain.from_iterable([*ids[1:], self.end_token] for ids in encoded)
            pieces.append(np.fromiter(tokens, np.int32))
        return np.concatenate(pieces), np.cumsum(np.concatenate(lengths), dtype=np.int64)

    def _check(self, name: str) -> None:
        alone = self._encode(f"}} {name}", special=False)
        prompt = self._encode(_PROBE, special=False)
        together = self._encode(f"{_PROBE} {name}", special=False)
        if together != prompt + alone[1:]:
            raise ModelError(
                "The tokenizer merges the bracket that ends a prompt with what follows. Add '[', "
                "']', '{' and '}' to it as special tokens, as LongBEL checkpoints do."
            )

    def _encode(self, text: str, *, special: bool) -> list[int]:
        # Prompts are fitted into the window by the caller: the tokenizer's own warning is noise.
        ids = self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        return list(ids)


def _find(ids: list[int], part: list[int]) -> int | None:
    for start in range(len(ids) - len(part) + 1):
        if ids[start : start + len(part)] == part:
            return start
    return None


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
