"""LongBEL's one-stream format: the document once, then every link in turn (arXiv 2605.13451)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..document import Document, MemoryEntry, Mention
from .base import BehindBracket
from .text import bracketed, memory_line, mention_tag

SEPARATOR = "<SEP>"


@dataclass(frozen=True)
class LongPrompt(BehindBracket):
    """Every mention of the document in brackets, then the links so far in one stream."""

    name: str = "long"
    uses_memory: bool = True
    end_token: str = "sep_token_id"

    def window(self, document: Document, mention: Mention) -> tuple[int, int] | None:
        """Characters of the document that the context shows: all of it."""
        return None

    def context(self, document: Document, mention: Mention, window: tuple[int, int] | None) -> str:
        """The whole document with all mentions in brackets."""
        texts = (bracketed(p, document.mentions, window) for p in document.passages)
        return "\n".join(texts if window is None else filter(None, texts))

    def assemble(self, context: str, memory: Sequence[MemoryEntry], mention: Mention) -> str:
        """The whole prompt; each earlier link ends with the separator."""
        stream = "".join(memory_line(entry) + SEPARATOR for entry in memory)
        tag = mention_tag(mention.text, mention.group)
        return f"### Context\n{context.rstrip()}\n\n### Predictions\n{stream}{tag}"


LONG = LongPrompt()
