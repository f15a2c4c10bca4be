"""A context as tokens: where its mentions are, marks around them, and windows of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Range = tuple[int, int]
Marks = Mapping[int, tuple[list[int], list[int]]]


@dataclass(frozen=True, slots=True)
class Context:
    """A tokenised context.

    ids: its tokens, marks of mentions included. mentions: from the index of a mention to its range
    of tokens, marks included. sentences: the tokens at which sentences begin, 0 among them.
    """

    ids: list[int]
    mentions: dict[int, Range]
    sentences: list[int]


def build_context(
    ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    spans: Mapping[int, tuple[int, int]],
    marks: Marks,
    sentences: Sequence[int],
) -> Context:
    """Put marks into the tokens of a context.

    ids, offsets: its tokens and their characters, counted from the start of the context.
    spans: the characters of each mention. marks: the tokens before and after mentions, nested as
    the mentions are. sentences: the characters at which sentences begin.
    """
    starts = [start for start, _ in offsets]
    ends = [end for _, end in offsets]
    plain = {}
    for mention, (start, end) in spans.items():
        first = bisect_right(ends, start)
        plain[mention] = (first, max(first, bisect_left(starts, end)))
    opening: dict[int, list[int]] = defaultdict(list)
    closing: dict[int, list[int]] = defaultdict(list)
    # An outer mention opens before an inner one, and closes after it.
    for mention in sorted(plain, key=lambda m: (plain[m][0], -plain[m][1], m)):
        opening[plain[mention][0]].append(mention)
    for mention in sorted(plain, key=lambda m: (plain[m][0], -plain[m][1], m), reverse=True):
        if plain[mention][0] < plain[mention][1]:
            closing[plain[mention][1]].append(mention)

    result: list[int] = []
    begin: dict[int, int] = {}
    ranges: dict[int, Range] = {}
    moved = []

    def close(mention: int) -> None:
        result.extend(marks[mention][1] if mention in marks else ())
        ranges[mention] = (begin[mention], len(result))

    for position in range(len(ids) + 1):
        for mention in closing.get(position, ()):
            close(mention)
        moved.append(len(result))
        for mention in opening.get(position, ()):
            begin[mention] = len(result)
            result.extend(marks[mention][0] if mention in marks else ())
            if plain[mention][0] == plain[mention][1]:
                close(mention)
        if position < len(ids):
            result.append(ids[position])
    return Context(result, ranges, sorted({0, *(moved[bisect_left(starts, s)] for s in sentences)}))


def windows(context: Context, width: int) -> list[Range]:
    """Ranges of whole sentences, of at most `width` tokens each, that overlap by half.

    Sentences of more than half the width are cut.
    """
    size, half = len(context.ids), max(1, width // 2)
    borders = []
    for start, end in zip(context.sentences, [*context.sentences[1:], size], strict=True):
        pieces = -(-(end - start) // half) or 1
        borders += [start + (end - start) * i // pieces for i in range(pieces)]
    borders = [*sorted(set(borders)), size]
    found = []
    at = 0
    while True:
        stop = bisect_right(borders, borders[at] + width) - 1
        found.append((borders[at], borders[stop]))
        if borders[stop] >= size:
            return found
        middle = (borders[at] + borders[stop]) // 2
        at = max(at + 1, min(bisect_left(borders, middle), stop))


def window_of(mention: Range, found: Sequence[Range]) -> int | None:
    """The index of the window with the most tokens on the narrower side of a mention, if any."""
    last = found[-1][1]
    best, index = -1, None
    for i, (start, end) in enumerate(found):
        if start <= mention[0] and mention[1] <= end:
            # Nothing is missing beyond the ends of the context.
            left = mention[0] - start if start else last
            right = end - mention[1] if end < last else last
            if min(left, right) > best:
                best, index = min(left, right), i
    return index


def around(mention: Range, within: Range, width: int) -> Range:
    """At most `width` tokens of a range, with the mention in the middle as far as possible.

    Of a mention that is longer, the first tokens.
    """
    start, end = within
    if end - start <= width:
        return within
    spare = width - (mention[1] - mention[0])
    if spare <= 0:
        return mention[0], mention[0] + width
    first = max(start, min(mention[0] - spare // 2, end - width))
    return first, first + width
