"""Means over mentions with intervals from resampling documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

REPLICATES = 1000
LEVEL = 0.95
SEED = 42


class Estimate(NamedTuple):
    """A mean over mentions with the ends of its interval."""

    value: float
    low: float
    high: float


def mean_over_mentions(
    values: Sequence[Sequence[float]],
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Estimate:
    """Mean over all mentions, its interval from drawing documents with replacement.

    values: for each document, a number for each of its mentions. Given the differences of two runs
        on the same mentions, this is the paired comparison: every replicate draws the same
        documents for both.
    replicates: how often documents are drawn. Mentions of a document are not independent, so
        documents are drawn, not mentions; those without any mention are left out.
    level: coverage of the interval, taken from the percentiles of the replicates (Efron and
        Tibshirani 1993, chapter 13).

    Raises ValueError if there is no mention.
    """
    counts = np.array([len(document) for document in values], np.int64)
    sums = np.array([sum(document) for document in values], np.float64)
    sums, counts = sums[counts > 0], counts[counts > 0]
    if not len(counts):
        raise ValueError("A mean needs at least one mention: check the corpus and its gold codes.")
    drawn = _draws(len(counts), replicates, seed)
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))


@lru_cache(maxsize=1)  # the measures of one evaluation come one after the other
def _draws(documents: int, replicates: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(0, documents, (replicates, documents))
    drawn.setflags(write=False)
    return drawn
