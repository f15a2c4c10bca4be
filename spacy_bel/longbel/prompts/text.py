"""Text as prompts write it: reserved characters replaced and mentions in brackets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..document import Document, MemoryEntry, Mention, Passage

_RESERVED = str.maketrans({"\u00a0": " ", "{": "(", "}": ")", "[": "(", "]": ")", "\n": " "})


def normalise(text: str) -> str:
    """Replace no-break spaces, newlines and the brackets that prompts use, one for one."""
    return text.translate(_RESERVED)


def mention_tag(mention: str, group: str) -> str:
    """``[mention]{group}``."""
    return f"[{normalise(mention)}]{{{normalise(group)}}}"


def memory_line(entry: MemoryEntry) -> str:
    """``[mention]{group} name``, the name as it was generated."""
    return f"{mention_tag(entry.mention, entry.group)} {normalise(entry.name)}"


def bracketed(passage: Passage, mentions: Iterable[Mention], window: tuple[int, int] | None) -> str:
    """A passage, or the part of it within a window, with mentions in brackets.

    At one position inner mentions close first and outer ones open first, so brackets nest.
    """
    begin, end = passage.start, passage.end
    if window is not None:
        begin, end = max(begin, window[0]), min(end, window[1])
    if begin >= end:
        return ""
    marks: list[tuple[int, int, int, str]] = []
    for mention in mentions:
        start, stop = max(mention.start, begin), min(mention.end, end)
        if start < stop:
            marks.append((start, 1, -stop, "["))
            marks.append((stop, 0, -start, "]"))
    pieces, position = [], begin
    for offset, _, _, bracket in sorted(marks):
        pieces.append(normalise(passage.text[position - passage.start : offset - passage.start]))
        pieces.append(bracket)
        position = offset
    pieces.append(normalise(passage.text[position - passage.start : end - passage.start]))
    return "".join(pieces)


def passages_around(document: Document, mention: Mention) -> Sequence[Passage]:
    """Passages in the order in which released LongBEL checkpoints have read them.

    The reference puts each earlier passage in front of what it has gathered so far, so those before
    the mention's passage stand in reverse. This only shows with three passages or more.
    """
    index = document.passage_of(mention)
    passages = document.passages
    return (*reversed(passages[:index]), *passages[index:])
