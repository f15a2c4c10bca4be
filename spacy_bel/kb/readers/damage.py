"""What readers do with an entry that they cannot read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from spacy_bel.errors import KnowledgeBaseError, ReadError
from spacy_bel.kb.builder import MAX_DAMAGE, KnowledgeBaseBuilder
from spacy_bel.kb.concept import Concept

log = logging.getLogger(__name__)

OnError = Literal["raise", "skip"]


class DamagedEntry(Exception):
    """An entry that cannot be read; says what is wrong and how to mend it."""


class Intake:
    """Puts entries of a file into a builder, and deals with damaged ones.

    on_error: raise ReadError with file and line, or count, log and list the entry in the builder.
    """

    def __init__(self, builder: KnowledgeBaseBuilder, path: Path, on_error: OnError) -> None:
        self.builder = builder
        self.path = path
        self.on_error = on_error

    def add(self, concept: Concept, line: int) -> None:
        """Add a concept that stands at this line."""
        try:
            self.builder.add(concept)
        except KnowledgeBaseError as error:
            self.damaged(line, error)

    def damaged(self, line: int, error: Exception | str) -> None:
        """Deal with a damaged entry."""
        if isinstance(error, str):
            error = DamagedEntry(error)
        report_damage(self.builder, self.path, line, error, self.on_error)


def report_damage(
    builder: KnowledgeBaseBuilder, path: Path, line: int, error: Exception, on_error: OnError
) -> None:
    """Raise ReadError with file and line, or count, log and list the entry in the builder."""
    message = f"{path}, line {line}: {error}"
    if on_error == "raise":
        raise ReadError(f'{message} Or skip such entries with on_error="skip".') from error
    builder.skipped += 1
    if len(builder.damage) < MAX_DAMAGE:
        builder.damage.append(message)
    log.warning("Skipped: %s", message)
