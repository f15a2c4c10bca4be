"""Vectors in 16-bit floating point, in memory or mapped from a file."""

from __future__ import annotations

import os
import warnings
import weakref
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from spacy_bel.errors import ModelError, SettingsError

HalfDtype = Literal["float16", "bfloat16"]
_TORCH = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_ROWS_AT_ONCE = 8192


class HalfMatrix:
    """Rows of 16-bit floats: "float16" (11 significant bits) or "bfloat16" (8, a wider range).

    array: float16, or the bits of bfloat16 as uint16 since numpy has no such type; shape (rows,
        width).
    """

    def __init__(self, array: np.ndarray) -> None:
        if array.ndim != 2 or array.dtype not in (np.float16, np.uint16):
            raise ModelError(f"Vectors are {array.dtype}{array.shape}: embed the names again.")
        self.array = array
        self.dtype: HalfDtype = "float16" if array.dtype == np.float16 else "bfloat16"
        self._file: int | None = None
        if isinstance(array, np.memmap) and hasattr(os, "preadv"):
            self._file = os.open(str(array.filename), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            weakref.finalize(self, os.close, self._file)

    @classmethod
    def from_vectors(cls, vectors: np.ndarray, dtype: HalfDtype = "float16") -> HalfMatrix:
        """Round float32 vectors, shape (rows, width)."""
        return cls(to_half(vectors, dtype))

    def __len__(self) -> int:
        return len(self.array)

    @property
    def width(self) -> int:
        """Length of a row."""
        return self.array.shape[1]

    def tensor(self) -> Tensor:
        """All rows as a tensor that shares their memory; never to be written to."""
        return half_tensor(self.array)

    def blocks(self) -> list[slice]:
        """Slices that cover all rows, for passes that need them in float32."""
        return [
            slice(i, min(i + _ROWS_AT_ONCE, len(self))) for i in range(0, len(self), _ROWS_AT_ONCE)
        ]

    def float32(self, rows: slice) -> np.ndarray:
        """Some rows, without loss."""
        return half_tensor(self.array[rows]).float().numpy()

    def inner_products(self, rows: np.ndarray, query: np.ndarray, *, read: bool) -> np.ndarray:
        """Inner products (float64) of some rows with a vector; equal rows get equal results.

        read: read the rows from their file, so that the process does not come to hold all of them.
        """
        values = self._read(rows) if read and self._file is not None else self.array[rows]
        # Summed in a fixed order, whatever the position; a matrix product would not.
        return (half_tensor(values).double().numpy() * query.astype(np.float64)).sum(axis=1)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Rows from the file: pages that are touched in a map count as memory of the process."""
        array = self.array
        assert isinstance(array, np.memmap) and self._file is not None
        size = self.width * array.itemsize
        target = memoryview(bytearray(len(rows) * size))
        for i, row in enumerate(rows.tolist()):
            os.preadv(self._file, [target[i * size : (i + 1) * size]], array.offset + row * size)
        return np.frombuffer(target, array.dtype).reshape(-1, self.width)


def to_half(vectors: np.ndarray, dtype: HalfDtype) -> np.ndarray:
    """Round float32 to 16 bits; raises ModelError for values that do not fit into them."""
    if dtype not in _TORCH:
        raise SettingsError(f"dtype is {dtype!r}: use one of {', '.join(_TORCH)}.")
    rounded = torch.from_numpy(np.ascontiguousarray(vectors)).to(_TORCH[dtype])
    if not bool(torch.isfinite(rounded).all()):
        raise ModelError(
            'A vector is not finite, or too large for float16: use dtype "bfloat16" or normalize.'
        )
    if dtype == "float16":
        return rounded.numpy()
    return rounded.view(torch.int16).numpy().view(np.uint16)


def half_tensor(array: np.ndarray) -> Tensor:
    """An array of float16 or of bits of bfloat16 as a tensor over the same memory."""
    if array.dtype == np.uint16:
        return shared_tensor(array.view(np.int16)).view(torch.bfloat16)
    return shared_tensor(array)


def shared_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the memory of an array, which may be a memory map; never to be written to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch has no tensors that are read-only
        return torch.from_numpy(array)
