"""A few rows here and there of a large array, read from its file instead of its memory map."""

from __future__ import annotations

import math
import os
import weakref

import numpy as np


class ScatteredRows:
    """Reads short runs of rows of an array by position.

    A page that is touched in a memory map counts as memory of the process, and the kernel maps its
    neighbours with it: ten thousand lookups would hold nearly all of a large directory. Reading the
    bytes holds nothing, and is faster than a page fault. Arrays that are no memory map are sliced,
    and so are all where the system cannot read at a position (Windows).
    """

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self._file: int | None = None
        if isinstance(array, np.memmap) and hasattr(os, "pread") and len(array):
            # Opened now, so that a directory that is replaced later still gives its old content.
            self._file = os.open(str(array.filename), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            weakref.finalize(self, os.close, self._file)
            self._row_shape = array.shape[1:]
            self._row_bytes = array.itemsize * math.prod(self._row_shape)

    def __len__(self) -> int:
        return len(self._array)

    def rows(self, start: int, end: int) -> np.ndarray:
        """Rows ``start`` to ``end``; both must lie within the array, read-only."""
        if self._file is None:
            return self._array[start:end]
        array = self._array
        assert isinstance(array, np.memmap)
        start, end = int(start), int(end)  # numpy's narrow integers would overflow
        size = (end - start) * self._row_bytes
        content = os.pread(self._file, size, array.offset + start * self._row_bytes)
        return np.frombuffer(content, array.dtype).reshape(-1, *self._row_shape)

    def row(self, index: int) -> np.ndarray:
        """One row (a scalar of a column)."""
        return self.rows(index, index + 1)[0]
