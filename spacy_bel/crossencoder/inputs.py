"""What a model reads: token ids, masks to be scored, and who sees whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .layouts import Layout
from .tokenization import PieceTokenizer

IntArray = npt.NDArray[np.int64]

#: The number of the context, where blocks and candidates count from 0.
CONTEXT = -1


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
    pairs: indices of document, mention and candidate, shape (pairs, 3).
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
    positions, owners, parts = list(range(size)), [CONTEXT] * size, [CONTEXT] * size
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
                add(header, size, CONTEXT)
            for mention in block.mentions:
                masks.append(len(ids))
                pairs.append((block.document, mention, candidate))
            add([tokens.mask, *piece], size + len(header), i)
    if layout.attention == "full":
        ids.append(tokens.sep)
        positions = list(range(len(ids)))
        owners.append(CONTEXT)
        parts.append(CONTEXT)
    return PackedInput(
        ids=np.array(ids, np.int64),
        positions=np.array(positions, np.int64),
        blocks=np.array(owners, np.int64),
        parts=np.array(parts, np.int64),
        masks=np.array(masks, np.int64),
        pairs=np.array(pairs, np.int64),
    )


def merge_equal(inputs: Iterable[PackedInput]) -> list[PackedInput]:
    """Inputs of the same tokens become one with the pairs of all; they would score alike."""
    found: dict[tuple[bytes, ...], PackedInput] = {}
    for item in inputs:
        columns = (item.ids, item.positions, item.blocks, item.parts)
        key = tuple(column.tobytes() for column in columns)
        same = found.get(key)
        if same is not None:
            item = replace(
                same,
                masks=np.concatenate([same.masks, item.masks]),
                pairs=np.concatenate([same.pairs, item.pairs]),
            )
        found[key] = item
    return list(found.values())


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs one behind the other in a row, without padding.

    ids, positions, blocks, parts: see `PackedInput`, shape (tokens,); with full attention every
    token counts as context. lengths, contexts: how many tokens each input has, and how many of
    these, the first ones, are its context, shape (inputs,); inputs of equal numbers are neighbours.
    masks: where in the row the mask of each pair is, shape (pairs,). pairs: see `PackedInput`,
    shape (pairs, 3).
    """

    ids: IntArray
    positions: IntArray
    blocks: IntArray
    parts: IntArray
    lengths: IntArray
    contexts: IntArray
    masks: IntArray
    pairs: IntArray


def collate(inputs: Sequence[PackedInput], layout: Layout) -> Batch:
    """Put inputs into a row; their pairs stay in the order given."""
    lengths = np.array([len(item) for item in inputs], np.int64)
    contexts = lengths
    if layout.attention == "block":
        contexts = np.array([np.sum(item.blocks == CONTEXT) for item in inputs], np.int64)
    order = np.lexsort((contexts, lengths))[::-1]
    starts = np.zeros_like(lengths)
    starts[order] = np.cumsum(lengths[order]) - lengths[order]

    def row(name: str) -> IntArray:
        return np.concatenate([getattr(inputs[i], name) for i in order])

    blocks, parts = row("blocks"), row("parts")
    if layout.attention == "full":
        blocks, parts = np.full_like(blocks, CONTEXT), np.full_like(parts, CONTEXT)
    return Batch(
        row("ids"),
        row("positions"),
        blocks,
        parts,
        lengths[order],
        contexts[order],
        np.concatenate([start + item.masks for start, item in zip(starts, inputs, strict=True)]),
        np.concatenate([item.pairs for item in inputs]),
    )


def by_length(inputs: Sequence[PackedInput]) -> list[PackedInput]:
    """Inputs sorted by length, the longest first, so that memory is at its most at once."""
    return sorted(inputs, key=len, reverse=True)


def next_batch(inputs: Sequence[PackedInput], at: int, tokens: int) -> list[PackedInput]:
    """Those inputs from `at` on that make at most `tokens` tokens; at least one."""
    stop, free = at + 1, tokens - len(inputs[at])
    while stop < len(inputs) and len(inputs[stop]) <= free:
        free -= len(inputs[stop])
        stop += 1
    return list(inputs[at:stop])


def batches(inputs: Sequence[PackedInput], tokens: int) -> Iterator[list[PackedInput]]:
    """Cut inputs into batches of at most `tokens` tokens, as `next_batch` does."""
    at = 0
    while at < len(inputs):
        together = next_batch(inputs, at, tokens)
        yield together
        at += len(together)
