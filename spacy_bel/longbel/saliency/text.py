"""Tokens as the text that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .result import IntArray

_INCOMPLETE = "\ufffd"
#: Tokens that are decoded together: how one is written depends on those right before it alone.
_RUN = 32


class TokenText(NamedTuple):
    """A text, the characters (n, 2) of it that each token stands for, and these as strings."""

    text: str
    offsets: IntArray
    strings: tuple[str, ...]


def read_tokens(tokenizer: Any, ids: Sequence[int], text: str | None = None) -> TokenText:
    """The text of some tokens.

    text: what was tokenized, if it is known; its own characters are then pointed at, which
    tokenizers that change case or spaces could not restore. Raises ValueError if it has other
    tokens than those.
    """
    if not getattr(tokenizer, "is_fast", False):
        return _piece_by_piece(tokenizer, ids)
    if text is not None:
        spans = _spans(tokenizer, ids, text)
        if spans is None:
            raise ValueError("The text does not have the tokens of the prompt: leave it out.")
        return _pointing(text, spans)
    decoded = _decode(tokenizer, ids[int(_begins(tokenizer, ids)) :])
    spans = _spans(tokenizer, ids, decoded)
    return _piece_by_piece(tokenizer, ids) if spans is None else _pointing(decoded, spans)


def name_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """A generated name as a string."""
    return _decode(tokenizer, ids).strip()


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    # Brackets may be special tokens, and tidied spaces would move every offset behind them.
    return str(
        tokenizer.decode(
            list(ids),
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
            spaces_between_special_tokens=False,
        )
    )


def _spans(tokenizer: Any, ids: Sequence[int], text: str) -> list[tuple[int, int]] | None:
    """Characters of each token if the text has these tokens, and at most special ones behind."""
    for special in (True, False):
        found = tokenizer(
            text, add_special_tokens=special, return_offsets_mapping=True, verbose=False
        )
        if list(found["input_ids"][: len(ids)]) == list(ids):
            return [(int(start), int(end)) for start, end in found["offset_mapping"][: len(ids)]]
    return None


def _pointing(text: str, spans: Sequence[tuple[int, int]]) -> TokenText:
    offsets = np.asarray(spans, np.int64).reshape(-1, 2)
    return TokenText(text, offsets, tuple(text[start:end] for start, end in spans))


def _piece_by_piece(tokenizer: Any, ids: Sequence[int]) -> TokenText:
    """Tokens decoded one after the other, for tokenizers that do not say where they are."""
    first = int(_begins(tokenizer, ids))
    whole = _decode(tokenizer, ids[first:])
    # Tokenizers that drop spaces would glue words to brackets.
    closely = _joined(tokenizer, ids[first:], "")
    read = closely if closely.text == whole else _joined(tokenizer, ids[first:], " ")
    spans = [(0, 0)] * first + [(int(start), int(end)) for start, end in read.offsets]
    return _pointing(read.text, spans)


def _joined(tokenizer: Any, ids: Sequence[int], gap: str) -> TokenText:
    """Tokens as text; gap: stands beside added tokens where there is no space."""
    added = {number: token for token, number in tokenizer.get_added_vocab().items()}
    text = ""
    spans: list[tuple[int, int]] = []
    run: list[int] = []  # tokens since the last added one, which change each other's text
    written, waiting = "", 0
    for number in ids:
        if number in added:
            run, written, new = [], "", added[number]
        else:
            if len(run) > _RUN and not waiting:
                run = run[-_RUN // 2 :]
                written = _decode(tokenizer, run)
            run.append(number)
            decoded = _decode(tokenizer, run)
            if decoded.endswith(_INCOMPLETE):
                waiting += 1  # the first bytes of a character
                continue
            new, written = decoded[len(written) :], decoded
        if gap and text and not text[-1].isspace() and (number in added or len(run) == 1):
            text += gap
        spans += [(len(text), len(text) + len(new))] * (waiting + 1)
        text, waiting = text + new, 0
    if waiting:  # bytes that never made a character
        spans += [(len(text), len(text) + 1)] * waiting
        text += _INCOMPLETE
    return _pointing(text, spans)


def _begins(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether the first token is one that begins every text."""
    return bool(ids) and ids[0] in (tokenizer.bos_token_id, tokenizer.cls_token_id)
