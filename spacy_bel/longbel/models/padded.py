"""Segments side by side, for models that read batches of one width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .base import Segment
from .static_cache import StaticCache

#: Segments are read together if the shortest has at least this share of the longest one's tokens.
_SIMILAR = 0.5
#: Up to so many tokens a segment counts as short: padding it costs less than a pass of its own.
_SHORT = 16
#: Padded tokens of one pass; more would only cost memory.
_TOKENS = 4096


class PaddedForward(Protocol):
    """A forward pass over segments of one width.

    ids, positions, slots: int64 (r, q). mask: bool (r, q, n). cache, rows: the r cache rows, as a
    slice or int64 (r,). keep: answer for the last `keep` tokens of each row. Returns float32 (r,
    keep, vocabulary).
    """

    def __call__(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        mask: Tensor,
        cache: Any,
        rows: slice | Tensor,
        keep: int,
    ) -> Tensor:
        """Log-probabilities of the next token."""
        ...


def read_padded(
    forward: PaddedForward,
    segments: Sequence[Segment],
    cache: StaticCache,
    device: torch.device,
) -> Tensor:
    """Read segments in as few passes as their lengths allow; see `LanguageModel.read`."""
    kept: list[Tensor | None] = [None] * len(segments)
    for chosen in _batches(segments):
        for index, scores in zip(
            chosen,
            _read(forward, [segments[i] for i in chosen], cache, device),
            strict=True,
        ):
            kept[index] = scores
    return torch.cat([scores for scores in kept if scores is not None])


def _batches(segments: Sequence[Segment]) -> Iterator[list[int]]:
    """Indices of segments of similar length; bounded in tokens."""
    by_length = sorted(range(len(segments)), key=lambda i: (-len(segments[i].ids), i))
    batch: list[int] = []
    for index in by_length:
        longest = len(segments[batch[0]].ids) if batch else 0
        length = len(segments[index].ids)
        similar = length >= _SIMILAR * longest or longest <= _SHORT
        if batch and not (similar and (len(batch) + 1) * longest <= _TOKENS):
            yield sorted(batch, key=lambda i: segments[i].row)
            batch = []
        batch.append(index)
    if batch:
        yield sorted(batch, key=lambda i: segments[i].row)


def _read(
    forward: PaddedForward,
    segments: list[Segment],
    cache: StaticCache,
    device: torch.device,
) -> Iterator[Tensor]:
    width = max(len(segment.ids) for segment in segments)
    length = max(segment.length for segment in segments)
    # Segments end together, on the right, so that one slice holds the scores to come.
    shape = (len(segments), width)
    ids, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    slots = np.full(shape, cache.padding_slot, np.int64)
    mask = np.zeros((*shape, length), bool)
    mask[:, :, 0] = True  # padding has to read something
    for r, segment in enumerate(segments):
        q = len(segment.ids)
        ids[r, width - q :], positions[r, width - q :] = segment.ids, segment.positions
        slots[r, width - q :] = segment.slots
        mask[r, width - q :, 0] = False
        mask[r, width - q :, : segment.length] = segment.readable()
    scores = forward(
        torch.from_numpy(ids).to(device),
        torch.from_numpy(positions).to(device),
        torch.from_numpy(slots).to(device),
        torch.from_numpy(mask).to(device),
        cache,
        _rows(segments, device),
        max(segment.keep for segment in segments),
    )
    for segment, row_scores in zip(segments, scores, strict=True):
        yield row_scores[len(row_scores) - segment.keep :]


def _rows(segments: list[Segment], device: torch.device) -> slice | Tensor:
    rows = [segment.row for segment in segments]
    if rows == list(range(rows[0], rows[0] + len(rows))):
        return slice(rows[0], rows[0] + len(rows))  # a view of the cache instead of a copy
    return torch.tensor(rows, device=device)
