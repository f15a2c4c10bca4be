"""Forward passes that answer for the last token of each prompt only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to be answered with one of the first `letters` letters; mention: for messages."""

    ids: Sequence[int]
    letters: int
    mention: str


def side_by_side(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids of sequences as int64 (rows, tokens), and where the last token of each is.

    Padding comes last, where no token of a prompt reads it, so that nothing has to be masked and
    positions count on from whatever came before.
    """
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = row
    last = torch.tensor([len(row) - 1 for row in rows], device=device)
    return torch.from_numpy(ids).to(device), last


def run(
    model: Any,
    ids: Tensor,
    last: Tensor,
    cache: Any = None,
    *,
    keep: bool = False,
    dtype: torch.dtype | None = None,
) -> Any:
    """Forward pass whose logits, (rows, 1, vocabulary), are those after the `last` tokens.

    cache: keys and values of what comes before. keep: return them, these tokens' included. dtype:
    of the arithmetic, where that is another than the precision of the weights.
    """
    arithmetic = torch.autocast(ids.device.type, dtype) if dtype else nullcontext()
    rows = torch.arange(len(ids), device=ids.device)

    def select(module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (arguments[0][rows, last][:, None], *arguments[1:])

    # The head is by far the widest layer: it is spared all tokens but the last.
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(select)
    try:
        with arithmetic:
            return model(input_ids=ids, past_key_values=cache, use_cache=keep or cache is not None)
    finally:
        hook.remove()
