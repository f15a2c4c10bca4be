"""Pieces of an input as token ids, each tokenised once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spacy_bel.errors import ModelError

#: Names and mentions recur; of so many the tokens are kept.
_KNOWN = 100_000


class PieceTokenizer:
    """Token ids of contexts, mentions and candidates, without special tokens.

    tokenizer: a fast tokenizer of transformers with a mask token. Raises ModelError for others.
    """

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "The encoder has no mask token, at which scores are read: give an encoder trained "
                "with masks, such as BERT, RoBERTa or ModernBERT."
            )
        missing = [
            name
            for name in ("cls_token_id", "sep_token_id", "pad_token_id")
            if getattr(tokenizer, name) is None
        ]
        if missing:
            raise ModelError(f"The tokenizer has no {', '.join(missing)}: it is no encoder's.")
        if not tokenizer.is_fast:
            raise ModelError(
                "The tokenizer gives no character offsets: save the model with a fast tokenizer "
                "(tokenizer.json)."
            )
        self.tokenizer = tokenizer
        self.cls = int(tokenizer.cls_token_id)
        self.sep = int(tokenizer.sep_token_id)
        self.mask = int(tokenizer.mask_token_id)
        self.pad = int(tokenizer.pad_token_id)
        self._known: dict[str, list[int]] = {"": []}

    def pieces(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """The token ids of each distinct text, as it stands behind another token."""
        distinct = list(dict.fromkeys(texts))
        new = [text for text in distinct if text not in self._known]
        if len(self._known) + len(new) > _KNOWN:
            self._known, new = {"": []}, [text for text in distinct if text]
        # Byte-level tokenizers tell a word after a space from one that begins a text.
        ids = self._tokenize([f" {text}" for text in new])["input_ids"]
        self._known.update(zip(new, ids, strict=True))
        return {text: self._known[text] for text in distinct}

    def context(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The token ids of a text, and the character offsets of each."""
        encoded = self._tokenize([text], return_offsets_mapping=True)
        return encoded["input_ids"][0], encoded["offset_mapping"][0]

    def _tokenize(self, texts: list[str], **options: Any) -> Any:
        if not texts:
            return {"input_ids": []}
        # Rust strings cannot hold a lone surrogate; a question mark keeps the offsets.
        texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return self.tokenizer(
            texts,
            add_special_tokens=False,
            # A text may say "[MASK]" and mean no mask.
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            truncation=False,
            verbose=False,
            **options,
        )
