"""The score of names that are given, and several searches behind one prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kb.token_trie import IntArray
from .search import PROMPT, FloatArray, Hypothesis, Question, Reading, Search


class ForcedScoring:
    """A `Search` that finds what it was given: the log-probabilities of some token sequences.

    sequences: tokens of each, the end token included. nodes: trie nodes where the names of each
    end; none if left out. length_penalty: exponent of the length by which log-probabilities are
    divided. offset: added to lengths. Everything is read at once, beginnings that sequences share
    once. Raises ValueError if a sequence is empty.

    finished: best first, every sequence once.
    """

    def __init__(
        self,
        sequences: Sequence[Sequence[int]],
        nodes: Sequence[tuple[int, ...]] | None = None,
        length_penalty: float = 1.0,
        *,
        offset: int = 0,
    ) -> None:
        if not all(len(sequence) for sequence in sequences):
            raise ValueError("There is no score for a sequence of no tokens. Leave it out.")
        texts = [tuple(map(int, sequence)) for sequence in sequences]
        self._nodes: dict[tuple[int, ...], tuple[int, ...]] = {}
        for text, ends in zip(texts, nodes or [()] * len(texts), strict=True):
            self._nodes.setdefault(text, ends)
        self.length_penalty = length_penalty
        self.offset = offset
        self.finished: list[Hypothesis] = []
        self.done = not texts
        self._scores: dict[tuple[int, ...], float] = {(): 0.0}
        # Prefixes that others follow are read, those that none follows are only asked for.
        prefixes = dict.fromkeys(text[:n] for text in self._nodes for n in range(1, len(text) + 1))
        inner = sorted({prefix[:-1] for prefix in prefixes} - {()}, key=len)
        self._places = {(): PROMPT, **{prefix: place for place, prefix in enumerate(inner)}}
        by_length = sorted(prefixes, key=len)
        first = sum(len(prefix) == 1 for prefix in by_length)
        self._asked, self._later = by_length[:first], by_length[first:]

    def question(self) -> Question:
        """After the prompt the first tokens, after the reading all others."""
        places = [self._places[prefix[:-1]] for prefix in self._asked]
        tokens = [prefix[-1] for prefix in self._asked]
        return Question(np.array(places, np.int64), np.array(tokens, np.int64))

    def advance(self, log_probabilities: FloatArray, tokens: IntArray) -> None:
        """Add up; shorter prefixes come before longer ones."""
        for prefix, log_probability in zip(self._asked, log_probabilities, strict=True):
            self._scores[prefix] = self._scores[prefix[:-1]] + float(log_probability)
        self._asked, self._later = self._later, []
        self.done = not self._asked
        if self.done:
            self.finished = sorted(map(self._hypothesis, self._nodes), key=lambda h: -h.log_score)

    def reading(self) -> Reading:
        """All tokens that others follow."""
        inner = [prefix for prefix in self._places if prefix]
        parents = [self._places[prefix[:-1]] for prefix in inner]
        return Reading(
            np.array(parents, np.int64), np.array([prefix[-1] for prefix in inner], np.int64)
        )

    def _hypothesis(self, text: tuple[int, ...]) -> Hypothesis:
        total = self._scores[text]
        score = float(total / (len(text) + self.offset) ** self.length_penalty)
        return Hypothesis(self._nodes[text], text, total, score)


class Together:
    """Several searches behind one prompt as one `Search`; each finds what it would find alone.

    searches: all of them ask for tokens of their own, or all for the most probable ones. A token
    that several want after the same place in the same reading is read once. One that another search
    read in an earlier reading is read again: what the model said after it is gone by then.

    finished: of all searches, best first, each text once, as the first search that has it says.
    """

    def __init__(self, searches: Sequence[Search]) -> None:
        self.searches = list(searches)
        # For each search the shared place of every place of its own, and PROMPT at the end, where
        # the index PROMPT finds it.
        self._places: list[list[int]] = [[PROMPT] for _ in self.searches]
        self._read = 0
        self._asked: list[tuple[int, Question]] = []

    @property
    def done(self) -> bool:
        """Whether all are done."""
        return all(search.done for search in self.searches)

    @property
    def finished(self) -> list[Hypothesis]:
        """What all have found so far."""
        found: dict[tuple[int, ...], Hypothesis] = {}
        for search in self.searches:
            for hypothesis in search.finished:
                found.setdefault(hypothesis.tokens, hypothesis)
        return sorted(found.values(), key=lambda hypothesis: -hypothesis.log_score)

    def question(self) -> Question:
        """The questions of all that are not done.

        Raises ValueError if some ask for tokens and others for the most probable ones.
        """
        self._asked = [(i, s.question()) for i, s in enumerate(self.searches) if not s.done]
        tops = {question.top for _, question in self._asked}
        if 0 in tops and len(tops) > 1:
            raise ValueError(
                "A free search cannot share its readings with one that asks for given tokens. Run "
                "one after the other."
            )
        none = np.empty(0, np.int64)
        places = [np.array(self._places[i])[question.places] for i, question in self._asked]
        tokens = [question.tokens for _, question in self._asked]
        return Question(
            np.concatenate([none, *places]),
            np.concatenate([none, *tokens]),
            max(tops, default=0),
        )

    def advance(self, log_probabilities: FloatArray, tokens: IntArray) -> None:
        """Give everyone its part of the answer."""
        begin = 0
        for i, question in self._asked:
            part = slice(begin, begin + len(question.places))
            begin = part.stop
            if question.top:
                own = (part, slice(question.top))
                self.searches[i].advance(log_probabilities[own], tokens[own])
            else:
                self.searches[i].advance(log_probabilities[part], tokens[part])

    def reading(self) -> Reading:
        """The readings of all that are not done, one after the other."""
        new: dict[tuple[int, int], int] = {}
        for search, places in zip(self.searches, self._places, strict=True):
            if search.done:
                continue
            for parent, token in zip(*search.reading(), strict=True):
                key = (places[parent], int(token))
                places.insert(-1, new.setdefault(key, self._read + len(new)))
        self._read += len(new)
        parents, tokens = zip(*new, strict=True)
        return Reading(np.array(parents, np.int64), np.array(tokens, np.int64))
