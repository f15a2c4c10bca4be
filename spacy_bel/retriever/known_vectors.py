"""Vectors that were computed before, for the names that two terminologies or releases share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def digest(tokens: Sequence[int]) -> int:
    """64 bits that tell a sequence of token ids from ten million others."""
    content = np.asarray(tokens, "<i4").tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


class KnownVectors:
    """Finds vectors by the digest of the tokens that they were made from.

    sources: pairs of digests, uint64 of shape (names,), and of stored vectors, shape
        (names, width), which may be memory-mapped; all from one encoder in one arithmetic.
    """

    def __init__(self, sources: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        self._vectors = [vectors for _, vectors in sources]
        self._bounds = np.cumsum([0, *(len(vectors) for vectors in self._vectors)])
        every = np.concatenate([np.zeros(0, np.uint64), *(digests for digests, _ in sources)])
        self._digests, self._rows = np.unique(every, return_index=True)

    def find(self, digests: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Which digests are known: bool, shape (digests,); and the vectors of those, in order."""
        if not len(self._digests):
            return np.zeros(len(digests), bool), []
        places = np.searchsorted(self._digests, digests)
        places[places == len(self._digests)] = 0
        known = self._digests[places] == digests
        rows = self._rows[places[known]]
        sources = np.searchsorted(self._bounds, rows, side="right") - 1
        return known, [
            np.asarray(self._vectors[source][row - self._bounds[source]])
            for source, row in zip(sources.tolist(), rows.tolist(), strict=True)
        ]
