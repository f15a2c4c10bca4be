"""The format of GENRE (arXiv 2010.00904): a mention marked in its context, for encoder-decoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..document import JOINT, Document, MemoryEntry, Mention, Passage
from .marking import around

_SPACES = str.maketrans({"\u00a0": " ", "\n": " "})


@dataclass(frozen=True)
class GenrePrompt:
    """The document on one line, or the sentences around the mention that can be read.

    Names are tokenized as texts of their own, with whatever brackets they have. max_tokens: the
    length of contexts that published models were trained with.
    """

    name: str = "genre"
    uses_memory: bool = False
    end_token: str = "eos_token_id"
    before_name: str = ""
    name_separator: str = JOINT
    max_tokens: int | None = 384

    def window(self, document: Document, mention: Mention) -> tuple[int, int] | None:
        """Characters of the document that the context shows: all of it."""
        return None

    def context(self, document: Document, mention: Mention, window: tuple[int, int] | None) -> str:
        """All passages, or what the window shows of them, with the mention marked."""
        home = document.passages[document.passage_of(mention)]
        texts = (
            _marked(*around(passage, mention, window))
            if passage is home
            else _within(passage, window)
            for passage in document.passages
        )
        return " ".join(text for text in map(str.strip, texts) if text)

    def assemble(self, context: str, memory: Sequence[MemoryEntry], mention: Mention) -> str:
        """The context; the marked mention alone if there is none."""
        return (context or _marked("", mention.text, "")).translate(_SPACES)

    def name_text(self, name: str) -> str:
        """A name as it is generated: as it is."""
        return name.translate(_SPACES)


def _marked(before: str, mention: str, behind: str) -> str:
    return f"{before}[START_ENT] {mention} [END_ENT]{behind}"


def _within(passage: Passage, window: tuple[int, int] | None) -> str:
    begin, end = window or (passage.start, passage.end)
    return passage.text[max(begin - passage.start, 0) : max(end - passage.start, 0)]


GENRE = GenrePrompt()
