"""Which links of a document a prompt shows, of those that were made so far.

Lines of a prompt are always in document order. A prompt that only grows is read on from where it
was left: `AllLinks` alone keeps what was shown at the beginning of what will be shown. With the
other policies memory is read again from the first line that was left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

from ..errors import SettingsError
from .document import MemoryEntry

MemoryName = Literal["all", "recent", "confident"]


class MemoryPolicy(Protocol):
    """Chooses among earlier links."""

    def select(self, entries: Sequence[MemoryEntry], scores: Sequence[float]) -> list[int]:
        """Indices of the links to show, ascending.

        entries: links in the order in which they were made. scores: those of their candidates.
        """
        ...


@dataclass(frozen=True, slots=True)
class AllLinks:
    """Every link, as LongBEL does (arXiv 2605.13451).

    repeats: whether a link that says the same as an earlier one, mention, group and name, is shown
    again. Either way what was shown stays where it was.
    """

    repeats: bool = True

    def select(self, entries: Sequence[MemoryEntry], scores: Sequence[float]) -> list[int]:
        """As in `MemoryPolicy`."""
        return _first(entries, range(len(entries)), None, self.repeats)


@dataclass(frozen=True, slots=True)
class RecentLinks:
    """The links that were made last.

    size: how many. repeats: if not, only the last of equal links is shown and counted.
    """

    size: int
    repeats: bool = True

    def select(self, entries: Sequence[MemoryEntry], scores: Sequence[float]) -> list[int]:
        """As in `MemoryPolicy`."""
        return _first(entries, reversed(range(len(entries))), self.size, self.repeats)


@dataclass(frozen=True, slots=True)
class ConfidentLinks:
    """The links with the highest scores, the later one of equal scores first.

    size: how many. repeats: if not, only the best of equal links is shown and counted.
    """

    size: int
    repeats: bool = True

    def select(self, entries: Sequence[MemoryEntry], scores: Sequence[float]) -> list[int]:
        """As in `MemoryPolicy`."""
        best = sorted(range(len(entries)), key=lambda i: (-scores[i], -i))
        return _first(entries, best, self.size, self.repeats)


def memory_policy(
    memory: MemoryName = "all", size: int | None = None, *, repeats: bool = True
) -> MemoryPolicy:
    """The policy that settings ask for.

    memory: "all", "recent" or "confident". size: how many links; none with "all". repeats: see
    `AllLinks`. Raises SettingsError if they do not go together.
    """
    if memory not in ("all", "recent", "confident"):
        raise SettingsError(f"memory is {memory!r}: use 'all', 'recent' or 'confident'.")
    if memory == "all":
        if size is not None:
            raise SettingsError(
                f"memory_size is {size}, but memory='all' shows every link: use memory='recent' or "
                "'confident', or leave memory_size out."
            )
        return AllLinks(repeats)
    if size is None or size < 1:
        raise SettingsError(
            f"memory={memory!r} needs memory_size, at least 1. For no memory at all use a prompt "
            "without, such as 'hybrid_medium' or 'short'."
        )
    return (RecentLinks if memory == "recent" else ConfidentLinks)(size, repeats)


def memory_beside(
    entries: Sequence[MemoryEntry | None],
    scores: Sequence[float],
    index: int,
    policy: MemoryPolicy,
) -> list[MemoryEntry]:
    """What the prompt of a mention shows: links of other mentions, in document order.

    When a document is read again those after the mention are among them. The mention's own earlier
    link is left out: it would only repeat itself.

    entries: the newest link of every mention, None where there is none. scores: those of their
    candidates, anything where there is none. index: of the mention. policy: chooses among them; the
    most recent are those before the mention, then those at the end of the document, which were made
    in the pass before.
    """
    order = (*range(index + 1, len(entries)), *range(index))
    made = [(i, entry) for i in order if (entry := entries[i]) is not None]
    chosen = policy.select([entry for _, entry in made], [scores[i] for i, _ in made])
    return [entry for _, entry in sorted((made[i] for i in chosen), key=lambda link: link[0])]


def _first(
    entries: Sequence[MemoryEntry], order: Iterable[int], size: int | None, repeats: bool
) -> list[int]:
    """The first `size` indices of an order, ascending; without `repeats` of distinct entries."""
    if not repeats:
        places: dict[MemoryEntry, int] = {}
        for i in order:
            places.setdefault(entries[i], i)
        order = places.values()
    return sorted(islice(order, size))
