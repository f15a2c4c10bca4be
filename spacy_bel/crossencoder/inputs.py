"""What a model reads: token ids, masks to be scored, and who sees whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .layouts import Layout
from .tokenization import PieceTokenizer

IntArray = npt.NDArray[np.int64]

_CONTEXT, _PADDING = -1, -2


@dataclass(frozen=True, slots=True)
class Block:
    """Some candidates of a mention, or of several that are read as one.

    document, mentions: their indices. header: token ids of the mention. candidates: the index of
    each candidate among those of the mention, and its token ids.
    """

    document: int
    mentions: tuple[int, ...]
    header: list[int]
    candidates: list[tuple[int, list[int]]]


@dataclass(frozen=True, slots=True, eq=False)
class PackedInput:
    """One sequence of tokens with the pairs that are scored in it.

    ids, positions, blocks, parts: of each token its id, its position, the block it is in (-1 for
    the context) and the candidate in the block (-1 for context and mention), shape (tokens,).
    masks: where the mask of each pair is, shape (pairs,); pairs that are read as one share theirs.
    pairs: indices of document, mention and
    candidate, shape (pairs, 3).
    """

    ids: IntArray
    positions: IntArray
    blocks: IntArray
    parts: IntArray
    masks: IntArray
    pairs: IntArray

    def __len__(self) -> int:
        return len(self.ids)


def build_input(
    context: Sequence[int], blocks: Sequence[Block], layout: Layout, tokens: PieceTokenizer
) -> PackedInput:
    """Write a context and blocks into one input as the layout says."""
    ids = [tokens.cls, *context]
    size = len(ids)
    positions, owners, parts = list(range(size)), [_CONTEXT] * size, [_CONTEXT] * size
    masks, pairs = [], []
    number = -1

    def add(piece: list[int], start: int, part: int) -> None:
        ids.extend(piece)
        positions.extend(range(start, start + len(piece)))
        owners.extend([number] * len(piece))
        parts.extend([part] * len(piece))

    for block in blocks:
        header = [tokens.sep, *block.header]
        for i, (candidate, piece) in enumerate(block.candidates):
            if i == 0 or layout.repeat_mention:
                number += 1
                add(header, size, _CONTEXT)
            for mention in block.mentions:
                masks.append(len(ids))
                pairs.append((block.document, mention, candidate))
            add([tokens.mask, *piece], size + len(header), i)
    if layout.attention == "full":
        ids.append(tokens.sep)
        positions = list(range(len(ids)))
        owners.append(_CONTEXT)
        parts.append(_CONTEXT)
    return PackedInput(
        ids=np.array(ids, np.int64),
        positions=np.array(positions, np.int64),
        blocks=np.array(owners, np.int64),
        parts=np.array(parts, np.int64),
        masks=np.array(masks, np.int64),
        pairs=np.array(pairs, np.int64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs side by side.

    ids: shape (inputs, tokens). seen: who is seen, shape (inputs, tokens), or with block attention
    (inputs, tokens, tokens), from the second axis to the third. positions: shape (inputs, tokens),
    None with full attention. rows, columns: where the masks are, shape (pairs,). pairs: see
    `PackedInput`, shape (pairs, 3).
    """

    ids: IntArray
    seen: npt.NDArray[np.bool_]
    positions: IntArray | None
    rows: IntArray
    columns: IntArray
    pairs: IntArray


def collate(inputs: Sequence[PackedInput], layout: Layout, padding: int) -> Batch:
    """Pad inputs to the same length; padding: the token id to do it with."""
    width = max(len(item) for item in inputs)

    def padded(rows: list[IntArray], value: int) -> IntArray:
        table = np.full((len(rows), width), value, np.int64)
        for i, row in enumerate(rows):
            table[i, : len(row)] = row
        return table

    ids = padded([item.ids for item in inputs], padding)
    positions, owners = None, padded([item.blocks for item in inputs], _PADDING)
    seen = owners != _PADDING
    if layout.attention == "block":
        positions = padded([item.positions for item in inputs], 0)
        parts = padded([item.parts for item in inputs], _CONTEXT)
        same_block = owners[:, :, None] == owners[:, None, :]
        shared_or_same = (parts == _CONTEXT)[:, None, :] | (parts[:, :, None] == parts[:, None, :])
        # Padding sees the context, since a token that sees nothing gives NaN.
        seen = (owners == _CONTEXT)[:, None, :] | (same_block & shared_or_same)
    return Batch(
        ids,
        seen,
        positions,
        np.concatenate([np.full(len(item.masks), i) for i, item in enumerate(inputs)]),
        np.concatenate([item.masks for item in inputs]),
        np.concatenate([item.pairs for item in inputs]),
    )


def by_length(inputs: Sequence[PackedInput]) -> list[PackedInput]:
    """Inputs sorted by length, the longest first, so that memory is at its most at once."""
    return sorted(inputs, key=len, reverse=True)


def next_batch(inputs: Sequence[PackedInput], at: int, tokens: int) -> list[PackedInput]:
    """From inputs by length those from `at` on that make `tokens` tokens, padding included.

    At least one, even if it is longer.
    """
    return list(inputs[at : at + max(1, tokens // len(inputs[at]))])


def batches(inputs: Sequence[PackedInput], tokens: int) -> Iterator[list[PackedInput]]:
    """Cut inputs by length into batches of at most `tokens` tokens, as `next_batch` does."""
    at = 0
    while at < len(inputs):
        together = next_batch(inputs, at, tokens)
        yield together
        at += len(together)
