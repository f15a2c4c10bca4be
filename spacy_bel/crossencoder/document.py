"""What a cross-encoder is given of a document: strings and character offsets, no spaCy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention and the candidates that are to be scored for it.

    start, end: character offsets in the document; of a discontinuous mention, its envelope.
    text: its surface. group: its semantic group. candidates: the text of each candidate, in the
    order of the retriever; see `candidate_text.candidate_text`.
    """

    start: int
    end: int
    text: str
    group: str
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its mentions, in any order; sentences and passages are spans (start, end).

    Without sentences or passages the whole text is one. Raises ValueError if a mention lies outside
    of the text.
    """

    text: str
    mentions: tuple[Mention, ...]
    sentences: tuple[tuple[int, int], ...] = ()
    passages: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for mention in self.mentions:
            if not 0 <= mention.start <= mention.end <= len(self.text):
                raise ValueError(
                    f"The mention {mention.text!r} at {mention.start}:{mention.end} lies outside "
                    f"of a text of {len(self.text)} characters: give offsets in the document."
                )
