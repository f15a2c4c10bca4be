"""What readers do with an entry that they cannot read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from spacy_bel.errors import ReadError
from spacy_bel.kb.builder import KnowledgeBaseBuilder

log = logging.getLogger(__name__)

OnError = Literal["raise", "skip"]


def report_damage(
    builder: KnowledgeBaseBuilder, path: Path, line: int, error: Exception, on_error: OnError
) -> None:
    """Raise ReadError with file and line, or count the entry in ``builder.skipped`` and log it."""
    message = f"{path}, line {line}: {error}"
    if on_error == "raise":
        raise ReadError(f'{message} Or skip such entries with on_error="skip".') from error
    builder.skipped += 1
    log.warning("Skipped: %s", message)
