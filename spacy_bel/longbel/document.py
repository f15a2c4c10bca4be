"""What a generative linker is given of a document: strings and character offsets, no spaCy."""

from __future__ import annotations

from dataclasses import dataclass

from ..candidates import Candidate

#: Between the groups, and between the names, of a mention of several concepts.
JOINT = "<+>"


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of the document, such as a title or an abstract.

    start: character offset in the document. text: as it stands there.
    """

    start: int
    text: str

    @property
    def end(self) -> int:
        """Character offset after the last character."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention to be linked.

    start, end: character offsets in the document. text: its surface. group: the semantic group as
    the prompt writes it. groups: semantic groups whose names may be generated. pinned: a link that
    stands already, for which nothing is generated. retrieved: candidates that another linker found.
    """

    start: int
    end: int
    text: str
    group: str
    groups: tuple[str, ...]
    pinned: Candidate | None = None
    retrieved: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """An earlier link of the same document: mention, its group, and the name it was linked to."""

    mention: str
    group: str
    name: str


@dataclass(frozen=True, slots=True)
class Document:
    """Passages, mentions by ascending (start, end), and sentence spans (start, end)."""

    passages: tuple[Passage, ...]
    mentions: tuple[Mention, ...]
    sentences: tuple[tuple[int, int], ...] = ()

    def passage_of(self, mention: Mention) -> int:
        """Index of the passage that contains a mention's start; the last one before it if none."""
        index = 0
        for i, passage in enumerate(self.passages):
            if passage.start <= mention.start:
                index = i
        return index

    def sentence_of(self, mention: Mention) -> tuple[int, int]:
        """Span of the sentence that contains a mention's start, or else of its passage."""
        for start, end in self.sentences:
            if start <= mention.start < end:
                return start, max(end, mention.end)
        passage = self.passages[self.passage_of(mention)]
        return passage.start, max(passage.end, mention.end)
