"""Fitting a prompt into the number of tokens that a model can read.

What is left out is never silent: each `FittedPrompt` says what it lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .document import Document, MemoryEntry, Mention
from .prompts import Prompt

Encode = Callable[[str], list[int]]

#: Share of the window that memory may keep when the context alone would fill it.
_MEMORY_SHARE = 0.25
#: No tokenizer reads more characters than this per token of running text.
_MAX_CHARACTERS_PER_TOKEN = 20


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """A prompt within the model's window.

    text, ids: it, and its token ids. dropped_memory: number of oldest links left out. cut_context:
    whether sentences of the context were left out.
    """

    text: str
    ids: list[int]
    dropped_memory: int = 0
    cut_context: bool = False


class _Encoded(NamedTuple):
    text: str
    ids: list[int]


class MentionTooLongError(ValueError):
    """A mention that does not fit into the model's window even without context and memory."""


def fit_prompt(
    prompt: Prompt,
    document: Document,
    mention: Mention,
    memory: Sequence[MemoryEntry],
    encode: Encode,
    budget: int,
) -> FittedPrompt:
    """The prompt of a mention in at most `budget` tokens.

    Memory goes oldest first, down to a quarter of the window; then the context is cut to whole
    sentences around the mention, and to words if its own sentence is too long. Raises
    MentionTooLongError if the mention alone does not fit.
    """
    window = prompt.window(document, mention)
    context = prompt.context(document, mention, window)
    if len(context) <= budget * _MAX_CHARACTERS_PER_TOKEN:
        whole = _encoded(prompt.assemble(context, memory, mention), encode)
        if len(whole.ids) <= budget:
            return FittedPrompt(*whole)
    bare = len(encode(prompt.assemble("", (), mention)))
    room = budget - bare
    if room < 0:
        raise MentionTooLongError(mention.text)

    def cost(entries: Sequence[MemoryEntry], text: str) -> int:
        return len(encode(prompt.assemble(text, entries, mention)))

    long_context = len(context) > budget * _MAX_CHARACTERS_PER_TOKEN
    context_cost = room if long_context else min(cost((), context) - bare, room)
    memory_room = max(room - context_cost, int(room * _MEMORY_SHARE))
    kept = _newest(memory, lambda entries: cost(entries, "") - bare <= memory_room)
    dropped = len(memory) - len(kept)
    if not long_context:
        whole = _encoded(prompt.assemble(context, kept, mention), encode)
        if len(whole.ids) <= budget:
            return FittedPrompt(*whole, dropped)

    def build(span: tuple[int, int]) -> _Encoded:
        text = prompt.context(document, mention, span)
        return _encoded(prompt.assemble(text, kept, mention), encode)

    bounds = window or (document.passages[0].start, document.passages[-1].end)
    fitting: _Encoded | None = None
    for span in _growing_windows(document, mention, bounds):
        grown = build(span)
        if len(grown.ids) > budget:
            break
        fitting = grown
    if fitting is None:
        fitting = _fit_words(document, mention, build, budget)
    if fitting is None:
        # The mention in its context and again in the last section is too much: leave memory out.
        fitting, dropped = _encoded(prompt.assemble("", (), mention), encode), len(memory)
    return FittedPrompt(*fitting, dropped, cut_context=True)


def _encoded(text: str, encode: Encode) -> _Encoded:
    return _Encoded(text, encode(text))


def _newest(
    memory: Sequence[MemoryEntry], fits: Callable[[Sequence[MemoryEntry]], bool]
) -> Sequence[MemoryEntry]:
    """The longest tail of memory that fits, found by bisection."""
    if not memory or fits(memory):
        return memory
    low, high = 0, len(memory)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(memory[middle:]) else (middle, high)
    return memory[high:]


def _growing_windows(
    document: Document, mention: Mention, bounds: tuple[int, int]
) -> list[tuple[int, int]]:
    """Spans of whole sentences around a mention, each wider than the one before."""
    home = document.sentence_of(mention)
    sentences = document.sentences or ((home[0], home[1]),)
    at = next((i for i, s in enumerate(sentences) if s[0] <= mention.start < s[1]), None)
    if at is None:
        return [home]
    left = right = at
    windows = [home]
    while True:
        grown = False
        if left > 0 and sentences[left - 1][0] >= bounds[0]:
            left, grown = left - 1, True
            windows.append((sentences[left][0], max(sentences[right][1], mention.end)))
        if right + 1 < len(sentences) and sentences[right + 1][1] <= bounds[1]:
            right, grown = right + 1, True
            windows.append((sentences[left][0], max(sentences[right][1], mention.end)))
        if not grown:
            return windows


def _fit_words(
    document: Document,
    mention: Mention,
    build: Callable[[tuple[int, int]], _Encoded],
    budget: int,
) -> _Encoded | None:
    """The widest stretch of whole words around a mention that fits, by bisection."""
    passage = document.passages[document.passage_of(mention)]
    low, high = 0, budget * _MAX_CHARACTERS_PER_TOKEN
    fitting: _Encoded | None = None
    while low <= high:
        radius = (low + high) // 2
        start = max(passage.start, mention.start - radius)
        end = min(passage.end, max(mention.end, mention.start) + radius)
        text = passage.text
        while start > passage.start and start < mention.start:
            if text[start - 1 - passage.start].isspace():
                break
            start += 1
        while mention.end < end < passage.end and not text[end - passage.start].isspace():
            end -= 1
        built = build((start, end))
        if len(built.ids) <= budget:
            fitting, low = built, radius + 1
        else:
            high = radius - 1
    return fitting
