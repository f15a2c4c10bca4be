"""Telling that memory ran out, so that less can be done at once."""

from __future__ import annotations

import torch

_SIGNS = ("out of memory", "not enough memory", "can't allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or elsewhere."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in message for sign in _SIGNS)


def free_memory() -> None:
    """Give back what failed computations have left; call it when no error holds their tensors."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
