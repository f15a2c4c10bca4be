"""A training example as tokens."""

from __future__ import annotations

from dataclasses import dataclass

from ...kb.token_trie import IntArray


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Tokens that a model reads from left to right, some of which it learns to write.

    ids: int32 (n,). learned: ascending (start, end) of the tokens that are learned, each from those
    before it; start is at least 1. source: int32 (s,), what an encoder reads; None for models
    without.
    """

    ids: IntArray
    learned: tuple[tuple[int, int], ...]
    source: IntArray | None = None

    @property
    def tokens(self) -> int:
        """How many are read."""
        return len(self.ids) + (0 if self.source is None else len(self.source))

    @property
    def targets(self) -> int:
        """How many are learned."""
        return sum(end - start for start, end in self.learned)
