"""Equal mentions are searched once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from spacy_bel.kb.text import fold


def search_keys(
    mentions: Sequence[str],
    group_masks: np.ndarray | None,
    k: int,
    form: Callable[[str], str] = fold,
) -> list[tuple[str, bytes]]:
    """For each mention its form and the bytes of its group bits, empty for all groups.

    form: from a mention to the string that is searched for. Mentions of equal keys have equal
        results.

    Raises ValueError if k < 1 or the masks are not as many as the mentions.
    """
    if group_masks is not None and len(group_masks) != len(mentions):
        raise ValueError(f"{len(mentions)} mentions need as many rows of group_masks.")
    if k < 1:
        raise ValueError(f"k is {k}: ask for at least one concept.")
    masks = [b""] * len(mentions) if group_masks is None else [m.tobytes() for m in group_masks]
    return list(zip(map(form, mentions), masks, strict=True))
