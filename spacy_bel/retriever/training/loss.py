"""Multi-similarity loss on mined pairs of names."""

from __future__ import annotations

from typing import Literal

import torch

MarginOf = Literal["cosine", "distance"]


def multi_similarity_loss(
    embeddings: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 60.0,
    base: float = 0.5,
    margin: float = 0.2,
    margin_of: MarginOf = "cosine",
) -> torch.Tensor:
    """Multi-similarity loss (Wang et al. 2019, arXiv 1904.06627) on mined pairs, a scalar.

    embeddings: shape (names, width); compared by cosine.
    positive, negative: bool, shape (names, names): which pairs are names of one concept, and which
        are names of different ones; pairs in neither do not count.
    margin: only pairs in a triplet that violates this margin count, as in SapBERT (Liu et al.
        2021, arXiv 2010.11784): a positive less than ``margin`` closer than some negative of its
        anchor, and such a negative.
    margin_of: what "closer" is measured in: cosines, or Euclidean distances of the normalised
        vectors, as by the authors of SapBERT.

    The mean is over all anchors, with or without mined pairs.
    """
    # In float32: exp(60 · …) overflows in 16 bits.
    embeddings = torch.nn.functional.normalize(embeddings.float(), dim=1)
    similarity = embeddings @ embeddings.T
    with torch.no_grad():
        closeness = similarity
        if margin_of == "distance":
            closeness = -(2 - 2 * similarity).clamp(min=0).sqrt()
        hardest_negative = closeness.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
        hardest_positive = closeness.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
        positive = positive & (closeness - margin < hardest_negative)
        negative = negative & (closeness > hardest_positive - margin)
    return (
        _softplus_sum(-alpha * (similarity - base), positive) / alpha
        + _softplus_sum(beta * (similarity - base), negative) / beta
    ).mean()


def _softplus_sum(exponents: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """log(1 + sum of exp over the chosen) of every row, without overflow."""
    chosen_exponents = exponents.masked_fill(~chosen, -torch.inf)
    zero = exponents.new_zeros(len(exponents), 1)
    return torch.logsumexp(torch.cat([zero, chosen_exponents], dim=1), dim=1)
