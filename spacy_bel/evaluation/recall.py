"""Recall at k and mean reciprocal rank of the gold code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from spacy_bel.evaluation.bootstrap import Estimate, mean_over_mentions

Rank = int | None
"""Position of the first right candidate, from 1; None if none is right."""

MRR = "mrr"


def gold_codes(
    codes: Iterable[Iterable[str]], resolve: Callable[[str], str | None] | None = None
) -> set[str]:
    """All codes of a gold annotation, given as AND of ORs.

    resolve: maps a code to the main code of a knowledge base (``KnowledgeBase.resolve``), so that
        alternative codes count; codes that it does not know are kept as they are.
    """
    every = {code for part in codes for code in part}
    return {(resolve(code) if resolve else None) or code for code in every}


def rank_of_gold(candidates: Sequence[str], gold: Collection[str]) -> Rank:
    """Position, from 1, of the first candidate code that is gold; None if none is."""
    return next((rank for rank, code in enumerate(candidates, start=1) if code in gold), None)


def hit(rank: Rank, k: int) -> float:
    """1 if the gold code is among the k best candidates, else 0."""
    return float(rank is not None and rank <= k)


def reciprocal(rank: Rank) -> float:
    """One over the rank, 0 if there is none."""
    return 0.0 if rank is None else 1 / rank


def measures(ks: Sequence[int]) -> dict[str, Callable[[Rank], float]]:
    """What is measured of each mention, by name: "recall@1" and the like, and "mrr"."""
    return {**{f"recall@{k}": partial(hit, k=k) for k in ks}, MRR: reciprocal}


def recall_at_k(ranks: Sequence[Sequence[Rank]], k: int, **options: Any) -> Estimate:
    """Share of mentions whose gold code is among the k best candidates.

    ranks: for each document, the rank of the gold code of each of its mentions.
    options: of `mean_over_mentions`. Raises ValueError if there is no mention.
    """
    return mean_over_mentions(
        [[hit(rank, k) for rank in document] for document in ranks], **options
    )


def mean_reciprocal_rank(ranks: Sequence[Sequence[Rank]], **options: Any) -> Estimate:
    """Mean of one over the rank of the gold code; a mention without counts as 0.

    ranks and options as in `recall_at_k`.
    """
    return mean_over_mentions([list(map(reciprocal, document)) for document in ranks], **options)
