"""What every index of candidates answers, and how several queries for one mention are merged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spacy_bel.expansion import Query
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold

Hit = tuple[str, str, float]
"""A concept that was found: its code, the name it was found by, its score."""

#: Scores that agree in so many decimals count as equal; float32 sums differ beyond.
DECIMALS = 6


class Mixture(NamedTuple):
    """Several strings that are searched for as one; their vectors are added where there are any.

    parts: strings and their shares, above 0, which sum to 1; the first is what surface matches are
    told by. weight: as that of a `Query`.
    """

    parts: tuple[tuple[str, float], ...]
    weight: float = 1.0

    @property
    def text(self) -> str:
        """The first string."""
        return self.parts[0][0]

    @classmethod
    def of(cls, query: Query, other: str, share: float) -> Mixture:
        """A query of which another string has a share, from 0 to 1."""
        parts = ((query.text, 1 - share), (other, share))
        return cls(tuple((text, part) for text, part in parts if part > 0), query.weight)


class CandidateIndex(ABC):
    """Finds the concepts of one knowledge base whose names are most like a string."""

    kb: KnowledgeBase

    @abstractmethod
    def search(
        self, mentions: Sequence[str], group_masks: np.ndarray | None = None, k: int = 25
    ) -> list[list[Hit]]:
        """The k best concepts of each mention, best first, one entry per concept.

        group_masks: uint64, shape (mentions, words), from ``KnowledgeBase.group_mask``; concepts
            outside the groups of a mention are left out before the best are chosen.

        Ties are broken by exact surface match, frequency in training (only if the knowledge base
        has training mentions), preferred name, then code; the result for a mention does not depend
        on the other mentions. A mention may get fewer than k concepts, or none.
        Raises ValueError if k < 1 or the masks are not as many as the mentions.
        """

    def search_mixtures(
        self,
        mixtures: Sequence[Mixture],
        group_masks: np.ndarray | None = None,
        k: int = 25,
    ) -> list[list[Hit]]:
        """The k best concepts of each mixture of strings; their weights play no part.

        A name scores the sum of shares times scores where scores are sums over a vector. Where they
        are not, as here, each string is searched by itself, and a concept scores the maximum of
        share times score; strings that differ only in case and white space add up their shares. For
        exact match both are the same.

        The arguments are those of ``search``, and so are ties.
        """
        return self.search_queries([_separate(mixture) for mixture in mixtures], group_masks, k)

    def search_queries(
        self,
        queries: Sequence[Sequence[Query | Mixture]],
        group_masks: np.ndarray | None = None,
        k: int = 25,
    ) -> list[list[Hit]]:
        """The k best concepts of each mention that is searched for by several weighted strings.

        A concept scores the maximum over the queries of weight times score; among equals the
        earlier query wins, then the order of its result. group_masks: one row per mention.
        """
        flat = [query for alternatives in queries for query in alternatives]
        counts = [len(alternatives) for alternatives in queries]
        masks = None if group_masks is None else np.repeat(group_masks, counts, axis=0)
        found = iter(self._search_each(flat, masks, k))
        return [
            merge([(query.weight, next(found)) for query in alternatives], k)
            for alternatives in queries
        ]

    def _search_each(
        self, queries: Sequence[Query | Mixture], masks: np.ndarray | None, k: int
    ) -> list[list[Hit]]:
        """Results of strings and mixtures, whatever their weights."""
        mixed = [row for row, query in enumerate(queries) if isinstance(query, Mixture)]
        if not mixed:
            return self.search([query.text for query in queries], masks, k)
        plain = sorted({*range(len(queries))}.difference(mixed))
        found: dict[int, list[Hit]] = {}
        if plain:
            some = None if masks is None else masks[plain]
            results = self.search([queries[row].text for row in plain], some, k)
            found.update(zip(plain, results, strict=True))
        mixtures = [query for query in queries if isinstance(query, Mixture)]
        some = None if masks is None else masks[mixed]
        found.update(zip(mixed, self.search_mixtures(mixtures, some, k), strict=True))
        return [found[row] for row in range(len(queries))]

    @abstractmethod
    def to_disk(self, path: str | Path, *, force: bool = False) -> None:
        """Write a directory of plain arrays; ``force`` replaces an index that is there."""

    @abstractmethod
    def to_bytes(self) -> bytes:
        """The index, without its knowledge base, as bytes."""


class Retriever(ABC):
    """A way to find candidates: settings from which an index of any knowledge base is made.

    Settings are plain values, so that a retriever can be pickled and compared.
    """

    @abstractmethod
    def build(self, kb: KnowledgeBase, *, progress: bool = False) -> CandidateIndex:
        """Index all names of a knowledge base; ``progress`` shows how far it is."""

    @abstractmethod
    def from_disk(self, path: str | Path, kb: KnowledgeBase) -> CandidateIndex:
        """Open what ``CandidateIndex.to_disk`` wrote.

        Raises FingerprintMismatchError if it was made from another knowledge base, encoder or
        settings, KnowledgeBaseError if it is missing or damaged.
        """

    @abstractmethod
    def from_bytes(self, data: bytes, kb: KnowledgeBase) -> CandidateIndex:
        """Read what ``CandidateIndex.to_bytes`` gave; raises the errors of ``from_disk``."""


def merge(results: Sequence[tuple[float, list[Hit]]], k: int) -> list[Hit]:
    """The k best of several weighted results, each concept once with its best weighted score."""
    if len(results) == 1 and results[0][0] == 1.0:
        return results[0][1][:k]
    rows = [
        (-round(weight * score, DECIMALS), order, place, code, name)
        for order, (weight, hits) in enumerate(results)
        for place, (code, name, score) in enumerate(hits)
    ]
    best: dict[str, Hit] = {}
    for score, _, _, code, name in sorted(rows):
        best.setdefault(code, (code, name, -score))
    return list(best.values())[:k]


def _separate(mixture: Mixture) -> list[Query]:
    """The strings of a mixture, each with its share; equal ones together."""
    shares: dict[str, Query] = {}
    for text, share in mixture.parts:
        before = shares.get(fold(text), Query(text, 0.0))
        shares[fold(text)] = Query(before.text, before.weight + share)
    return list(shares.values())
