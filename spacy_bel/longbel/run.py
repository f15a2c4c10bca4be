"""One pass over a stream of documents: mention after mention, many documents at once.

Every document in flight owns a row of the cache. A row reads a mention's prompt once, from the
first token that differs from the prompt it read before; the beams of the mention follow in the same
row, each token attending to the prompt, its own ancestors and itself (a tree mask), so that a beam
costs one token per step and nothing is copied or reordered. Rows step together in one forward pass,
and a row whose document is done takes up the next at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..kb.token_trie import IntArray
from .beam_search import BeamSearch, Hypothesis
from .document import Document, MemoryEntry, Mention
from .rows import Links, Pending, Row, Thread
from .window import MentionTooLongError, fit_prompt

if TYPE_CHECKING:
    from .engine import Engine

#: Mentions that one row links in order when a prompt has no memory, so that the rest of the
#: document can be linked beside them.
_MENTIONS_PER_THREAD = 4
#: Padded prompt tokens that are read in one forward pass; more would only cost memory.
_PROMPT_TOKENS = 2048
_ANSWERS_KEPT = 4096


class Run:
    """One pass over a stream of documents."""

    def __init__(
        self, engine: Engine, documents: Iterator[Document], *, keep_hypotheses: bool = False
    ) -> None:
        self.engine = engine
        self.documents = documents
        self.exhausted = False
        self.queue: deque[Thread] = deque()
        self.pending: deque[Pending] = deque()
        self.rows: list[Row] = []
        self.cache = engine.take_cache()
        #: What equal prompts have been answered: mentions recur, within a document and beyond.
        self.answers: dict[tuple[tuple[int, ...], tuple[str, ...]], list[Hypothesis]] = {}
        self.keep_hypotheses = keep_hypotheses
        self.hypotheses: dict[int, list[list[Hypothesis]]] = {}

    def results(self) -> Iterator[Links | Exception]:
        """Links of each document, in the order in which documents came."""
        yield from self._results()
        # Not after an error: what a failed run has left there might be no numbers.
        self.engine.return_cache(self.cache)

    def _results(self) -> Iterator[Links | Exception]:
        while True:
            self._fill_rows()
            while self.pending and not self.pending[0].open_threads:
                done = self.pending.popleft()
                yield done.error or done.links
            if not self.rows:
                if self.exhausted and not self.pending:
                    return
                continue
            self._read_prompts()
            self._step()

    # Documents and rows

    def _fill_rows(self) -> None:
        while len(self.rows) < self.engine.batch_size and self._has_thread():
            self.rows.append(Row(self.queue.popleft()))

    def _has_thread(self) -> bool:
        # Reading on stops while finished documents wait for one ahead of them.
        while not self.queue and not self.exhausted and len(self.pending) < self._read_ahead:
            document = next(self.documents, None)
            if document is None:
                self.exhausted = True
            else:
                self._admit(document)
        return bool(self.queue)

    @property
    def _read_ahead(self) -> int:
        return 4 * self.engine.batch_size

    def _admit(self, document: Document) -> None:
        links: Links = [[] for _ in document.mentions]
        if self.keep_hypotheses:
            self.hypotheses[id(links)] = [[] for _ in document.mentions]
        indices = range(len(document.mentions))
        size = len(indices) if self.engine.prompt.uses_memory else _MENTIONS_PER_THREAD
        parts = [indices[i : i + size] for i in range(0, len(indices), max(size, 1))]
        pending = Pending(links, open_threads=len(parts))
        self.pending.append(pending)
        for part in parts:
            self.queue.append(Thread(document, pending, deque(part)))

    def _leave(self, index: int) -> None:
        """Give a finished row the next thread, or close the gap it leaves."""
        row = self.rows[index]
        row.thread.pending.open_threads -= 1
        if self._has_thread():
            row.thread = self.queue.popleft()
            return
        last = self.rows.pop()
        if index < len(self.rows):
            self.cache.move(len(self.rows), index)
            self.rows[index] = last

    def _fail(self, index: int, error: Exception) -> None:
        thread = self.rows[index].thread
        thread.pending.error = error
        thread.mentions.clear()
        self._leave(index)

    # Prompts

    def _read_prompts(self) -> None:
        """Read the next prompt of every row that has no search, until all of them have one."""
        while True:
            waiting: list[tuple[int, list[int]]] = []
            index = 0
            while index < len(self.rows):
                if self.rows[index].search is None:
                    ids = self._next_prompt(index)
                    if ids is None:  # the row was given away: look at the same place again
                        continue
                    waiting.append((index, ids))
                index += 1
            if not waiting:
                return
            for group in self._prompt_batches(waiting):
                self._read(group)

    def _next_prompt(self, index: int) -> list[int] | None:
        """Ids of the row's next prompt; None if its thread has come to an end."""
        row, engine = self.rows[index], self.engine
        thread = row.thread
        while thread.mentions:
            mention = thread.document.mentions[thread.mentions[0]]
            try:
                engine.group_mask(mention.groups)  # an unknown group fails its document only
                fitted = fit_prompt(
                    engine.prompt,
                    thread.document,
                    mention,
                    thread.memory,
                    engine.tokenizer.encode,
                    engine.budget,
                )
            except MentionTooLongError:
                engine.report.mentions_too_long += 1
                thread.mentions.popleft()
                continue
            except Exception as error:
                self._fail(index, error)
                return None
            engine.report.memory_trimmed += fitted.dropped_memory > 0
            engine.report.context_cut += fitted.cut_context
            known = self.answers.get((tuple(fitted.ids), mention.groups))
            if known is None:
                return fitted.ids
            self._record(row, known)
        self._leave(index)
        return None

    def _prompt_batches(
        self, waiting: list[tuple[int, list[int]]]
    ) -> Iterator[list[tuple[int, list[int], int]]]:
        """Groups of (row, prompt, tokens already read), of similar length and bounded size."""
        shared = [(i, ids, self._shared(self.rows[i], ids)) for i, ids in waiting]
        shared.sort(key=lambda item: len(item[1]) - item[2])
        group: list[tuple[int, list[int], int]] = []
        for item in shared:
            if group and (len(group) + 1) * (len(item[1]) - item[2]) > _PROMPT_TOKENS:
                yield group
                group = []
            group.append(item)
        if group:
            yield group

    def _shared(self, row: Row, ids: list[int]) -> int:
        if not self.engine.reuse_prefix:
            return 0
        # The last token is always read, for the scores that follow it.
        limit = min(len(row.prompt), len(ids) - 1)
        return next((i for i in range(limit) if row.prompt[i] != ids[i]), limit)

    def _read(self, group: list[tuple[int, list[int], int]]) -> None:
        """Read prompts from where they differ from what the rows hold, and start the searches."""
        if len(group) == 1 and not self.engine.model.bidirectional_prompt:
            (index, ids, shared) = group[0]
            # A long prompt goes in pieces: the mask of a forward pass grows with its square.
            while len(ids) - shared > _PROMPT_TOKENS:
                self._feed([(index, ids[: shared + _PROMPT_TOKENS], shared)])
                shared += _PROMPT_TOKENS
            group = [(index, ids, shared)]
        scores = self._feed(group)
        for r, (index, ids, _) in enumerate(group):
            row = self.rows[index]
            row.search = self._new_search(self._mention(row))
            row.paths = [[]]
            self.engine.report.prompt_tokens += len(ids)
            self._advance(row, scores[r])

    def _feed(self, group: list[tuple[int, list[int], int]]) -> Tensor:
        """One forward pass over the unread ends of prompts; log-probabilities after each."""
        engine = self.engine
        width = max(len(ids) - shared for _, ids, shared in group)
        length = max(len(ids) for _, ids, _ in group)
        self._make_room(length)
        # Prompts end together, on the right, so that one slice holds the scores to come.
        shape = (len(group), width)
        ids_array, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        slots = np.full(shape, self.cache.padding_slot, np.int64)
        mask = np.zeros((*shape, length), bool)
        mask[:, :, 0] = True  # padding has to read something
        for r, (index, ids, shared) in enumerate(group):
            row, new = self.rows[index], np.arange(shared, len(ids))
            ids_array[r, width - len(new) :] = ids[shared:]
            positions[r, width - len(new) :] = new
            slots[r, width - len(new) :] = new
            readable = np.arange(length)[None, :]
            if engine.model.bidirectional_prompt:
                mask[r, width - len(new) :] = readable < len(ids)
            else:
                mask[r, width - len(new) :] = readable <= new[:, None]
            row.prompt, row.used = ids, len(ids)
            self.cache.begin(index, ids)
            engine.report.read_tokens += len(new)
        rows = torch.tensor([index for index, _, _ in group], device=engine.model.device)
        chosen = slice(int(rows[0]), int(rows[0]) + 1) if len(group) == 1 else rows
        return self._forward(ids_array, positions, slots, mask, chosen, keep=1)

    def _new_search(self, mention: Mention) -> BeamSearch:
        engine = self.engine
        return BeamSearch(
            engine.trie.trie,
            engine.group_mask(mention.groups),
            engine.tokenizer.end_token,
            engine.num_beams,
            engine.length_penalty,
        )

    # Beams

    def _step(self) -> None:
        """Feed the newest token of every beam of every row in one forward pass."""
        if not self.rows:
            return
        searches = [row.search for row in self.rows if row.search is not None]
        width = max(len(search.tokens) for search in searches)
        length = max(row.used + width for row in self.rows)
        self._make_room(length)
        shape = (len(self.rows), width)
        ids, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        slots = np.full(shape, self.cache.padding_slot, np.int64)
        mask = np.zeros((*shape, length), bool)
        mask[:, :, 0] = True
        for r, (row, search) in enumerate(zip(self.rows, searches, strict=True)):
            beams = len(search.tokens)
            new = np.arange(row.used, row.used + beams)
            ids[r, :beams], slots[r, :beams] = search.tokens, new
            positions[r, :beams] = len(row.prompt) + search.depth - 1
            row.paths = [
                [*row.paths[parent], int(slot)]
                for parent, slot in zip(search.parents, new, strict=True)
            ]
            mask[r, :beams, : len(row.prompt)] = True
            for beam, path in enumerate(row.paths):
                mask[r, beam, path] = True
            row.used += beams
            self.engine.report.beam_tokens += beams
        scores = self._forward(ids, positions, slots, mask, slice(0, len(self.rows)), keep=width)
        for row, row_scores in zip(self.rows, scores, strict=True):
            self._advance(row, row_scores)

    def _advance(self, row: Row, scores: Tensor) -> None:
        """Move a row's search on by one token; scores: (≥ beams, vocabulary) log-probabilities."""
        search = row.search
        assert search is not None
        beams, edges = search.options()
        tokens = search.trie.edge_tokens[edges]
        search.advance(beams, edges, _gather(scores, beams, tokens))
        if search.done:
            self._finish(row, search)

    def _finish(self, row: Row, search: BeamSearch) -> None:
        row.search = None
        if len(self.answers) >= _ANSWERS_KEPT:
            self.answers.clear()
        self.answers[tuple(row.prompt), self._mention(row).groups] = search.finished
        self._record(row, search.finished)

    def _record(self, row: Row, hypotheses: list[Hypothesis]) -> None:
        """Store the links of the row's mention and go on to its next one."""
        thread, mention = row.thread, self._mention(row)
        index = thread.mentions.popleft()
        candidates = self.engine.trie.candidates(
            mention.text, hypotheses, self.engine.group_mask(mention.groups), thread.linked
        )
        thread.pending.links[index] = candidates
        if self.keep_hypotheses:
            self.hypotheses[id(thread.pending.links)][index] = hypotheses
        if self.engine.prompt.uses_memory and candidates and self.engine.accept(candidates[0]):
            thread.memory.append(MemoryEntry(mention.text, mention.group, candidates[0].name))
            thread.linked.add(candidates[0].code)
        self.engine.report.mentions += 1

    def _mention(self, row: Row) -> Mention:
        return row.thread.document.mentions[row.thread.mentions[0]]

    # The model

    def _make_room(self, length: int) -> None:
        if length > self.cache.capacity:
            self.cache.grow(max(length, self.cache.capacity * 3 // 2))

    def _forward(
        self,
        ids: IntArray,
        positions: IntArray,
        slots: IntArray,
        mask: np.ndarray,
        rows: slice | Tensor,
        keep: int,
    ) -> Tensor:
        model = self.engine.model
        self.engine.report.forward_passes += 1
        return model.forward(
            torch.from_numpy(ids).to(model.device),
            torch.from_numpy(positions).to(model.device),
            torch.from_numpy(slots).to(model.device),
            torch.from_numpy(mask).to(model.device),
            self.cache,
            rows,
            keep,
        )


def _gather(scores: Tensor, beams: IntArray, tokens: IntArray) -> np.ndarray:
    index = torch.from_numpy(beams).to(scores.device), torch.from_numpy(tokens).to(scores.device)
    chosen = scores[index[0], index[1].long()].double().cpu().numpy()
    if np.isnan(chosen).any():
        raise ModelError(
            "The model returned NaN. Check its weights, or load it with dtype='float32'."
        )
    return chosen
