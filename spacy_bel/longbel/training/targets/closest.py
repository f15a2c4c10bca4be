"""From scores of names to choices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .base import Choice

#: Scores that differ by less are equal, so that rounding errors decide nothing.
_DECIMALS = 6


def closest(scores: npt.NDArray[np.floating], names: Sequence[Sequence[str]]) -> list[Choice]:
    """The first of the best names of each mention.

    scores: of all names, end to end. names: those of each mention.
    """
    rounded = np.asarray(scores, np.float64).round(_DECIMALS)
    choices, start = [], 0
    for offered in names:
        own = rounded[start : start + len(offered)]
        best = int(own.argmax())
        choices.append(Choice(best, float(own[best])))
        start += len(offered)
    return choices


def pairs(
    rows: dict[str, int], mentions: Sequence[str], names: Sequence[Sequence[str]]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """For every name offered the rows of its mention and of itself; rows: of all strings."""
    left = [rows[m] for m, offered in zip(mentions, names, strict=True) for _ in offered]
    right = [rows[name] for offered in names for name in offered]
    return np.array(left, np.intp), np.array(right, np.intp)
