"""What the engine runs for one mention: a search asks, the model answers.

Behind a mention's prompt grows a tree of tokens. A search says which tokens to read next, each
after one that was read before; the engine reads them in one forward pass and answers with the
log-probabilities that the search asks for at the places just read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..kb.token_trie import IntArray

FloatArray = npt.NDArray[np.float64]

#: The place in a search's tree that is the end of the prompt.
PROMPT = -1


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished name, or several that a composite mention joins.

    nodes: trie nodes where the token sequences of its names end; none if it was generated freely.
    tokens: what was generated, the end token included. log_probability: summed over the tokens.
    log_score: log_probability / length ** length_penalty, which ranks it.
    """

    nodes: tuple[int, ...]
    tokens: tuple[int, ...]
    log_probability: float
    log_score: float

    @property
    def score(self) -> float:
        """Length-normalised likelihood, in [0, 1].

        With a length penalty of 1 the geometric mean of the token probabilities, with 0 the
        probability of the name.
        """
        return math.exp(self.log_score)


class Reading(NamedTuple):
    """Tokens to be read next.

    parents: (n,) place in the tree that each follows: `PROMPT`, a token read before, or an earlier
    one of the same reading. tokens: (n,). The n tokens take the next n places of the tree.
    """

    parents: IntArray
    tokens: IntArray


class Question(NamedTuple):
    """Log-probabilities that a search wants after the newest reading.

    places: (m,) places in the tree, of the newest reading, or `PROMPT` after the prompt was read.
    tokens: (m,) token whose log-probability after that place is wanted. top: if above zero, the
    `top` most probable tokens of every place are wanted instead; `tokens` is empty then.
    """

    places: IntArray
    tokens: IntArray
    top: int = 0


class Search(Protocol):
    """A search for names behind one prompt.

    The engine calls `question` and `advance` after each reading, the prompt's first of all, then
    `reading`, until `done`.
    """

    @property
    def done(self) -> bool:
        """Whether nothing remains to be read."""
        ...

    @property
    def finished(self) -> list[Hypothesis]:
        """What was found so far, best first."""
        ...

    def question(self) -> Question:
        """What to ask after the newest reading."""
        ...

    def advance(self, log_probabilities: FloatArray, tokens: IntArray) -> None:
        """Take the answer.

        log_probabilities, tokens: (m,), of the question's own tokens; (m, top), best first, if it
        asked for the most probable ones.
        """
        ...

    def reading(self) -> Reading:
        """What to read next; called once after each `advance` unless the search is done."""
        ...


@dataclass
class TokenTree:
    """The tokens that were read behind a prompt.

    parents: place that each token follows. depths: 1 for tokens right behind the prompt.
    """

    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.parents)

    def add(self, parents: IntArray) -> None:
        """Append the tokens of a reading."""
        for parent in map(int, parents):
            self.parents.append(parent)
            self.depths.append(1 if parent == PROMPT else self.depths[parent] + 1)

    def path(self, place: int) -> list[int]:
        """Places from the prompt to `place`, itself included."""
        found = []
        while place != PROMPT:
            found.append(place)
            place = self.parents[place]
        return found[::-1]
