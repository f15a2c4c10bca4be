"""Names as token sequences that continue a prompt exactly as the tokenizer would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from ..errors import ModelError
from ..kb.token_trie import IntArray
from .document import Mention
from .models.opening import added_tokens
from .prompts import Prompt

_BATCH = 20_000
_PROBE = Mention(0, 7, "mention", "group", ("group",))


class PromptTokenizer:
    """Encodes prompts, and the names that may follow them.

    tokenizer: Hugging Face tokenizer. prompt: decides what a name follows and which token ends it.
    Raises ModelError if the tokenizer has no such token, or merges the end of a prompt with names.
    """

    def __init__(self, tokenizer: Any, prompt: Prompt) -> None:
        self.tokenizer = tokenizer
        end_token = getattr(tokenizer, prompt.end_token, None)
        if end_token is None:
            raise ModelError(
                f"Prompt '{prompt.name}' needs a tokenizer with a {prompt.end_token.split('_')[0]} "
                "token. Choose another prompt, or a model that was trained for this one."
            )
        self.prompt = prompt
        self.end_token = int(end_token)
        self._probe = prompt.assemble("", (), _PROBE)
        # Some tokenizers close every text with a token of their own; the name has to come first.
        self._trailing = len(added_tokens(tokenizer)[1])
        #: Token between the names of several concepts, if the tokenizer has one for that.
        self.separator: int | None = tokenizer.get_vocab().get(prompt.name_separator)
        self._before = len(self._encode(prompt.before_name, special=False))
        self._check("name")

    @property
    def name_format(self) -> str:
        """What decides, beside the tokenizer, into which tokens a name is split."""
        probe = self.prompt.name_text("a [b] {c}\u00a0d\ne")
        return repr((self.prompt.before_name, probe, self.end_token))

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
            texts = [self._behind(name) for name in batch]
            encoded = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
            written = [[*ids[self._before :], self.end_token] for ids in encoded]
            lengths.append(np.fromiter(map(len, written), np.int64, len(written)))
            pieces.append(np.fromiter(chain.from_iterable(written), np.int32))
        return np.concatenate(pieces), np.cumsum(np.concatenate(lengths), dtype=np.int64)

    def split_sequences(self, names: Iterable[str]) -> list[list[int]]:
        """The same for a few names, each as a list."""
        tokens, offsets = self.name_sequences(names)
        bounds = offsets.tolist()
        return [tokens[a:b].tolist() for a, b in zip(bounds, bounds[1:], strict=False)]

    def generated_names(self, tokens: Sequence[int]) -> list[str]:
        """What a sequence of tokens reads as, name by name.

        tokens: what was generated, the end token included.
        """
        # Clean-up of spaces, which tokenizers do by default, would alter names.
        text = self.tokenizer.decode(
            [token for token in tokens if token != self.end_token],
            clean_up_tokenization_spaces=False,
        )
        return [part.strip() for part in text.split(self.prompt.name_separator)]

    def _behind(self, name: str) -> str:
        return self.prompt.before_name + self.prompt.name_text(name)

    def _check(self, name: str) -> None:
        if not self.prompt.before_name:
            return
        alone = self._encode(self._behind(name), special=False)
        prompt = self._encode(self._probe, special=False)
        together = self._encode(self._probe + self.prompt.name_text(name), special=False)
        if together != prompt + alone[self._before :]:
            raise ModelError(
                f"The tokenizer merges '{self.prompt.before_name.strip()}', which ends a prompt, "
                "with what follows. Add '[', ']', '{' and '}' to it as special tokens, as LongBEL "
                "checkpoints do, or choose another prompt."
            )

    def _encode(self, text: str, *, special: bool) -> list[int]:
        # Prompts are fitted into the window by the caller: the tokenizer's own warning is noise.
        ids = self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        return list(ids)


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
