"""Documents on their way into a run: which comes next, and whether there is room for it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .document import Document
from .rows import Pending, Thread, Trace

if TYPE_CHECKING:
    from .engine import Engine

#: Mentions that one row links in order when a prompt has no memory, so that the rest of the
#: document can be linked beside them.
_MENTIONS_PER_THREAD = 4
#: Characters per token and tokens per mention by which a prompt's length is estimated.
_CHARACTERS_PER_TOKEN = 3
_TOKENS_PER_MENTION = 24


class Intake:
    """Reads a stream of documents as far as needed and hands out their threads.

    engine: its prompt and settings say how documents are read.

    exhausted: whether the stream has ended. pending: documents that were read and have not been
    given back, in their order.
    """

    def __init__(self, engine: Engine, documents: Iterator[Document]) -> None:
        self._engine = engine
        self._documents = documents
        self._queue: deque[Thread] = deque()
        #: The largest ratio of slots taken to slots estimated so far.
        self._shortfall = 1.0
        self.exhausted = False
        self.pending: deque[Pending] = deque()

    def take(self, room: int | None) -> Thread | None:
        """The next thread, if there is one that takes no more slots than `room`; None for any.

        The longest comes first, so that no long document is left to run alone at the end; if there
        is no room for it, the others wait, too, so that there will be.
        """
        self._read_on()
        if not self._queue:
            return None
        thread = max(self._queue, key=lambda thread: len(thread.mentions))
        if room is not None and self.slots(thread) > room:
            return None
        self._queue.remove(thread)
        return thread

    @property
    def waiting(self) -> int:
        """Threads that could be taken at once."""
        return len(self._queue)

    def slots(self, thread: Thread) -> int:
        """Slots that a thread takes, by its estimate and by how far estimates fell short."""
        return math.ceil(thread.slots * self._shortfall)

    def learn(self, thread: Thread, slots: int) -> None:
        """Correct estimates by what a thread takes now."""
        self._shortfall = max(self._shortfall, slots / thread.slots)

    def put_back(self, threads: Iterable[Thread]) -> None:
        """Threads that are to be begun again."""
        self._queue.extend(threads)

    def _read_on(self) -> None:
        # Reading on stops while finished documents wait for one ahead of them.
        while not self.exhausted and len(self.pending) < 4 * self._engine.batch_size:
            document = next(self._documents, None)
            if document is None:
                self.exhausted = True
            else:
                self._admit(document)

    def _admit(self, document: Document) -> None:
        with_memory = self._engine.prompt.uses_memory
        indices = range(len(document.mentions))
        size = len(indices) if with_memory else _MENTIONS_PER_THREAD
        parts = [indices[i : i + size] for i in range(0, len(indices), max(size, 1))]
        pending = Pending([[] for _ in indices], [Trace([], []) for _ in indices], len(parts))
        self.pending.append(pending)
        # One mention alone would be read with the same prompt again.
        passes = self._engine.passes if with_memory and len(indices) > 1 else 1
        slots = self._estimate(document) if parts else 0
        for part in parts:
            self._queue.append(Thread(document, pending, deque(part), slots, passes=passes))

    def _estimate(self, document: Document) -> int:
        """Slots that the prompts of a document take, roughly."""
        engine = self._engine
        window = engine.prompt.window(document, document.mentions[0])
        if window is None:
            characters = sum(len(passage.text) for passage in document.passages)
        else:
            characters = 2 * (window[1] - window[0])
        mentions = len(document.mentions) if engine.prompt.uses_memory else 1
        tokens = characters // _CHARACTERS_PER_TOKEN + (mentions + 4) * _TOKENS_PER_MENTION
        return min(tokens, engine.budget + 8 * engine.trie.trie.depth)
