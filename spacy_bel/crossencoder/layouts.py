"""Which mention–candidate pairs share an input, and how the input is written.

With a context of sentence, passage or document, an input reads::

    [CLS] context ( [SEP] mention [MASK] candidate )* [SEP]                mention repeated
    [CLS] context ( [SEP] mention ( [MASK] candidate )* )* [SEP]           mention once

and the score of a pair is read at its mask. The five layouts are those of Sanz-Cruzado and Lever,
"Accelerating Cross-Encoders in Biomedical Entity Linking", BioNLP 2025.

With block attention a context token sees the context, a mention the context and itself, and a
candidate the context, its mention and itself, at positions that go on from the context. The score
of a pair then depends neither on the other pairs of its input nor on their order, nor on whether
the mention is repeated. There is no last [SEP], which nothing would see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from spacy_bel.errors import SettingsError

from .document import Document

Name = Literal["base", "parallel", "multi", "passage", "document"]
Attention = Literal["full", "block"]
Markers = Literal["none", "brackets", "numbers"]

_NAMES = ("base", "parallel", "multi", "passage", "document")
_SHORTEST = 32
#: Below this share of the window, room is not taken from the context: candidates are split.
_CANDIDATE_SHARE, _MENTION_SHARE = 4, 8


@dataclass(frozen=True, slots=True)
class Layout:
    """How pairs are put into inputs.

    name: "base" (context: the sentence; one pair an input), "parallel" (the sentence; all
        candidates of one mention), "multi" (the sentence; all mentions in it), "passage" and
        "document" (all mentions in it).
    attention: "full", or "block" as described above.
    repeat_mention: whether each candidate has the mention before it, or only the first one.
    markers: of mentions in the context. "brackets" writes "[ mention ]"; "numbers" also numbers
        the mentions of a context and repeats the number before the mention, so that mentions of
        the same text are told apart. In "base" and "parallel" only the input's mention is marked.
    max_length: the most tokens that the model may tell apart by position, None for what it can.
    input_tokens: with block attention, the most tokens of one input, which may be more than
        max_length. None is eight times max_length.
    candidate_tokens, mention_tokens: where these texts are cut, at most a quarter and an eighth of
        max_length.
    Raises SettingsError for anything else.
    """

    name: Name = "parallel"
    attention: Attention = "full"
    repeat_mention: bool = True
    markers: Markers = "none"
    max_length: int | None = None
    input_tokens: int | None = None
    candidate_tokens: int = 64
    mention_tokens: int = 32

    def __post_init__(self) -> None:
        for field, allowed in (
            ("name", _NAMES),
            ("attention", ("full", "block")),
            ("markers", ("none", "brackets", "numbers")),
        ):
            if getattr(self, field) not in allowed:
                choice = ", ".join(map(repr, allowed))
                raise SettingsError(f"{field} is {getattr(self, field)!r}: use one of {choice}.")
        for field in ("candidate_tokens", "mention_tokens"):
            if getattr(self, field) < 1:
                raise SettingsError(f"{field} is {getattr(self, field)}: give 1 or more.")
        if self.max_length is not None and self.max_length < _SHORTEST:
            raise SettingsError(
                f"max_length is {self.max_length}: give {_SHORTEST} or more, so that context, "
                "mention and candidate fit."
            )
        if self.input_tokens is not None and self.input_tokens < (self.max_length or _SHORTEST):
            raise SettingsError(
                f"input_tokens is {self.input_tokens}: give max_length or more, or None."
            )

    @property
    def shares_context(self) -> bool:
        """Whether several mentions share an input."""
        return self.name in ("multi", "passage", "document")

    def limits(self, longest: int) -> Limits:
        """The numbers of tokens that hold for a model that reads at most `longest`.

        Raises SettingsError if max_length is more than that, or the model reads too few.
        """
        length = longest if self.max_length is None else self.max_length
        if length > longest:
            raise SettingsError(
                f"max_length is {length}, but the model reads at most {longest} tokens: give a "
                "smaller max_length."
            )
        if length < _SHORTEST:
            raise SettingsError(f"The model reads {length} tokens: {_SHORTEST} are needed.")
        candidate = min(self.candidate_tokens, length // _CANDIDATE_SHARE)
        mention = min(self.mention_tokens, length // _MENTION_SHARE)
        if self.attention == "full":
            return Limits(length, length - 1, candidate, mention)
        return Limits(length, max(self.input_tokens or 8 * length, length), candidate, mention)


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers of tokens.

    length: positions. input: of one input, without the last [SEP]. candidate, mention: of their
    texts.
    """

    length: int
    input: int
    candidate: int
    mention: int


@dataclass(frozen=True, slots=True)
class Unit:
    """A context: its span in the document, and the indices of the mentions in it, in order."""

    start: int
    end: int
    mentions: tuple[int, ...]


def units(document: Document, layout: Layout) -> Iterator[Unit]:
    """The contexts of a document that have mentions; each mention is in exactly one.

    Two sentences or passages are one where a mention crosses their border.
    """
    spans: tuple[tuple[int, int], ...] = ()
    if layout.name == "passage":
        spans = document.passages
    elif layout.name != "document":
        spans = document.sentences or document.passages
    order = sorted(
        range(len(document.mentions)),
        key=lambda i: (document.mentions[i].start, document.mentions[i].end, i),
    )
    borders = _borders(document, spans)
    at = 0
    for start, end in pairwise(borders):
        inside = []
        while at < len(order) and (
            document.mentions[order[at]].start < end or end == len(document.text)
        ):
            inside.append(order[at])
            at += 1
        if inside:
            yield Unit(*_trimmed(document, start, end, inside), tuple(inside))


def _borders(document: Document, spans: tuple[tuple[int, int], ...]) -> list[int]:
    """Where contexts begin, and the end of the text; none lies inside a mention."""
    size = len(document.text)
    reach = 0
    mentions = sorted((m.start, m.end) for m in document.mentions)
    kept, at = [0], 0
    for border in sorted({start for start, _ in spans if 0 < start < size}):
        while at < len(mentions) and mentions[at][0] < border:
            reach = max(reach, mentions[at][1])
            at += 1
        if reach <= border:
            kept.append(border)
    return [*kept, size]


def _trimmed(document: Document, start: int, end: int, inside: list[int]) -> tuple[int, int]:
    """A span without the white space around it, as far as no mention is there."""
    first = min(document.mentions[i].start for i in inside)
    last = max(document.mentions[i].end for i in inside)
    text = document.text[start:end]
    left = min(start + len(text) - len(text.lstrip()), first)
    return left, max(start + len(text.rstrip()), last)
