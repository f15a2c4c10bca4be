"""A format in which what was read never changes, so that a mention costs only what is new.

The document stands unmarked at the head, the links so far follow, one line each, and the last line
is the mention's sentence, up to the mention. From one mention to the next a link takes the place of
that line; everything before it stays in the model's cache, however long the document is. What
follows the mention is not repeated: it is in the document, where the words before it stand, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..document import Document, MemoryEntry, Mention
from .base import BehindBracket
from .text import bracketed, memory_line, mention_tag

#: Characters of the sentence that are shown before the mention at most.
_REACH = 120


class _Context(str):
    """The document, and what stands in the sentence before the mention."""

    lead: str

    def __new__(cls, text: str, lead: str) -> _Context:
        context = super().__new__(cls, text)
        context.lead = lead
        return context


@dataclass(frozen=True)
class IncrementalPrompt(BehindBracket):
    """The whole document, the links so far, then the mention at the end of what leads to it."""

    name: str = "incremental"
    uses_memory: bool = True
    end_token: str = "eos_token_id"

    def window(self, document: Document, mention: Mention) -> tuple[int, int] | None:
        """Characters of the document that the context shows: all of it."""
        return None

    def context(self, document: Document, mention: Mention, window: tuple[int, int] | None) -> str:
        """The document without brackets, passage by passage."""
        texts = (bracketed(passage, [], window) for passage in document.passages)
        text = "\n".join(texts if window is None else filter(None, texts))
        return _Context(text, _lead(document, mention))

    def assemble(self, context: str, memory: Sequence[MemoryEntry], mention: Mention) -> str:
        """The whole prompt."""
        head = f"### Context\n{context.rstrip()}\n\n### Previous Normalizations\n"
        lines = [f"{memory_line(entry)}\n" for entry in memory]
        lead = context.lead if isinstance(context, _Context) else ""
        return f"{head}{''.join(lines)}> {lead}{mention_tag(mention.text, mention.group)}"


def _lead(document: Document, mention: Mention) -> str:
    """The mention's sentence up to the mention, or the last whole words of that."""
    passage = document.passages[document.passage_of(mention)]
    start, end = document.sentence_of(mention)[0], mention.start
    if start < end - _REACH:
        space = passage.text.find(" ", end - _REACH - passage.start, end - passage.start)
        start = passage.start + space if space >= 0 else end
    return bracketed(passage, [], (start, end)).lstrip()


INCREMENTAL = IncrementalPrompt()
