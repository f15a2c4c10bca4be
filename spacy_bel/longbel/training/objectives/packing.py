"""Sequences one behind the other in one row, without padding.

Everything but attention treats tokens alike, so that only attention has to know where a sequence
begins. It is computed for sequences of similar length together, padded on the right, where padding
is not seen by what it follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..sequence import TokenSequence

#: Sequences share a call if the shortest has at least this share of the longest one's tokens.
_SIMILAR = 0.75


class Bucket(NamedTuple):
    """Sequences of similar length, one behind the other.

    start, stop: their tokens in the row. rows, width: how they stand side by side. places: int64
    (rows * width,), which of these tokens stands where, padding repeating one of them; None if all
    are of one length. kept: int64 (stop - start,), the way back.
    """

    start: int
    stop: int
    rows: int
    width: int
    places: Tensor | None
    kept: Tensor | None

    def side_by_side(self, tokens: Tensor) -> Tensor:
        """From what belongs to the tokens of the row (n, …) to (rows, width, …)."""
        own = tokens[self.start : self.stop]
        if self.places is not None:
            own = own.index_select(0, self.places)
        return own.reshape(self.rows, self.width, *tokens.shape[1:])

    def in_a_row(self, values: Tensor) -> Tensor:
        """From (rows, width, …) to (stop - start, …)."""
        flat = values.reshape(self.rows * self.width, *values.shape[2:])
        return flat if self.kept is None else flat.index_select(0, self.kept)


class Pack(NamedTuple):
    """Sequences in one row, the longest first.

    sequences: in the order in which they stand. starts: where each begins. ids, positions: int64
    (n,), what is read; what follows the last learned token is not. asked: int64 (targets,), places
    whose states foretell the learned tokens. targets: int64 (targets,), these tokens. given: int64
    (targets,), where each stands in the order in which the sequences came. buckets: all sequences.
    """

    sequences: Sequence[TokenSequence]
    starts: Sequence[int]
    ids: Tensor
    positions: Tensor
    asked: Tensor
    targets: Tensor
    given: Tensor
    buckets: Sequence[Bucket]

    def restored(self, values: Tensor) -> Tensor:
        """What belongs to the targets, in the order in which the sequences came."""
        return torch.empty_like(values).index_copy(0, self.given, values)


def pack(batch: Sequence[TokenSequence], device: torch.device) -> Pack:
    """Put sequences one behind the other."""
    read = [each.learned[-1][1] - 1 for each in batch]
    order = sorted(range(len(batch)), key=lambda i: -read[i])
    sequences, lengths = [batch[i] for i in order], [read[i] for i in order]
    starts = np.cumsum([0, *lengths[:-1]])
    first = np.cumsum([0, *(each.targets for each in batch)])
    spans = [
        (int(start), each, a, b)
        for start, each in zip(starts, sequences, strict=True)
        for a, b in each.learned
    ]

    def tensor(pieces: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(pieces).astype(np.int64)).to(device)

    return Pack(
        sequences,
        starts.tolist(),
        tensor([each.ids[:n] for each, n in zip(sequences, lengths, strict=True)]),
        tensor([np.arange(n) for n in lengths]),
        tensor([start + np.arange(a, b) - 1 for start, _, a, b in spans]),
        tensor([each.ids[a:b] for _, each, a, b in spans]),
        tensor([first[i] + np.arange(batch[i].targets) for i in order]),
        _buckets(lengths, device),
    )


def _buckets(lengths: Sequence[int], device: torch.device) -> list[Bucket]:
    """Buckets of sequences whose lengths do not ascend."""
    groups: list[list[int]] = []
    for length in lengths:
        if groups and length >= _SIMILAR * groups[-1][0]:
            groups[-1].append(length)
        else:
            groups.append([length])
    buckets, start = [], 0
    for group in groups:
        stop, width = start + sum(group), group[0]
        places = kept = None
        if group[-1] < width:
            seen = np.arange(width) < np.array(group)[:, None]
            at = np.zeros(seen.shape, np.int64)
            at[seen] = np.arange(stop - start)
            places = torch.from_numpy(at.ravel()).to(device)
            kept = torch.from_numpy(np.flatnonzero(seen)).to(device)
        buckets.append(Bucket(start, stop, len(group), width, places, kept))
        start = stop
    return buckets
