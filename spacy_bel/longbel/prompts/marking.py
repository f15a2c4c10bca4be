"""One mention marked in its passage, for formats that mark it in ways of their own."""

from __future__ import annotations

from ..document import Mention, Passage


def around(
    passage: Passage, mention: Mention, window: tuple[int, int] | None
) -> tuple[str, str, str]:
    """What stands before, in and behind a mention of a passage, within a window of characters."""
    begin, end = passage.start, passage.end
    if window is not None:
        begin, end = max(begin, window[0]), min(end, window[1])
    start = min(max(mention.start, begin), end)
    stop = max(start, min(mention.end, end))
    bounds = ((begin, start), (start, stop), (stop, end))
    before, inside, behind = (
        passage.text[max(a, passage.start) - passage.start : b - passage.start] for a, b in bounds
    )
    return before, inside, behind
