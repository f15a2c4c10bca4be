"""Keys and values of the documents in flight, in buffers that are written in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class StaticCache:
    """Keys and values of several sequences ("rows"), each written at its own slots.

    Rows may have different lengths: what a token reads is told with each forward pass, so nothing
    is ever moved or padded when sequences of different lengths advance together. Layers are
    allocated when they are first written, in the shape that the model's attention produces.

    rows: sequences held at once. capacity: slots per row. One more slot per row takes the keys and
    values of padding tokens; it is never read.
    """

    def __init__(self, rows: int, capacity: int) -> None:
        self.rows = rows
        self.capacity = capacity
        # (rows, heads, slots, size): what one head reads lies together.
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

    def write(self, keys: Tensor, values: Tensor, layer: int, rows: Tensor, slots: Tensor) -> None:
        """Write keys and values (heads, tokens, size); rows, slots: int64 (tokens,), where to."""
        self._allocated(keys[None], values[None], layer)
        self._keys[layer][rows, :, slots] = keys.transpose(0, 1).to(self._keys[layer].dtype)
        self._values[layer][rows, :, slots] = values.transpose(0, 1).to(self._values[layer].dtype)

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, each (rows, heads, slots, size)."""
        return self._keys[layer], self._values[layer]

    def select(self, rows: slice | Tensor, slots: Tensor, length: int) -> None:
        """Choose what the next `update` of every layer writes and reads.

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
        self._allocated(keys, values, layer)
        return (
            self._write_and_read(self._keys[layer], keys),
            self._write_and_read(self._values[layer], values),
        )

    def move(self, source: int, target: int) -> None:
        """Copy row `source` over row `target`."""
        for buffer in self._buffers():
            buffer[target].copy_(buffer[source])

    def move_slots(self, row: int, source: Sequence[int], target: int) -> None:
        """Copy some slots of a row to `target` and the slots behind it."""
        for buffer in self._buffers():
            buffer[row, :, target : target + len(source)] = buffer[row, :, list(source)]

    def clear(self, row: int) -> None:
        """Forget what a row holds; needed if it might be no numbers, which masks do not hide."""
        for buffer in self._buffers():
            buffer[row].zero_()

    def resize(self, rows: int, capacity: int) -> None:
        """Have that many rows and slots; what fits of the old content stays where it was."""
        kept_rows, kept = min(rows, self.rows), min(capacity, self.capacity)
        for buffers in (self._keys, self._values):
            for layer, buffer in enumerate(buffers):
                if buffer.numel():
                    _, heads, _, size = buffer.shape
                    other = buffer.new_zeros(rows, heads, capacity + 1, size)
                    other[:kept_rows, :, :kept] = buffer[:kept_rows, :, :kept]
                    buffers[layer] = other
        self.rows, self.capacity = rows, capacity

    def _buffers(self) -> list[Tensor]:
        return [buffer for buffer in (*self._keys, *self._values) if buffer.numel()]

    def _allocated(self, keys: Tensor, values: Tensor, layer: int) -> None:
        for buffers, new in ((self._keys, keys), (self._values, values)):
            while len(buffers) <= layer:
                buffers.append(new.new_zeros(0))
            if not buffers[layer].numel():
                _, heads, _, size = new.shape
                # Zeros, since what is masked is still multiplied.
                buffers[layer] = new.new_zeros(self.rows, heads, self.capacity + 1, size)

    def _write_and_read(self, buffer: Tensor, new: Tensor) -> Tensor:
        rows = self._selected
        new = new.to(buffer.dtype)
        if isinstance(rows, slice):
            view = buffer[rows]
            view.scatter_(2, self._slots[:, None, :, None].expand_as(new), new)
            return view[:, :, : self._length]
        buffer[rows[:, None], :, self._slots] = new.transpose(1, 2)
        return buffer[rows, :, : self._length]
