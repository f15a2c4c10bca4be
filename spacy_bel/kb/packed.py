"""Growing columns of strings that take little more memory than their text."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from spacy_bel.kb.arrays import offsets, runs

_ROWS = 1 << 16


class PackedStrings:
    """A column of strings as packed UTF-8; strings are added at the end."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("q")

    def append(self, text: str) -> None:
        """Add a string."""
        self._text += text.encode("utf-8")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends:
            yield self._text[start:end].decode("utf-8")
            start = end

    def __getitem__(self, row: int) -> str:
        start = self._ends[row - 1] if row else 0
        return self._text[start : self._ends[row]].decode("utf-8")

    def packed(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bytes in another order (uint8) and where each string starts (int64, one more)."""
        starts = np.concatenate(([0], np.frombuffer(self._ends, np.int64)))
        lengths = np.diff(starts)[order]
        starts = starts[:-1][order]
        ends = offsets(lengths)
        text = np.frombuffer(self._text, np.uint8)
        result = np.empty(int(ends[-1]), np.uint8)
        # By blocks of rows: an index of all bytes at once would take eight times their size.
        for row in range(0, len(order), _ROWS):
            block = slice(row, row + _ROWS)
            end = int(ends[min(row + _ROWS, len(order))])
            result[int(ends[row]) : end] = text[runs(starts[block], lengths[block])]
        return result, ends


class Codes:
    """The codes added so far: their column, and whether one is among them.

    A set of millions of codes takes hundreds of megabytes. Terminologies list their codes in
    ascending order as a rule, in which case the column itself is searched.
    """

    def __init__(self) -> None:
        self.column = PackedStrings()
        self._last = ""
        self._seen: set[str] | None = None  # None as long as codes ascend

    def __len__(self) -> int:
        return len(self.column)

    def __contains__(self, code: object) -> bool:
        if not isinstance(code, str):
            return False
        if self._seen is not None:
            return code in self._seen
        if not len(self) or code > self._last:
            return False
        low, high = 0, len(self) - 1
        while low < high:
            middle = (low + high) // 2
            if self.column[middle] < code:
                low = middle + 1
            else:
                high = middle
        return self.column[low] == code

    def add(self, code: str) -> None:
        """Add a code that is not among them."""
        if self._seen is None and len(self) and code <= self._last:
            self._seen = set(self.column)
        if self._seen is not None:
            self._seen.add(code)
        self.column.append(code)
        self._last = code
