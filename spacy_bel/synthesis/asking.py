"""Many requests at once: who is asked again and when, and when nobody is asked any more."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Stream
from dataclasses import dataclass, field

from spacy_bel.errors import SettingsError
from spacy_bel.synthesis.base import Answer, Failure, GenerationError, Generator, Request
from spacy_bel.synthesis.cost import Budget
from spacy_bel.synthesis.store import AnswerStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a service is waited for.

    tries: how often a request is sent, until it is given up for this run; ten times as often where
    a limit of requests a minute turns it away while others are answered. first: seconds before the
    second try; twice as long before each further one, up to longest. longest_pause: seconds that a
    service may ask to be left alone. failures: requests given up in a row, none answered between
    them, after which the service is taken to be down.

    Raises SettingsError for numbers that leave nothing to try.
    """

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0
    longest_pause: float = 900.0
    failures: int = 10

    def __post_init__(self) -> None:
        if min(self.tries, self.failures) < 1 or min(self.first, self.longest) < 0:
            raise SettingsError(
                "tries and failures are at least 1, first and longest seconds of at least 0."
            )


@dataclass(slots=True)
class _Waiting:
    """A request to be sent.

    tries: how often it came to nothing, and no other was answered between; sent: how often in all.
    answers: how many there were when it was last turned away.
    """

    request: Request
    tries: int = 0
    sent: int = 0
    answers: int = -1


@dataclass(slots=True)
class _Sent:
    batch: list[_Waiting]
    outcomes: Sequence[Answer | Failure] = ()
    error: BaseException | None = None


@dataclass
class Asking:
    """Sends requests to a generator, and keeps what comes back.

    generator: who is asked. store: where answers go, in the thread that got them, before anybody
    else sees them. budget: what may be spent. patience: how failures are met. tell: called with
    messages for people.

    stopped: why it ended before all was asked, "" if it did not; short_of_money: since the budget
    is at its end. failed: messages of requests without answer, by code. answers: how many came.
    """

    generator: Generator
    store: AnswerStore
    budget: Budget
    patience: Patience = field(default_factory=Patience)
    tell: Callable[[str], None] = logger.warning

    def __post_init__(self) -> None:
        self.stopped = ""
        self.short_of_money = False
        self.failed: dict[str, str] = {}
        self.answers = 0
        self._ready: deque[_Waiting] = deque()
        self._later: list[tuple[float, int, _Waiting]] = []
        self._order = itertools.count()
        self._inbox: queue.SimpleQueue[_Sent | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[_Sent] = queue.SimpleQueue()
        self._in_flight = 0
        self._all_read = False
        self._pause_until = 0.0
        self._given_up = 0

    def again(self, request: Request) -> None:
        """Send one more request, before those that have not been read yet."""
        self._ready.append(_Waiting(request))

    def run(self, requests: Iterator[Request]) -> Stream[Request, None, None]:
        """Send all requests; give each when its answer is in the store.

        requests: read as they can be sent. Close the iterator to stop: it waits for what is in
        flight, which is paid for, and so does an interruption; a second one does not.

        Raises what the generator raises, when all that is in flight is kept. At the end of the
        budget, and where the service is down, it stops and says so in `stopped`.
        """
        threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(self.generator.in_flight)
        ]
        for thread in threads:
            thread.start()
        try:
            while not self.stopped:
                waited_for_money = self._send(requests)
                if not self._in_flight:
                    if waited_for_money:
                        self.short_of_money = True
                        self.stopped = (
                            f"the next request could exceed the {self.budget.limit:g} that may be "
                            f"spent; {self.budget.spent:.4f} are"
                        )
                        return
                    if self._all_read and not (self._ready or self._later):
                        return
                sent = self._next()
                if sent is not None:
                    yield from self._settle(sent)
        finally:
            self._drain()
            for _ in threads:
                self._inbox.put(None)

    def _send(self, requests: Iterator[Request]) -> bool:
        """Send what can be sent now; True if it is money that is missing."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])
        if now < self._pause_until:
            return False
        size = self.generator.batch_size
        places = self.generator.in_flight * size
        while self._in_flight < self.generator.in_flight:
            batch: list[_Waiting] = []
            short = False
            while len(batch) < size:
                if not self._ready:
                    # What waits keeps its place: a service in trouble gets no further requests.
                    if len(self._later) + len(batch) >= places - self._in_flight * size:
                        break
                    request = next(requests, None)
                    if request is None:
                        self._all_read = True
                        break
                    self._ready.append(_Waiting(request))
                if not self.budget.reserve(self._ready[0].request, self.generator.max_tokens):
                    short = True
                    break
                batch.append(self._ready.popleft())
            if not batch:
                return short
            self._in_flight += 1
            try:
                self.store.check_room()
            except BaseException:
                self._in_flight -= 1
                raise
            self._inbox.put(_Sent(batch))
        return False

    def _next(self) -> _Sent | None:
        """What comes back next, or None when it is time to send again."""
        now = time.monotonic()
        moments = [self._later[0][0]] if self._later else []
        if self._pause_until > now:
            moments.append(self._pause_until)
        timeout: float | None
        if moments:
            timeout = max(0.001, max(min(moments), self._pause_until) - now)
        else:
            timeout = None if self._in_flight else 0.001
        try:
            return self._outbox.get(timeout=timeout)
        except queue.Empty:
            return None

    def _settle(self, sent: _Sent) -> Iterator[Request]:
        self._in_flight -= 1
        for waiting in sent.batch:
            self.budget.release(waiting.request, self.generator.max_tokens)
        if sent.error is not None:
            raise sent.error
        for waiting, outcome in zip(sent.batch, sent.outcomes, strict=True):
            if isinstance(outcome, Answer):
                self.answers += 1
                self._given_up = 0
                self.failed.pop(waiting.request.code, None)
                yield waiting.request
            else:
                self._fail(waiting, outcome)

    def _fail(self, waiting: _Waiting, failure: Failure) -> None:
        """Send a request later once more, or give it up."""
        request = waiting.request
        if failure.wait is not None:
            if failure.wait > self.patience.longest_pause:
                self.stopped = (
                    f"the service asks to be left alone for {failure.wait:.0f} seconds "
                    f"({failure.message})"
                )
            self._pause_until = max(self._pause_until, time.monotonic() + failure.wait)
        # Where others are answered meanwhile, a limit of requests a minute is no failure.
        if failure.wait is not None and waiting.answers != self.answers:
            waiting.tries = 0
        else:
            waiting.tries += 1
        waiting.sent += 1
        waiting.answers = self.answers
        most = self.patience.tries
        if failure.kind == "refused" or waiting.tries >= most or waiting.sent >= 10 * most:
            self.failed[request.code] = failure.message
            self._given_up += 1
            if self._given_up >= self.patience.failures:
                self.stopped = (
                    f"{self._given_up} requests in a row came to nothing, the last one since: "
                    f"{failure.message}"
                )
            return
        delay = min(self.patience.longest, self.patience.first * 2 ** max(0, waiting.tries - 1))
        # Requests that failed together should not come back together.
        delay = max(failure.wait or 0.0, delay * random.uniform(0.75, 1.25))
        heapq.heappush(self._later, (time.monotonic() + delay, next(self._order), waiting))

    def _drain(self) -> None:
        """Wait for what is in flight."""
        if self._in_flight:
            self.tell(
                f"Waiting for {self._in_flight} answers that are on their way; interrupt again to "
                "give them up."
            )
        while self._in_flight:
            sent = self._outbox.get()
            self._in_flight -= 1
            self.answers += sum(isinstance(outcome, Answer) for outcome in sent.outcomes)
            if sent.error is not None:
                self.tell(str(sent.error))

    def _work(self) -> None:
        """What each thread does."""
        while (sent := self._inbox.get()) is not None:
            try:
                sent.outcomes = self._ask([waiting.request for waiting in sent.batch])
            except BaseException as error:  # told where it can be raised
                sent.error = error
            self._outbox.put(sent)

    def _ask(self, requests: list[Request]) -> Sequence[Answer | Failure]:
        outcomes = list(self.generator.generate(requests))
        if len(outcomes) != len(requests):
            raise GenerationError(
                f"The generator {self.generator.name!r} has to give an answer or a failure for "
                f"each of {len(requests)} requests, but gave {len(outcomes)}."
            )
        most = self.generator.max_tokens
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, Answer):
                self.store.add(request, outcome, most)
            elif outcome.kind == "lost":
                self.store.add_lost(request, most)
        return outcomes
