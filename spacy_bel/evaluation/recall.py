"""Recall at k with intervals from resampling documents."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Recall(NamedTuple):
    """A share of mentions, from 0 to 1, with the ends of its interval."""

    value: float
    low: float
    high: float


def gold_codes(
    codes: Iterable[Iterable[str]], resolve: Callable[[str], str | None] | None = None
) -> set[str]:
    """All codes of a gold annotation, given as AND of ORs.

    resolve: maps a code to the main code of a knowledge base (``KnowledgeBase.resolve``), so that
        alternative codes count; codes that it does not know are kept as they are.
    """
    every = {code for part in codes for code in part}
    return {(resolve(code) if resolve else None) or code for code in every}


def rank_of_gold(candidates: Sequence[str], gold: Collection[str]) -> int | None:
    """Position, from 1, of the first candidate code that is gold; None if none is."""
    return next((rank for rank, code in enumerate(candidates, start=1) if code in gold), None)


def recall_at_k(
    ranks: Sequence[Sequence[int | None]],
    k: int,
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 42,
) -> Recall:
    """Share of mentions whose gold code is among the k best candidates.

    ranks: for each document, ``rank_of_gold`` of each of its mentions.
    replicates: how often the documents are drawn with replacement. Mentions of a document are not
        independent, so documents are drawn, not mentions.
    level: coverage of the interval, taken from the percentiles of the replicates (Efron and
        Tibshirani 1993, chapter 13).

    Raises ValueError if there is no mention.
    """
    counts = np.array([len(document) for document in ranks], np.int64)
    hits = np.array([sum(r is not None and r <= k for r in document) for document in ranks])
    hits, counts = hits[counts > 0], counts[counts > 0]
    if not len(counts):
        raise ValueError("Recall needs at least one mention: check the corpus and its gold codes.")
    drawn = np.random.default_rng(seed).integers(0, len(counts), (replicates, len(counts)))
    shares = hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(shares, [tail, 1 - tail])
    return Recall(float(hits.sum() / counts.sum()), float(low), float(high))
