"""Names whose vectors are most like the mention's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .base import Choice
from .closest import closest, pairs

#: Vectors kept; a few hundred megabytes with the usual 768 numbers each.
_KEPT = 100_000


class StringEncoder(Protocol):
    """One vector a string, such as `retriever.encoder.Encoder`."""

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (float32) of shape (texts, width)."""
        ...


class EmbeddingTargets:
    """Inner products of vectors; an encoder that normalises makes cosines of them.

    encoder: from strings to vectors. Strings recur from document to document: theirs are kept.
    """

    def __init__(self, encoder: StringEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, np.ndarray] = {}

    @property
    def fingerprint(self) -> str:
        """As in `TargetChooser`; that of the encoder is taken anew each time."""
        return f"embedding {self._encoder.fingerprint}"

    def choose(self, mentions: Sequence[str], names: Sequence[Sequence[str]]) -> list[Choice]:
        """As in `TargetChooser`."""
        strings = list(dict.fromkeys([*mentions, *(name for offered in names for name in offered)]))
        if not strings:
            return []
        vectors = self._embedded(strings)
        left, right = pairs({s: row for row, s in enumerate(strings)}, mentions, names)
        return closest(np.einsum("ij,ij->i", vectors[left], vectors[right]), names)

    def _embedded(self, strings: list[str]) -> np.ndarray:
        if len(self._known) + len(strings) > _KEPT:
            self._known.clear()
        new = [string for string in strings if string not in self._known]
        if new:
            self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[string] for string in strings])
