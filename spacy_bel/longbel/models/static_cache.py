"""Keys and values of the documents in flight, in buffers that are written in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class StaticCache:
    """Keys and values of several sequences ("rows"), each written at its own slots.

    Rows may have different lengths: a mask says which slots a token reads, so nothing is ever moved
    or padded when sequences of different lengths advance together. Layers are allocated when they
    are first written, in the shape that the model's attention produces.

    rows: sequences held at once. capacity: slots per row. One more slot per row takes the keys and
    values of padding tokens; it is never read.
    """

    def __init__(self, rows: int, capacity: int) -> None:
        self.rows = rows
        self.capacity = capacity
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._selected: slice | Tensor = slice(0, rows)
        self._slots = torch.empty(0, dtype=torch.long)
        self._length = 0

    @property
    def padding_slot(self) -> int:
        """Slot that swallows the keys and values of padding tokens."""
        return self.capacity

    def begin(self, row: int, prompt: Sequence[int]) -> None:
        """Announce the prompt that row `row` is about to read, for models that look at its ids."""

    def select(self, rows: slice | Tensor, slots: Tensor, length: int) -> None:
        """Choose what the next forward pass writes and reads.

        rows: r rows, as a slice or int64 (r,). slots: int64 (r, q), where each token's keys and
        values go. length: number of leading slots that attention reads.
        """
        self._selected, self._slots, self._length = rows, slots, length

    @property
    def selected_length(self) -> int:
        """Number of leading slots that the running forward pass reads."""
        return self._length

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values; return all that the selected rows may read.

        keys, values: (r, heads, q, size). Returns two tensors (r, heads, length, size).
        """
        while len(self._keys) <= layer:
            self._keys.append(keys.new_zeros(0))
            self._values.append(values.new_zeros(0))
        if not self._keys[layer].numel():
            self._keys[layer] = self._allocate(keys)
            self._values[layer] = self._allocate(values)
        return (
            self._write_and_read(self._keys[layer], keys),
            self._write_and_read(self._values[layer], values),
        )

    def move(self, source: int, target: int) -> None:
        """Copy row `source` over row `target`."""
        for buffer in (*self._keys, *self._values):
            buffer[target].copy_(buffer[source])

    def grow(self, capacity: int) -> None:
        """Make room for at least `capacity` slots a row; what was written stays."""
        if capacity <= self.capacity:
            return
        for buffers in (self._keys, self._values):
            for layer, buffer in enumerate(buffers):
                if buffer.numel():
                    rows, _, heads, size = buffer.shape
                    wider = buffer.new_zeros(rows, capacity + 1, heads, size)
                    wider[:, : self.capacity] = buffer[:, : self.capacity]
                    buffers[layer] = wider
        self.capacity = capacity

    def _allocate(self, like: Tensor) -> Tensor:
        _, heads, _, size = like.shape
        # Slots before heads: the tokens written by one row are contiguous in memory.
        return like.new_zeros(self.rows, self.capacity + 1, heads, size)

    def _write_and_read(self, buffer: Tensor, new: Tensor) -> Tensor:
        rows = self._selected
        new = new.transpose(1, 2)
        if isinstance(rows, slice):
            view = buffer[rows]
            index = self._slots[:, :, None, None].expand_as(new)
            view.scatter_(1, index, new.to(buffer.dtype))
            read = view[:, : self._length]
        else:
            buffer[rows[:, None], self._slots] = new.to(buffer.dtype)
            read = buffer[rows, : self._length]
        return read.transpose(1, 2)
