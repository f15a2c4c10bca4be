"""A format in which what was read never changes, so that a mention costs only what is new.

The document stands unmarked at the head, the links so far follow, one line each, and at the end
comes the mention in its sentence. From one mention to the next a line is added where the sentence
stood; everything before it stays in the model's cache, however long the document is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..document import Document, MemoryEntry, Mention
from .base import BehindBracket
from .text import bracketed, memory_line, mention_tag

#: Characters of the sentence that are shown on either side of the mention.
_REACH = 200


class _Context(str):
    """The document, and the mention's sentence, which stands behind memory."""

    sentence: str

    def __new__(cls, text: str, sentence: str) -> _Context:
        context = super().__new__(cls, text)
        context.sentence = sentence
        return context


@dataclass(frozen=True)
class IncrementalPrompt(BehindBracket):
    """The whole document, the links so far, then the mention in its sentence, and the mention."""

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
        return _Context(text, _sentence(document, mention))

    def assemble(self, context: str, memory: Sequence[MemoryEntry], mention: Mention) -> str:
        """The whole prompt."""
        head = "".join(
            [
                f"### Context\n{context.rstrip()}\n\n### Previous Normalizations\n",
                *(f"{memory_line(entry)}\n" for entry in memory),
            ]
        )
        sentence = f"\n{context.sentence}\n" if isinstance(context, _Context) else "\n"
        return f"{head}{sentence}\n### Prediction\n{mention_tag(mention.text, mention.group)}"


def _sentence(document: Document, mention: Mention) -> str:
    """The mention's sentence, or whole words of it around the mention, which alone is marked."""
    passage = document.passages[document.passage_of(mention)]
    start, end = document.sentence_of(mention)
    text, shift = passage.text, passage.start
    if start < mention.start - _REACH:
        space = text.find(" ", mention.start - _REACH - shift, mention.start - shift)
        start = shift + space if space >= 0 else mention.start
    if end > mention.end + _REACH:
        space = text.rfind(" ", mention.end - shift, mention.end + _REACH - shift)
        end = shift + space if space >= 0 else mention.end
    return bracketed(passage, [mention], (start, end)).strip()


INCREMENTAL = IncrementalPrompt()
