"""What is asked of a generator of texts, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from spacy_bel.errors import BelError


class GenerationError(BelError, OSError):
    """A generator of texts that answers no request, whichever; what was answered is kept."""


class Message(NamedTuple):
    """A turn of a conversation: "system" or "user", and what is said."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """A text that is wanted for a concept.

    attempt: 0 at first; the same messages are sent again as attempt 1, 2, …
    """

    code: str
    messages: tuple[Message, ...]
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A text, as it came.

    prompt_tokens, completion_tokens: what is paid for; None where the generator does not say.
    finish: why the text ends, "length" if it was cut off, "" if not known.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without answer.

    kind: "refused", this request alone will never be answered; "busy", it was turned away and costs
        nothing; "lost", nobody knows whether it was answered and is paid for.
    message: for people.
    wait: seconds that the service asks to be left alone; None if it does not say.
    """

    kind: Literal["refused", "busy", "lost"]
    message: str
    wait: float | None = None


class Generator(Protocol):
    """Answers requests. Anything with these members will do."""

    @property
    def name(self) -> str:
        """The model, as answers are kept under it."""
        ...

    @property
    def sampling(self) -> Mapping[str, Any]:
        """All that an answer depends on besides model and messages, as JSON can hold it."""
        ...

    @property
    def batch_size(self) -> int:
        """Requests to be handed over at once."""
        ...

    @property
    def in_flight(self) -> int:
        """How many such batches at a time, each in a thread of its own."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens of an answer at most, for what it may cost."""
        ...

    def generate(self, requests: Sequence[Request]) -> Sequence[Answer | Failure]:
        """An answer or a failure for each request, after one try.

        Raises GenerationError, or another BelError, where no request can be answered.
        """
        ...
