"""Strings as TF-IDF vectors of their character n-grams, of the whole string or of its two ends.

The shortened forms are those of the first stage of J. Sanz-Cruzado and J. Lever, BioNLP 2025,
doi 10.18653/v1/2025.bionlp-1.13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_bel.errors import SettingsError

CharSide = Literal["none", "front", "back", "separate", "together"]
CHAR_SIDES: tuple[CharSide, ...] = ("none", "front", "back", "separate", "together")


@dataclass(frozen=True)
class NgramOptions:
    """How a string becomes a vector.

    ngram_range: shortest and longest n-gram, in characters.
    analyzer: "char_wb" for n-grams within words, "char" also across them.
    min_df: drop n-grams of fewer strings than this.
    max_features: keep only so many of the most frequent n-grams.
    sublinear: count repeated n-grams logarithmically.
    char_side: "none" takes the whole string; "front" and "back" its first or last ``char_count``
        characters; "separate" both halves of ``char_count``, the first and the last characters of
        the string, each with n-grams and weights of its own; "together" both halves with the same
        n-grams and weights.

    Vectors have length 1, except that those of "together" are half the sum of two such vectors.
    Raises SettingsError for options that no string could be searched with.
    """

    ngram_range: tuple[int, int] = (2, 4)
    analyzer: Literal["char_wb", "char"] = "char_wb"
    min_df: int = 1
    max_features: int | None = None
    sublinear: bool = True
    char_side: CharSide = "none"
    char_count: int = 16

    def __post_init__(self) -> None:
        # Configs and saved indexes give lists.
        object.__setattr__(self, "ngram_range", tuple(self.ngram_range))
        if not 1 <= self.ngram_range[0] <= self.ngram_range[1]:
            raise SettingsError(
                f"ngram_range is {self.ngram_range}: give shortest and longest, ≥ 1."
            )
        if self.analyzer not in ("char_wb", "char"):
            raise SettingsError(f"analyzer is {self.analyzer!r}: use 'char_wb' or 'char'.")
        if self.min_df < 1 or (self.max_features is not None and self.max_features < 1):
            raise SettingsError("min_df and max_features are numbers of at least 1.")
        if self.char_side not in CHAR_SIDES:
            raise SettingsError(f"char_side is {self.char_side!r}: use one of {CHAR_SIDES}.")
        if self.char_side != "none" and self.char_count < len(self._cuts()):
            raise SettingsError(f"char_count is {self.char_count}: no character is left.")

    def _cuts(self) -> tuple[slice, ...]:
        """The parts of a string that are taken."""
        half = self.char_count // 2
        cuts: dict[str, tuple[slice, ...]] = {
            "none": (slice(None),),
            "front": (slice(self.char_count),),
            "back": (slice(-self.char_count, None),),
        }
        return cuts.get(self.char_side, (slice(half), slice(-half, None)))

    def parts(self, strings: Sequence[str]) -> list[list[str]]:
        """The parts of all strings, one list for each part."""
        return [[string[cut] for string in strings] for cut in self._cuts()]

    def vectorizer(self, ngrams: Sequence[str] | None = None) -> TfidfVectorizer:
        """One that has to be fitted, or of n-grams that are known."""
        return TfidfVectorizer(
            analyzer=self.analyzer,
            ngram_range=self.ngram_range,
            min_df=self.min_df if ngrams is None else 1,
            max_features=self.max_features if ngrams is None else None,
            sublinear_tf=self.sublinear,
            vocabulary=ngrams,
            lowercase=False,  # names and mentions are folded before
            dtype=np.float32,
        )


class NgramVectors:
    """Turns folded strings into sparse rows; made by ``fit`` or from its arrays."""

    def __init__(self, options: NgramOptions, vectorizers: Sequence[TfidfVectorizer]) -> None:
        self.options = options
        self._vectorizers = list(vectorizers)

    @classmethod
    def fit(cls, options: NgramOptions, strings: Sequence[str]) -> NgramVectors:
        """Choose and weigh n-grams. Raises ValueError if none is left."""
        parts = options.parts(strings)
        if options.char_side == "together":
            parts = [[*parts[0], *parts[1]]]
        return cls(options, [options.vectorizer().fit(part) for part in parts])

    def __len__(self) -> int:
        """Number of n-grams, the width of a vector."""
        return sum(len(vectorizer.vocabulary_) for vectorizer in self._vectorizers)

    def __call__(self, strings: Sequence[str]) -> sp.csr_matrix:
        """Vectors, float32, one row per string."""
        parts = self.options.parts(strings)
        if len(parts) == 1:
            return self._vectorizers[0].transform(parts[0])
        if self.options.char_side == "together":
            front, back = (self._vectorizers[0].transform(part) for part in parts)
            return (front + back).tocsr() * np.float32(0.5)
        both = [v.transform(part) for v, part in zip(self._vectorizers, parts, strict=True)]
        return sp.hstack(both, format="csr") * np.float32(np.sqrt(0.5))

    def arrays(self) -> dict[str, np.ndarray]:
        """What has to be stored beside the options: n-grams, weights, and how many of each part."""
        ngrams = ["\n".join(v.get_feature_names_out()) for v in self._vectorizers]
        return {
            "ngrams_text": np.frombuffer("\n".join(ngrams).encode("utf-8"), np.uint8),
            "ngram_counts": np.array([len(v.vocabulary_) for v in self._vectorizers], np.int64),
            "idf": np.concatenate([v.idf_ for v in self._vectorizers]).astype(np.float64),
        }

    @classmethod
    def from_arrays(cls, options: NgramOptions, arrays: Mapping[str, Any]) -> NgramVectors:
        """From what ``arrays`` gave."""
        ngrams = arrays["ngrams_text"].tobytes().decode("utf-8").split("\n")
        vectorizers, start = [], 0
        for count in arrays["ngram_counts"].tolist():
            vectorizer = options.vectorizer(ngrams[start : start + count])
            vectorizer.idf_ = np.asarray(arrays["idf"][start : start + count])
            vectorizers.append(vectorizer)
            start += count
        return cls(options, vectorizers)
