"""What a run keeps of the documents and mentions in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..candidates import Candidate
from .answers import CODE_JOINT
from .document import Document, MemoryEntry, Mention
from .memory_policy import MemoryPolicy, memory_beside
from .models.base import Segment
from .search import PROMPT, Hypothesis, Reading, Search, TokenTree

Links = list[list[Candidate]]


class Trace(NamedTuple):
    """How a mention was linked: token ids of its prompt, and the names generated, best first."""

    prompt: list[int]
    hypotheses: list[Hypothesis]


@dataclass
class Pending:
    """A document whose links are not complete, or could not be made.

    links: candidates of each mention. traces: how they came about. open_threads: threads of it that
    have not come to an end.
    """

    links: Links
    traces: list[Trace]
    open_threads: int
    error: Exception | None = None


@dataclass
class Thread:
    """Mentions of one document that are linked in order, by one row.

    mentions: indices of those still to be linked. slots: estimate of the cache slots that the
    longest prompt takes. memory: earlier links as prompts show them, by mention; codes, scores:
    theirs. passes: how often the document is still to be read.
    """

    document: Document
    pending: Pending
    mentions: deque[int]
    slots: int
    memory: dict[int, MemoryEntry] = field(default_factory=dict)
    codes: dict[int, str] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    passes: int = 1

    @property
    def mention(self) -> Mention:
        """The one to be linked next."""
        return self.document.mentions[self.mentions[0]]

    def shown(self, policy: MemoryPolicy) -> list[MemoryEntry]:
        """What the next prompt shows of other mentions' links, in document order."""
        if not self.memory:
            return []
        everyone = range(len(self.document.mentions))
        return memory_beside(
            [self.memory.get(i) for i in everyone],
            [self.scores.get(i, 0.0) for i in everyone],
            self.mentions[0],
            policy,
        )

    def remember(self, index: int, best: Candidate) -> None:
        """Put a mention's link into memory."""
        mention = self.document.mentions[index]
        self.memory[index] = MemoryEntry(mention.text, mention.group, best.name)
        self.codes[index], self.scores[index] = best.code, best.score

    def forget(self, index: int) -> None:
        """Take a mention's earlier link out of memory."""
        for kept in (self.memory, self.codes, self.scores):
            kept.pop(index, None)

    def linked_codes(self) -> set[str]:
        """Codes that other mentions of the document have been linked to."""
        codes = {code for i, code in self.codes.items() if i != self.mentions[0]}
        return codes.union(*(code.split(CODE_JOINT) for code in codes))


@dataclass
class Row:
    """A row of the cache: what it has read, and the search that it runs.

    prompt: ids in slots 0, 1, …. unread: ids of the prompt that are still to be read behind them.
    given: ids of the prompt as it was put together. announced: whether the cache knows it. search:
    None between mentions. tree, tokens: what was read behind the prompt.
    """

    thread: Thread
    prompt: list[int] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    announced: bool = True
    search: Search | None = None
    tree: TokenTree = field(default_factory=TokenTree)
    tokens: list[int] = field(default_factory=list)

    @property
    def slots(self) -> int:
        """Slots that are taken."""
        return len(self.prompt) + len(self.tree)

    @property
    def taken(self) -> int:
        """Slots that are taken once the prompt is read."""
        return self.slots + len(self.unread)

    def prompt_segment(self, index: int, most: int) -> Segment:
        """The next `most` tokens of the prompt, which count as read from now on."""
        ids, self.unread = self.unread[:most], self.unread[most:]
        places = np.arange(len(self.prompt), len(self.prompt) + len(ids))
        self.prompt = [*self.prompt, *ids]
        return Segment(index, np.array(ids), places, places, None, keep=0 if self.unread else 1)

    def tree_segment(self, index: int, reading: Reading) -> Segment:
        """Tokens behind the prompt, each reading the prompt, its own path and itself."""
        first = len(self.tree)
        self.tree.add(reading.parents)
        self.tokens.extend(map(int, reading.tokens))
        new = np.arange(first, len(self.tree))
        mask: npt.NDArray[np.bool_] = np.zeros((len(new), self.slots), bool)
        mask[:, : len(self.prompt)] = True
        for place, parent, seen in zip(new, reading.parents, mask, strict=True):
            if parent >= first:  # of the same reading: what it sees is written already
                seen[:] = mask[parent - first]
            elif parent != PROMPT:
                seen[[len(self.prompt) + p for p in self.tree.path(int(parent))]] = True
            seen[len(self.prompt) + place] = True
        positions = len(self.prompt) - 1 + np.array(self.tree.depths[first:])
        return Segment(
            index,
            reading.tokens,
            positions,
            len(self.prompt) + new,
            mask,
            keep=len(new),
        )

    def forget(self) -> None:
        """Hold nothing of what was read."""
        self.prompt, self.tree, self.tokens = [], TokenTree(), []

    def generated(self, tokens: Sequence[int]) -> list[int]:
        """Places of the tree that hold these tokens behind the prompt, as far as they were read."""
        following = {
            (parent, token): place
            for place, (parent, token) in enumerate(
                zip(self.tree.parents, self.tokens, strict=True)
            )
        }
        found, place = [], PROMPT
        for token in tokens:
            place = following.get((place, token), _NOWHERE)
            if place == _NOWHERE:
                break
            found.append(place)
        return found


_NOWHERE = -2
