"""What prompts show of a document's earlier links where no engine has made any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..document import JOINT, MemoryEntry, Mention
from ..memory_policy import MemoryPolicy, memory_beside

MemorySource = Literal["gold", "predicted", "none"]


class EarlierLinks:
    """The memory of one document, filled mention by mention.

    source: "gold", the names that are learned; "predicted", the best candidates of the mentions; or
    "none". policy: which of them prompts show. mentions: those of the document.
    """

    def __init__(
        self, source: MemorySource, policy: MemoryPolicy, mentions: Sequence[Mention]
    ) -> None:
        self._source = source
        self._policy = policy
        self._mentions = mentions
        self._entries: list[MemoryEntry | None] = [None] * len(mentions)
        self._scores = [1.0] * len(mentions)

    def before(self, index: int) -> list[MemoryEntry]:
        """What the prompt of a mention shows; as the engine chooses it."""
        if not any(self._entries):
            return []
        return memory_beside(self._entries, self._scores, index, self._policy)

    def add(self, index: int, names: tuple[str, ...]) -> bool:
        """Remember a mention, if there is a link of it; names: gold ones, () without.

        A mention without gold names is remembered where links are predicted, as all mentions are
        that the engine links.
        """
        if self._source == "none":
            return False
        mention = self._mentions[index]
        found = mention.pinned
        if found is None and self._source == "predicted" and mention.retrieved:
            found = mention.retrieved[0]
        if found is not None:
            self._scores[index] = found.score
            names = (found.name,)
        elif self._source == "predicted":
            names = ()
        if names:
            self._entries[index] = entry(mention, names)
        return bool(names)


def entry(mention: Mention, names: tuple[str, ...]) -> MemoryEntry:
    """A line of memory; names: of a mention of several concepts more than one."""
    return MemoryEntry(mention.text, mention.group, JOINT.join(names))
