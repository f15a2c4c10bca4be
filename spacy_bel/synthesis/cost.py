"""What answers cost, and whether another request can be paid."""

from __future__ import annotations

from dataclasses import dataclass

from spacy_bel.errors import SettingsError
from spacy_bel.synthesis.base import Request

#: Tokens that a chat template may put around each message.
_AROUND = 16


@dataclass(frozen=True, slots=True)
class Prices:
    """Money per million tokens that are read and that are written.

    Raises SettingsError for negative ones.
    """

    prompt: float = 0.0
    completion: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.prompt < float("inf") and 0 <= self.completion < float("inf")):
            raise SettingsError("Prices are numbers of at least 0, per million tokens.")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(slots=True)
class Usage:
    """What was asked and is, or may have to be, paid for.

    answers: answers that came. lost: requests of which nobody knows whether they were answered.
    uncounted: answers without a word on their tokens. prompt_tokens, completion_tokens: as the
    service counted them, and for what is lost or uncounted as many as it can have been.
    """

    answers: int = 0
    lost: int = 0
    uncounted: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Budget:
    """Says whether a request can still be paid, whatever comes of it.

    prices: of the model. limit: money that may be spent in all; None for any amount. usage: what
        was spent, kept up to date by the store of answers.

    Raises SettingsError for a limit that is negative, or without prices.
    """

    def __init__(self, prices: Prices, usage: Usage, limit: float | None = None) -> None:
        if limit is not None and not limit >= 0:
            raise SettingsError("The most that may be spent is a number of at least 0.")
        if limit is not None and not (prices.prompt or prices.completion):
            raise SettingsError(
                "Without prices nothing has a cost, and no limit is reached: give the prices of "
                "the model per million tokens."
            )
        self.prices, self.usage, self.limit = prices, usage, limit
        self._reserved = 0.0

    @property
    def spent(self) -> float:
        """What all answers cost, at these prices."""
        return self.prices.cost(self.usage.prompt_tokens, self.usage.completion_tokens)

    def reserve(self, request: Request, max_tokens: int) -> bool:
        """Set aside what a request can cost at most; False if that is more than there is."""
        cost = self._most(request, max_tokens)
        if self.limit is not None and self.spent + self._reserved + cost > self.limit:
            return False
        self._reserved += cost
        return True

    def release(self, request: Request, max_tokens: int) -> None:
        """Give back what was set aside; what the answer cost is in the usage by then."""
        self._reserved = max(0.0, self._reserved - self._most(request, max_tokens))

    def _most(self, request: Request, max_tokens: int) -> float:
        return self.prices.cost(most_prompt_tokens(request), max_tokens)


def most_prompt_tokens(request: Request) -> int:
    """More tokens than a prompt can have: each is at least a byte."""
    return sum(len(m.content.encode("utf-8", "replace")) + _AROUND for m in request.messages)
