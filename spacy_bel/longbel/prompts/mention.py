"""The mention alone, for models that link without context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..document import Document, MemoryEntry, Mention
from .base import BehindBracket
from .text import mention_tag


@dataclass(frozen=True)
class MentionPrompt(BehindBracket):
    """No context and no memory: the last section of `short` by itself."""

    name: str = "mention"
    uses_memory: bool = False
    end_token: str = "eos_token_id"

    def window(self, document: Document, mention: Mention) -> tuple[int, int] | None:
        """Characters of the document that the context shows: those of the mention."""
        return mention.start, mention.end

    def context(self, document: Document, mention: Mention, window: tuple[int, int] | None) -> str:
        """Nothing."""
        return ""

    def assemble(self, context: str, memory: Sequence[MemoryEntry], mention: Mention) -> str:
        """The whole prompt."""
        return f"### Prediction\n{mention_tag(mention.text, mention.group)}"


MENTION = MentionPrompt()
