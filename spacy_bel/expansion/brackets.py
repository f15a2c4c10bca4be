"""Brackets in a document, the pieces of what is in them, and the mentions beside them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

LONGEST_BRACKETS = 200
LONGEST_CONTEXT = 160
# Sentence ends, across which no definition reaches.
_END = re.compile(r"[.?!]\s+(?=[A-Z])|[;\n]")
# Not the comma of "cyclic adenosine 3',5'-monophosphate".
_SEPARATOR = re.compile(r"\s*(?:[;:]|,(?!\d))\s*|\s+(?:or|and|&)\s+|/")
_LEAD = re.compile(
    r"(?:(?:or|and|also|hereafter|henceforth|abbreviated|abbr\.|designated|termed|called|known as"
    r"|referred to as|i\.e\.,?|e\.g\.,?|as|to|for|the)\s+)+",
    re.IGNORECASE,
)
_QUOTES = "\"'“”‘’`"
_LEFT_EDGE = " \t\n" + _QUOTES
_RIGHT_EDGE = _LEFT_EDGE + "."


class Context:
    """A document and where its mentions begin and end.

    mentions: character offsets, end exclusive, in any order; empty ones are ignored.
    """

    def __init__(self, text: str, mentions: Sequence[tuple[int, int]]) -> None:
        self.text = text
        self.mentions = sorted({(start, end) for start, end in mentions if start < end})
        self._by_end: dict[int, int] = {}
        for start, end in self.mentions:
            self._by_end.setdefault(end, start)
        self._longest = max((end - start for start, end in self.mentions), default=0)

    def mention_before(self, end: int) -> tuple[int, int] | None:
        """The longest mention that ends right at ``end``."""
        start = self._by_end.get(end)
        return None if start is None else (start, end)

    def mention_around(self, start: int, end: int) -> tuple[int, int] | None:
        """A mention that reaches beyond ``start`` and ``end`` on both sides."""
        last = bisect_right(self.mentions, (start, 0))
        for mention in reversed(self.mentions[max(0, last - 50) : last]):
            if mention[0] < start and mention[1] > end:
                return mention
            if start - mention[0] > self._longest:
                break
        return None

    def left(self, end: int) -> int:
        """Where the part of the sentence begins that can define what follows ``end``."""
        start = max(0, end - LONGEST_CONTEXT)
        for match in _END.finditer(self.text, start, end):
            start = match.end()
        return start


def brackets(text: str) -> Iterator[tuple[int, int]]:
    """Offsets of round and square brackets with what is in them, inner ones first."""
    opened: list[int] = []
    for match in re.finditer(r"[()\[\]]", text):
        if match[0] in "([":
            opened.append(match.start())
        elif opened:
            start = opened.pop()
            if match.end() - start <= LONGEST_BRACKETS:
                yield start, match.end()


def pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Offsets of what separators and introducing words ("or", "termed") leave of a stretch."""
    found = []
    position = start
    for match in [*_SEPARATOR.finditer(text, start, end), None]:
        first, last = trimmed(text, position, match.start() if match else end)
        lead = _LEAD.match(text, first, last)
        if lead:
            first, last = trimmed(text, lead.end(), last)
        if first < last:
            found.append((first, last))
        if match:
            position = match.end()
    return found


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Offsets without white space, quotation marks and final full stops at the edges."""
    while start < end and text[start] in _LEFT_EDGE:
        start += 1
    while end > start and text[end - 1] in _RIGHT_EDGE:
        end -= 1
    return start, end
