"""The sentence format of SynCABEL (arXiv 2601.19667), in the languages of its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..document import Document, MemoryEntry, Mention
from .long import SEPARATOR
from .marking import around

_RESERVED = str.maketrans({"\u00a0": " ", "{": "(", "}": ")", "[": "(", "]": ")"})


@dataclass(frozen=True)
class SyncabelPrompt:
    """The mention's sentence with mention and group in brackets, then what the name completes.

    verb: the word before the name. before_name: the same as it ends the prompt; names are tokenized
    behind it. A mention of several parts is marked from the first part to the last.
    """

    name: str
    verb: str
    uses_memory: bool = False
    end_token: str = "eos_token_id"
    max_tokens: int | None = None
    name_separator: str = SEPARATOR

    @property
    def before_name(self) -> str:
        """The end of every prompt, of whose tokens those of a name do not depend further back."""
        return f" {self.verb}"

    def window(self, document: Document, mention: Mention) -> tuple[int, int] | None:
        """Characters of the document that the context shows: those of the mention's sentence."""
        return document.sentence_of(mention)

    def context(self, document: Document, mention: Mention, window: tuple[int, int] | None) -> str:
        """The sentence with ``[mention]{group}`` in it."""
        passage = document.passages[document.passage_of(mention)]
        before, inside, behind = map(_normalise, around(passage, mention, window))
        group = _normalise(mention.group)
        return f"{before}[{inside}]{{{group}}}{behind}".strip()

    def assemble(self, context: str, memory: Sequence[MemoryEntry], mention: Mention) -> str:
        """The whole prompt; the tagged mention stands for the sentence if there is none."""
        text = _normalise(mention.text)
        sentence = context or f"[{text}]{{{_normalise(mention.group)}}}"
        return f"{sentence}{SEPARATOR}[{text}]{self.before_name}"

    def name_text(self, name: str) -> str:
        """A name as it is generated: behind a space."""
        return f" {_normalise(name)}"


def _normalise(text: str) -> str:
    """Replace no-break spaces and brackets, one for one; newlines stay."""
    return text.translate(_RESERVED)


SYNCABEL_EN = SyncabelPrompt("syncabel_en", "is")
SYNCABEL_FR = SyncabelPrompt("syncabel_fr", "est")
SYNCABEL_ES = SyncabelPrompt("syncabel_es", "es")
