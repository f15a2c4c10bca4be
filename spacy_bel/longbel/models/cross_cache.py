"""The cache of an encoder-decoder model: what its rows have generated, and what they read of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .static_cache import StaticCache

#: Padded tokens that are encoded in one forward pass; more would only cost memory.
_SOURCE_TOKENS = 4096

#: No padding in the dimensions behind the rows.
_ROWS = (0, 0, 0, 0, 0, 0)

#: From ids and mask (b, s) to keys and values (b, heads, s, size) of every layer.
Encode = Callable[[Tensor, Tensor], list[tuple[Tensor, Tensor]]]


class CrossCache(StaticCache):
    """A `StaticCache` of the decoder that holds for each row what it reads of an encoded prompt.

    Prompts are announced by `begin` and encoded together by `encode_pending`, once each. The cache
    also knows the position of the token in every slot, since the tokens of beams do not stand in
    the slots of their positions.

    rows, capacity: see `StaticCache`. device: where the model is. closing: ids that the encoder
    reads behind every prompt.
    """

    def __init__(
        self, rows: int, capacity: int, device: torch.device, closing: Sequence[int] = ()
    ) -> None:
        super().__init__(rows, capacity)
        self._device = device
        self._closing = closing
        self._pending: dict[int, list[int]] = {}
        #: Keys and values (rows, heads, s, size) of each layer, and how many of them are a row's.
        self._cross: list[tuple[Tensor, Tensor]] = []
        self._lengths = [0] * rows
        self._source_mask = torch.empty(0, dtype=torch.bool)
        self._positions = torch.zeros(rows, capacity + 1, dtype=torch.long, device=device)

    def begin(self, row: int, prompt: Sequence[int]) -> None:
        """Announce the prompt that row `row` is to read through the encoder."""
        self._pending[row] = [*prompt, *self._closing]

    def select(self, rows: slice | Tensor, slots: Tensor, length: int) -> None:
        """Choose what the next forward pass writes and reads; see `StaticCache.select`."""
        super().select(rows, slots, length)
        chosen = range(self.rows)[rows] if isinstance(rows, slice) else rows.tolist()
        lengths = torch.tensor([self._lengths[row] for row in chosen])
        self._source_mask = (torch.arange(int(lengths.max())) < lengths[:, None]).to(self._device)

    def move(self, source: int, target: int) -> None:
        """Copy row `source` over row `target`."""
        super().move(source, target)
        for buffer in (self._positions, *(t for pair in self._cross for t in pair)):
            buffer[target] = buffer[source]
        self._lengths[target] = self._lengths[source]
        self._pending.pop(target, None)
        if source in self._pending:
            self._pending[target] = self._pending.pop(source)

    def move_slots(self, row: int, source: Sequence[int], target: int) -> None:
        """Copy some slots of a row to `target` and the slots behind it."""
        super().move_slots(row, source, target)
        moved = self._positions[row, list(source)]
        self._positions[row, target : target + len(source)] = moved

    def clear(self, row: int) -> None:
        """Forget what a row holds."""
        super().clear(row)
        for keys, values in self._cross:
            keys[row].zero_()
            values[row].zero_()

    def resize(self, rows: int, capacity: int) -> None:
        """Have that many rows and slots; what fits of the old content stays where it was."""
        more = rows - self.rows
        self._positions = F.pad(self._positions[:, :-1], (0, capacity - self.capacity + 1, 0, more))
        self._cross = [
            (F.pad(keys, _ROWS + (0, more)), F.pad(values, _ROWS + (0, more)))
            for keys, values in self._cross
        ]
        self._lengths = (self._lengths + [0] * more)[:rows]
        super().resize(rows, capacity)

    def place(self, positions: Tensor) -> Tensor:
        """Note the positions (r, q) of the tokens just selected; those of all that they may read.

        Returns int64 (r, n).
        """
        rows = self._selected
        if isinstance(rows, slice):
            self._positions[rows].scatter_(1, self._slots, positions)
        else:
            self._positions[rows[:, None], self._slots] = positions
        return self._positions[rows, : self._length]

    def encode_pending(self, encode: Encode) -> None:
        """Encode all prompts that were announced, those of similar length together."""
        for chosen in _batches(self._pending):
            prompts = [self._pending[row] for row in chosen]
            ids = torch.zeros(len(chosen), max(map(len, prompts)), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for i, prompt in enumerate(prompts):
                ids[i, : len(prompt)] = torch.tensor(prompt, dtype=torch.long)
                mask[i, : len(prompt)] = 1
            layers = encode(ids.to(self._device), mask.to(self._device))
            self._store(torch.tensor(chosen, device=self._device), layers)
            # Only now: what was too large for the memory can be tried again.
            for row in chosen:
                self._lengths[row] = len(self._pending.pop(row))

    def source(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values (r, heads, s, size) of what the selected rows read in a layer."""
        keys, values = self._cross[layer]
        width = self._source_mask.shape[1]
        return keys[self._selected, :, :width], values[self._selected, :, :width]

    def source_mask(self) -> Tensor:
        """Which of these are no padding, bool (r, 1, 1, s)."""
        return self._source_mask[:, None, None]

    def _store(self, rows: Tensor, layers: list[tuple[Tensor, Tensor]]) -> None:
        width = layers[0][0].shape[2]
        if not self._cross or self._cross[0][0].shape[2] < width:
            self._cross = [
                (self._widened(i, 0, keys), self._widened(i, 1, values))
                for i, (keys, values) in enumerate(layers)
            ]
        for (keys, values), (new_keys, new_values) in zip(self._cross, layers, strict=True):
            keys[rows, :, :width] = new_keys
            values[rows, :, :width] = new_values

    def _widened(self, layer: int, which: int, new: Tensor) -> Tensor:
        _, heads, width, size = new.shape
        if not self._cross:
            return new.new_zeros(self.rows, heads, width, size)
        old = self._cross[layer][which]
        wider = new.new_zeros(self.rows, heads, max(width, old.shape[2] * 3 // 2), size)
        wider[:, :, : old.shape[2]] = old
        return wider


def _batches(prompts: dict[int, list[int]]) -> list[list[int]]:
    """Rows in groups of similar length and bounded size."""
    groups: list[list[int]] = []
    for row in sorted(prompts, key=lambda row: len(prompts[row])):
        if groups and (len(groups[-1]) + 1) * len(prompts[row]) <= _SOURCE_TOKENS:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
