"""Documents of one running stream, cut where a model cannot read them whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..document import Document, Mention


class Stretch(NamedTuple):
    """A part of a document, read as if it were all of it.

    window: its characters; None for the whole document. mentions: indices of those in it.
    """

    window: tuple[int, int] | None
    mentions: list[int]


def stretches(
    document: Document,
    mentions: Sequence[int],
    fits: Callable[[Stretch], bool],
) -> Iterator[Stretch]:
    """The whole document if it fits, else runs of sentences, each as long as fits.

    mentions: indices, ascending, of those that matter; parts without any are left out. fits: says
    whether a stretch can be read. A sentence that cannot be read even alone comes all the same.
    """
    whole = Stretch(None, list(mentions))
    if not mentions:
        return
    if fits(whole):
        yield whole
        return
    units = _units(document, mentions)
    first = 0
    while first < len(units):
        if not units[first].mentions:
            first += 1
            continue
        # The first unit is taken in any case; as many more as fit are found by bisection.
        last, beyond = first, len(units)
        while beyond - last > 1:
            middle = (last + beyond) // 2
            if fits(_joined(units[first : middle + 1])):
                last = middle
            else:
                beyond = middle
        yield _joined(units[first : last + 1])
        first = last + 1


def _units(document: Document, mentions: Sequence[int]) -> list[Stretch]:
    """The sentences of a document, or its passages if it has none, with their mentions."""
    spans = sorted(document.sentences) or [(p.start, p.end) for p in document.passages]
    units = [Stretch(span, []) for span in spans]
    for index in mentions:
        units[_place(spans, document.mentions[index])].mentions.append(index)
    return units


def _place(spans: Sequence[tuple[int, int]], mention: Mention) -> int:
    """The last span that begins before a mention does."""
    return max((i for i, span in enumerate(spans) if span[0] <= mention.start), default=0)


def _joined(units: Sequence[Stretch]) -> Stretch:
    mentions = [index for unit in units for index in unit.mentions]
    ends = [unit.window for unit in units if unit.window is not None]
    return Stretch((ends[0][0], ends[-1][1]), mentions)
