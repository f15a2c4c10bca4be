"""Names that share most character n-grams with the mention, as LongBEL chooses them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from ....kb import KnowledgeBase
from ....kb.text import fold
from .base import Choice
from .closest import closest, pairs


class TfidfTargets:
    """Cosines of TF-IDF vectors of character n-grams (arXiv 2605.13451); case does not matter.

    kb: its names say how rare n-grams are. ngram_range: shortest and longest n-gram, in characters,
    within words.
    """

    def __init__(self, kb: KnowledgeBase, ngram_range: tuple[int, int] = (2, 4)) -> None:
        self.fingerprint = f"tfidf {tuple(ngram_range)} {kb.fingerprint}"
        self._vectorizer = TfidfVectorizer(
            analyzer="char_wb",
            ngram_range=tuple(ngram_range),
            sublinear_tf=True,
            lowercase=False,  # all strings are folded
            dtype=np.float32,
        )
        self._vectorizer.fit(kb.folded_names())

    def choose(self, mentions: Sequence[str], names: Sequence[Sequence[str]]) -> list[Choice]:
        """As in `TargetChooser`."""
        mentions = [fold(mention) for mention in mentions]
        names = [[fold(name) for name in offered] for offered in names]
        strings = dict.fromkeys([*mentions, *(name for offered in names for name in offered)])
        if not strings:
            return []
        rows = {string: row for row, string in enumerate(strings)}
        vectors = self._vectorizer.transform(list(rows))
        left, right = pairs(rows, mentions, names)
        products = vectors[left].multiply(vectors[right]).sum(axis=1)
        return closest(np.asarray(products).ravel(), names)
