"""One pass over a stream of documents: mention after mention, many documents at once.

Every document in flight owns a row of the cache. A row reads a mention's prompt once, from the
first token that differs from what it holds; the tokens of the mention's search follow in the same
row, each attending to the prompt, its own path and itself (a tree mask), so that nothing is copied
or reordered. All rows step together: prompts that begin and searches that go on are read in one
forward pass, and a row whose document is done takes up the next at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..candidates import Candidate
from ..errors import ModelError
from ..memory import free_memory, is_out_of_memory
from .document import Document
from .intake import Intake
from .models.base import Segment
from .rows import Pending, Row, Thread, Trace
from .search import PROMPT, Hypothesis, Question, TokenTree
from .window import MentionTooLongError, fit_prompt

if TYPE_CHECKING:
    from .engine import Engine

logger = logging.getLogger(__name__)

#: Prompt tokens that are read in one forward pass; more would only cost memory.
_PROMPT_TOKENS = 2048
_ANSWERS_KEPT = 4096

_NAN = "The model returned NaN. Check its weights, or load it with dtype='float32'."
_NO_MEMORY = (
    "Memory ran out although nothing else was being linked. Set max_length to read less of long "
    "documents at once, or choose a prompt that shows only the sentence."
)


class Run:
    """One pass over a stream of documents.

    keep_traces: keep prompts and generated names beside the links.
    """

    def __init__(
        self,
        engine: Engine,
        documents: Iterator[Document],
        *,
        keep_traces: bool = False,
    ) -> None:
        self.engine = engine
        self.intake = Intake(engine, documents)
        self.rows: list[Row] = []
        self.max_rows = engine.batch_size
        self.max_slots = engine.batch_tokens
        self.cache = engine.take_cache()
        #: What equal prompts have been answered: mentions recur, within a document and beyond.
        self.answers: dict[tuple[object, ...], list[Hypothesis]] = {}
        self.keep_traces = keep_traces

    def results(self) -> Iterator[Pending]:
        """Each document with its links, in the order in which documents came."""
        yield from self._results()
        # Not after an error: what a failed run has left there might be no numbers.
        self.engine.return_cache(self.cache)

    def _results(self) -> Iterator[Pending]:
        while True:
            self._fill_rows()
            pending = self.intake.pending
            while pending and not pending[0].open_threads:
                yield pending.popleft()
            if not self.rows:
                if self.intake.exhausted and not pending:
                    return
                continue
            self._step()

    # Documents and rows

    def _fill_rows(self) -> None:
        while (thread := self._next_thread(len(self.rows))) is not None:
            self.rows.append(Row(thread))

    def _next_thread(self, others: int) -> Thread | None:
        """The next thread, if there is one and room for it beside `others` rows."""
        if others >= self.max_rows:
            return None
        if not others:
            return self.intake.take(None)
        # All rows are as long as the longest.
        room = self.max_slots // (others + 1)
        longest = max(self._slots(row) for row in self.rows)
        return self.intake.take(room) if longest <= room else None

    def _slots(self, row: Row) -> int:
        return max(self.intake.slots(row.thread), row.taken)

    def _leave(self, index: int) -> None:
        """Give a finished row the next thread, or close the gap it leaves."""
        row = self.rows[index]
        row.thread.pending.open_threads -= 1
        thread = self._next_thread(len(self.rows) - 1)
        if thread is not None:
            row.thread, row.search, row.unread = thread, None, []
            return
        last = self.rows.pop()
        if index < len(self.rows):
            if len(self.rows) < self.cache.rows:  # else it has read nothing yet
                self.cache.move(len(self.rows), index)
            self.rows[index] = last

    def _fail(self, index: int, error: Exception) -> None:
        thread = self.rows[index].thread
        thread.pending.error = error
        thread.mentions.clear()
        self._leave(index)

    # Prompts

    def _begin_prompts(self) -> None:
        """Give every row that has no search its next prompt."""
        index = 0
        while index < len(self.rows):
            # A row that is given away leaves another at its place, which is looked at again.
            if self.rows[index].search is not None or self._begin(index):
                index += 1

    def _begin(self, index: int) -> bool:
        """Begin the next mention of a row; False if its thread has come to an end."""
        row, engine = self.rows[index], self.engine
        thread = row.thread
        while thread.mentions or self._read_again(thread):
            mention = thread.mention
            if mention.pinned is not None:
                self._pin(thread, mention.pinned)
                continue
            try:
                engine.group_mask(mention.groups)  # an unknown group fails its document only
                fitted = fit_prompt(
                    engine.prompt,
                    thread.document,
                    mention,
                    thread.shown(engine.memory),
                    engine.tokenizer.encode,
                    engine.budget,
                )
            except MentionTooLongError:
                engine.report.mentions_too_long += thread.passes == 1
                thread.mentions.popleft()
                continue
            except Exception as error:
                self._fail(index, error)
                return False
            engine.report.memory_trimmed += fitted.dropped_memory > 0
            engine.report.context_cut += fitted.cut_context
            row.given = fitted.ids
            known = self.answers.get(self._key(row))
            if known is None:
                self._turn_to(index, fitted.ids)
                return True
            self._record(row, known)
        self._leave(index)
        return False

    def _read_again(self, thread: Thread) -> bool:
        """Whether a document is to be read once more, with what is known of all its mentions."""
        if thread.passes <= 1 or thread.pending.error is not None:
            return False
        thread.passes -= 1
        thread.mentions.extend(range(len(thread.document.mentions)))
        return True

    def _pin(self, thread: Thread, link: Candidate) -> None:
        index = thread.mentions.popleft()
        thread.pending.links[index] = [link]
        if self.engine.prompt.uses_memory:
            thread.remember(index, link)
        self.engine.report.pinned += thread.passes == 1

    def _turn_to(self, index: int, ids: list[int]) -> None:
        """Let a row go on from what its prompt shares with what it holds."""
        row, engine = self.rows[index], self.engine
        ids = engine.model.decoder_prompt(ids)
        shared = self._shared(index, ids)
        row.prompt, row.unread = ids[:shared], ids[shared:]
        row.tree, row.tokens = TokenTree(), []
        row.search = engine.new_search(row.thread.mention)
        row.announced = False
        engine.report.prompt_tokens += len(ids)

    def _shared(self, index: int, ids: list[int]) -> int:
        """Leading tokens of a prompt that the row has read already."""
        row = self.rows[index]
        if not self.engine.reuse_prefix:
            return 0
        # The last token is always read, for the scores that follow it.
        limit = min(len(row.prompt), len(ids) - 1)
        shared = next((i for i in range(limit) if row.prompt[i] != ids[i]), limit)
        if shared == len(row.prompt):
            # The prompt goes on where the last one ended: perhaps with a name that was generated.
            places = row.generated(ids[shared:-1])
            if places:
                self.cache.move_slots(index, [shared + place for place in places], shared)
                shared += len(places)
        return shared

    def _key(self, row: Row) -> tuple[object, ...]:
        mention = row.thread.mention
        return tuple(row.given), mention.groups, self.engine.scored(mention)

    # One forward pass

    def _step(self) -> None:
        """Read what every row needs next, and let the searches go on."""
        self._begin_prompts()
        if not self.rows:
            return
        segments = self._segments()
        self._hold_back()
        segments = [segment for segment in segments if segment.row < len(self.rows)]
        try:
            self._make_room()
            self._announce()
            scores = self.engine.model.read(segments, self.cache)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            scores = None
        if scores is None:  # out here, where no error holds on to what was computed
            self._back_off()
            return
        self.engine.report.forward_passes += 1
        self._answer(segments, scores)

    def _segments(self) -> list[Segment]:
        model, report = self.engine.model, self.engine.report
        segments, room = [], _PROMPT_TOKENS
        for index, row in enumerate(self.rows):
            assert row.search is not None
            if row.unread:
                if room > 0:
                    most = len(row.unread) if model.bidirectional_prompt else room
                    segment = row.prompt_segment(index, most)
                    if model.bidirectional_prompt:
                        length = len(segment.ids)
                        segment = segment._replace(mask=np.ones((length, length), bool))
                    segments.append(segment)
                    room -= len(segment.ids)
                    report.read_tokens += len(segment.ids)
            else:
                segments.append(row.tree_segment(index, row.search.reading()))
                report.beam_tokens += len(segments[-1].ids)
        return segments

    def _answer(self, segments: list[Segment], scores: Tensor) -> None:
        """Tell searches what they ask for; scores: (kept tokens, vocabulary)."""
        asked: list[tuple[int, Question, np.ndarray]] = []
        first = 0
        for segment in segments:
            row = self.rows[segment.row]
            if segment.keep:
                assert row.search is not None
                question = row.search.question()
                # Kept tokens are the last of the tree, or the last of the prompt.
                shift = first + segment.keep - len(row.tree) if len(row.tree) else first - PROMPT
                asked.append((segment.row, question, question.places + shift))
            first += segment.keep
        found = _look_up(scores, [(question, places) for _, question, places in asked])
        failed = []
        for (index, _, _), (log_probabilities, tokens) in zip(asked, found, strict=True):
            row = self.rows[index]
            assert row.search is not None
            if np.isnan(log_probabilities).any():
                failed.append(index)
                continue
            row.search.advance(log_probabilities, tokens)
            if row.search.done:
                self._finish(row)
        for index in sorted(failed, reverse=True):
            self.cache.clear(index)
            self.rows[index].forget()
            self._fail(index, ModelError(_NAN))

    def _finish(self, row: Row) -> None:
        assert row.search is not None
        hypotheses = row.search.finished
        for search in getattr(row.search, "searches", [row.search]):
            self.engine.report.needed_beam_tokens += getattr(search, "needed_tokens", 0)
            self.engine.report.unproven += not getattr(search, "complete", True)
        if len(self.answers) >= _ANSWERS_KEPT:
            self.answers.clear()
        self.answers[self._key(row)] = hypotheses
        row.search = None
        self._record(row, hypotheses)

    def _record(self, row: Row, hypotheses: list[Hypothesis]) -> None:
        """Store the links of the row's mention and go on to its next one."""
        thread, mention, engine = row.thread, row.thread.mention, self.engine
        candidates = engine.candidates(mention, hypotheses, thread.linked_codes())
        index = thread.mentions.popleft()
        thread.pending.links[index] = candidates
        if self.keep_traces:
            thread.pending.traces[index] = Trace(row.given, hypotheses)
        if engine.prompt.uses_memory:
            if candidates and engine.accept(candidates[0]):
                thread.remember(index, candidates[0])
            else:
                thread.forget(index)
        engine.report.mentions += thread.passes == 1

    # Memory of the machine

    def _hold_back(self) -> None:
        """Let the last rows wait while all together would take more than the cache may hold."""
        for row in self.rows:
            self.intake.learn(row.thread, row.taken)
        waiting = []
        while len(self.rows) * max(row.taken for row in self.rows) > self.max_slots:
            if len(self.rows) == 1:
                break
            waiting.append(self.rows.pop().thread)
        self.intake.put_back(waiting)

    def _make_room(self) -> None:
        """See that the cache has a row for everyone, long enough for what is to be read."""
        count, cache = len(self.rows), self.cache
        needed = max(row.slots for row in self.rows)
        if count <= cache.rows and needed <= cache.capacity:
            return
        # More than is needed now, so as not to do this at every step.
        wished = max(self._slots(row) for row in self.rows) * 9 // 8
        capacity = max(needed, min(wished, self.max_slots // count))
        rows = min(count + self.intake.waiting, self.max_rows, self.max_slots // capacity)
        cache.resize(max(rows, count), capacity)

    def _announce(self) -> None:
        for index, row in enumerate(self.rows):
            if not row.announced:
                self.cache.begin(index, row.given)
                row.announced = True

    def _back_off(self) -> None:
        """Begin the mentions in flight again with half as many rows."""
        engine = self.engine
        alone = len(self.rows) == 1 and self.cache.rows == 1
        self.cache = engine.model.new_cache(1, 0)
        free_memory()
        if alone:
            self.rows[0].forget()
            self._fail(0, ModelError(_NO_MEMORY))
            return
        self.max_rows = max(1, len(self.rows) // 2)
        self.max_slots = max(1, self.max_slots // 2)
        logger.warning(
            "Memory ran out with %d documents in flight: going on with %d. Set batch_size or "
            "batch_tokens lower to begin so.",
            len(self.rows),
            self.max_rows,
        )
        self.intake.put_back(row.thread for row in self.rows)
        self.rows = []


def _look_up(
    scores: Tensor, asked: list[tuple[Question, np.ndarray]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Answers to questions: log-probabilities, float64, and their tokens.

    asked: questions and the rows of `scores` that their places are. What all of them name is
    gathered where the scores are, and fetched at once.
    """
    named = [(question.tokens, at) for question, at in asked if not question.top]
    values = np.empty(0)
    if named:
        tokens = torch.from_numpy(np.concatenate([tokens for tokens, _ in named]))
        places = torch.from_numpy(np.concatenate([at for _, at in named]))
        found = scores[places.to(scores.device), tokens.to(scores.device).long()]
        values = found.cpu().double().numpy()
    first = 0
    for question, at in asked:
        if question.top:
            top = min(question.top, scores.shape[-1])
            best = scores[torch.from_numpy(at).to(scores.device)].topk(top)
            yield best.values.cpu().double().numpy(), best.indices.cpu().numpy()
        else:
            yield values[first : first + len(at)], question.tokens
            first += len(at)
