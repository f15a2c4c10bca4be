"""The formats of LongBEL with one prompt per mention (arXiv 2605.13451).

`short` shows the mention's sentence, `hybrid_medium` the whole document, both without memory;
`hybrid_short` and `hybrid_long` show the same with the earlier links of the document. Released
LongBEL checkpoints read `hybrid_long`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..document import Document, MemoryEntry, Mention
from .base import BehindBracket
from .text import bracketed, memory_line, mention_tag, passages_around


@dataclass(frozen=True)
class HybridPrompt(BehindBracket):
    """Context, earlier links if asked for, and the mention, under headings.

    whole_document: show all passages rather than the mention's sentence.
    """

    name: str
    whole_document: bool
    uses_memory: bool
    end_token: str = "eos_token_id"

    def window(self, document: Document, mention: Mention) -> tuple[int, int] | None:
        """Characters of the document that the context shows; None for all of it."""
        return None if self.whole_document else document.sentence_of(mention)

    def context(self, document: Document, mention: Mention, window: tuple[int, int] | None) -> str:
        """The sentence or the passages, with this mention alone in brackets."""
        if self.whole_document:
            passages = passages_around(document, mention)
        else:
            passages = (document.passages[document.passage_of(mention)],)
        marked = document.passages[document.passage_of(mention)]
        texts = (bracketed(p, [mention] if p is marked else [], window) for p in passages)
        return "\n".join(texts if window is None else filter(None, texts))

    def assemble(self, context: str, memory: Sequence[MemoryEntry], mention: Mention) -> str:
        """The whole prompt."""
        sections = [f"### Context\n{context.rstrip()}"]
        if self.uses_memory:
            lines = "\n".join(memory_line(entry) for entry in memory).rstrip() or "None"
            sections.append(f"### Previous Normalizations\n{lines}")
        sections.append(f"### Prediction\n{mention_tag(mention.text, mention.group)}")
        return "\n\n".join(sections)


SHORT = HybridPrompt("short", whole_document=False, uses_memory=False)
HYBRID_SHORT = HybridPrompt("hybrid_short", whole_document=False, uses_memory=True)
HYBRID_MEDIUM = HybridPrompt("hybrid_medium", whole_document=True, uses_memory=False)
HYBRID_LONG = HybridPrompt("hybrid_long", whole_document=True, uses_memory=True)
