"""A disk that runs full, told as such."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from spacy_bel.errors import NoSpaceError


def is_full(error: Exception) -> bool:
    """Whether a file could not be written since its disk, or the user's share of it, is full."""
    # safetensors has no number for it.
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left" in str(error)


@contextmanager
def explains_full_disk(path: Path) -> Iterator[None]:
    """Raise NoSpaceError where ``path``, which appears whole or not at all, finds no room."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not is_full(error):
            raise
        raise NoSpaceError(
            errno.ENOSPC,
            f"No space left to write {path}. What was there before is unchanged: make room and "
            "write it again.",
        ) from error
