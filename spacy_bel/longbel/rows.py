"""What a run keeps of the documents and mentions in flight."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ..candidates import Candidate
from .beam_search import BeamSearch
from .document import Document, MemoryEntry

Links = list[list[Candidate]]


@dataclass
class Pending:
    """A document whose links are not complete, or could not be made.

    links: candidates of each mention. open_threads: threads of it that have not come to an end.
    """

    links: Links
    open_threads: int
    error: Exception | None = None


@dataclass
class Thread:
    """Mentions of one document that are linked in order, by one row.

    mentions: indices of those still to be linked. memory: earlier links as prompts show them.
    linked: their codes.
    """

    document: Document
    pending: Pending
    mentions: deque[int]
    memory: list[MemoryEntry] = field(default_factory=list)
    linked: set[str] = field(default_factory=set)


@dataclass
class Row:
    """A row of the cache: what it has read, and the search that it runs.

    prompt: ids in slots 0, 1, …. used: slots taken by prompt and beams. paths: for each running
    beam, the slots of its tokens.
    """

    thread: Thread
    prompt: list[int] = field(default_factory=list)
    used: int = 0
    search: BeamSearch | None = None
    paths: list[list[int]] = field(default_factory=list)
