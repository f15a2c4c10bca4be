"""Fitting a question into the tokens that a model can read."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ModelError
from .prompt import Question

Encode = Callable[[Question], list[int]]


def fit(question: Question, encode: Encode, length: int) -> tuple[Question, list[int]]:
    """The question as it is asked, and its at most `length` tokens.

    A prompt that is too long loses words of its context, those farthest from the mention first;
    if the mention alone is not enough, also its last options. Raises ModelError if not even one
    option fits.
    """
    ids = encode(question)
    if len(ids) <= length:
        return question, ids
    bare = question.narrowed(0)
    if len(encode(bare)) <= length:
        margin = _largest(
            lambda margin: len(encode(question.narrowed(margin))) <= length, len(question.context)
        )
        asked = question.narrowed(margin)
    else:
        options = _largest(
            lambda options: options == 0 or len(encode(bare.shortened(options))) <= length,
            len(question.options),
        )
        if not options:
            raise ModelError(
                f"The mention '{_shown(question.mention)}' and its first option do not fit into "
                f"the {length} tokens that the model can read. Use a model with a longer window."
            )
        asked = bare.shortened(options)
    return asked, encode(asked)


def _largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number below `limit` that fits; 0 does."""
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _shown(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
