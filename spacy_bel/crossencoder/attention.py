"""How an encoder is made to read a batch: in a row without padding, or side by side.

Not every architecture takes positions, or calls PyTorch's attention where it can be taken over.
What works is found by trying, on a few tokens, when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spacy_bel.errors import ModelError

from .inputs import CONTEXT, Batch
from .padding import Padded, PaddedForward, block_ways, plain_forward
from .positions import first_position, local_attention, masks_given, token_types
from .rows import Row, RowAttention

#: From a model, or its encoder, and a batch to a tensor of shape (tokens, …).
Forward = Callable[[Any, Batch], Any]

_TOLERANCE = 1e-4


def forward_of(model: Any, attention: str) -> Forward:
    """The fastest way to read batches with a model that gives what they ask for.

    model: a model of transformers with a head. attention: "full" or "block". The result takes the
    model, or its encoder, and a batch, and returns a tensor of shape (tokens, …): the logits, or
    for an encoder its last hidden states. Raises ModelError if the model cannot do it.
    """
    encoder = model.base_model
    if _right(encoder, row_forward):
        return row_forward
    if attention == "full":
        return padded(plain_forward)
    for way in block_ways(encoder):
        if _right(encoder, padded(way)):
            return padded(way)
    raise ModelError(
        f"An encoder of the kind {model.config.model_type!r} cannot be given block attention: use "
        'attention="full", or an encoder such as BERT, RoBERTa, XLM-R or ModernBERT.'
    )


def row_forward(network: Any, batch: Batch) -> Tensor:
    """Read a batch as a single row of tokens."""
    device = next(network.parameters()).device
    encoder = network.base_model
    ids = torch.from_numpy(batch.ids).to(device)[None]
    positions = torch.from_numpy(batch.positions).to(device)[None] + first_position(encoder)
    options: dict[str, Any] = {}
    window, local = None, None
    if hasattr(encoder, "_update_attention_mask"):
        window = encoder.config.local_attention // 2
        # Nothing is masked by it: it only tells which layers are which.
        local = torch.zeros(1, dtype=encoder.dtype, device=device)
        options["attention_mask"] = torch.ones_like(ids)
    elif local_attention(encoder):
        raise ValueError("Local attention would go by places in the row, not by positions.")
    mode = RowAttention(Row(batch, device, window), local)
    with masks_given(encoder, (None, local)), mode:
        output = network(
            input_ids=ids, position_ids=positions, **token_types(network, ids), **options
        )
    if not mode.calls:
        raise ValueError("The encoder computes attention by itself.")
    return _result(output)[0]


def padded(way: PaddedForward) -> Forward:
    """A way to read inputs side by side, for batches in a row."""

    def forward(network: Any, batch: Batch) -> Tensor:
        padding = getattr(network.config, "pad_token_id", None) or 0
        inputs = Padded(batch, next(network.parameters()).device, padding)
        return _result(way(network, inputs))[inputs.real]

    return forward


def longest_input(model: Any) -> int:
    """How many tokens a model can tell apart by position."""
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is None or longest < 0:
        return 1 << 30
    return int(longest) - first_position(model.base_model)


def _result(output: Any) -> Tensor:
    found: Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return found


def _right(encoder: Any, way: Forward) -> bool:
    """Whether the last of three blocks, and an input beside theirs, come out as they do alone."""
    context, block, other = 5, 3, 7
    size = context + 3 * block
    owners = np.concatenate([np.full(context, CONTEXT), np.repeat(np.arange(3), block)])
    positions = np.concatenate([np.arange(context), np.tile(context + np.arange(block), 3)])
    last = np.concatenate([np.arange(context), np.arange(size - block, size)])
    ids = np.arange(size + other) % (encoder.config.vocab_size - 1) + 1

    def batch(ids: Any, positions: Any, owners: Any, *inputs: tuple[int, int]) -> Batch:
        lengths, contexts = np.array(inputs).T
        none = np.zeros(0, np.int64)
        parts = np.full_like(owners, CONTEXT)
        return Batch(ids, positions, owners, parts, lengths, contexts, none, none)

    together = batch(
        ids,
        np.concatenate([positions, np.arange(other)]),
        np.concatenate([owners, np.full(other, CONTEXT)]),
        (size, context),
        (other, other),
    )
    alone = batch(ids[last], positions[last], owners[last], (context + block, context))
    training = encoder.training
    encoder.eval()
    try:
        with torch.inference_mode():
            found = way(encoder, together).float()
            single = way(encoder, alone).float()
            row = torch.from_numpy(ids[size:]).to(found.device)[None]
            plain = encoder(input_ids=row, attention_mask=torch.ones_like(row)).last_hidden_state
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False
    finally:
        encoder.train(training)
    return bool(
        torch.allclose(found[last], single, atol=_TOLERANCE)
        and torch.allclose(found[size:], plain[0].float(), atol=_TOLERANCE)
    )
