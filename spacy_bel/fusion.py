"""What a rank counts where rankings are fused."""

from __future__ import annotations

RANK_CONSTANT = 60


def reciprocal_rank(rank: int, constant: int = RANK_CONSTANT) -> float:
    """What rank 1, 2, … counts in reciprocal rank fusion: 1 at the top, then ever less.

    It is 1 / (constant + rank) in units of the first rank, so that the mean over rankings is in
    [0, 1] (Cormack, Clarke and Büttcher 2009, doi 10.1145/1571941.1572114).
    """
    return (constant + 1) / (constant + rank)
