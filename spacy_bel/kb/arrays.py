"""Lists of different lengths in one flat array, as offsets of where each begins."""

from __future__ import annotations

import numpy as np


def offsets(lengths: np.ndarray) -> np.ndarray:
    """Where each list starts, and where the last one ends (int64, one more than lengths)."""
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def runs(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Indices (int64) of the runs ``starts[i]:starts[i] + lengths[i]``, one after the other."""
    shift = starts - offsets(lengths)[:-1]
    return np.repeat(shift, lengths) + np.arange(int(lengths.sum()))
