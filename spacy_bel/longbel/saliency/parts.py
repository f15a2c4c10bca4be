"""Scores of tokens summed over words, sections and earlier links of a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .result import IntArray, Saliency

CONTEXT, MEMORY, PREDICTION = "Context", "Previous Normalizations", "Prediction"
_STREAM, _SEPARATOR, _CUE = "Predictions", "<SEP>", "\n> "

_WORD = re.compile(r"\w+|[^\w\s]")
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a prompt.

    label: the word, the heading of the section, or the earlier link. start, end: characters of the
    prompt, end exclusive. tokens: how many lie there. score: the highest among them. share: sum of
    their scores, of the sum over all sections but not their headings, in [0, 1]. attribution: sum
    of their attributions.
    """

    label: str
    start: int
    end: int
    tokens: int
    score: float
    share: float
    attribution: float


def words(saliency: Saliency) -> list[Part]:
    """Words and punctuation marks of the prompt, in its order.

    A token belongs to the word that has most of its characters; the space before it counts for
    none.
    """
    spans = [match.span() for match in _WORD.finditer(saliency.text)]
    return _parts(saliency, [(saliency.text[start:end], (start, end)) for start, end in spans])


def sections(saliency: Saliency) -> list[Part]:
    """Context, Previous Normalizations and Prediction, as far as the prompt has them.

    Headings are in none of them. A running stream of links is Previous Normalizations but for its
    last tag, links that only grow in number but for the last line; a prompt without headings is one
    section, Prediction. Compare a section's share with its share of the tokens: long sections have
    more to share.
    """
    return _parts(saliency, _section_spans(saliency.text))


def memory_lines(saliency: Saliency) -> list[Part]:
    """The earlier links of the document that the prompt shows, oldest first."""
    return _parts(saliency, _link_spans(saliency.text))


def _section_spans(text: str) -> list[tuple[str, Span]]:
    headings = _headings(text)
    if not headings:
        return [(PREDICTION, (0, len(text)))]
    ends = [match.start() for match in headings[1:]] + [len(text)]
    found = []
    for match, end in zip(headings, ends, strict=True):
        start, title = match.end(), match[1]
        if title == _STREAM:
            split = text.rfind(_SEPARATOR, start, end) + len(_SEPARATOR)
            if split >= start + len(_SEPARATOR):
                found.append((MEMORY, (start, split)))
                start = split
            title = PREDICTION
        found.append((title, (start, end)))
    # A prompt that only grows has no heading for its last line.
    title, (start, end) = found[-1]
    split = text.rfind(_CUE, start, end)
    if title == MEMORY and split >= 0:
        found[-1:] = [(MEMORY, (start, split + 1)), (PREDICTION, (split + 1, end))]
    return found


def _headings(text: str) -> list[re.Match[str]]:
    """Headings that the prompt format wrote.

    A document may have the same ones in its text, but only between the first of all and the last
    of each, and only if one of its passages is a heading and nothing else.
    """
    # Where a tokenizer has lost the lines, a heading is wherever its words are.
    lines = "\n" in text
    pattern = r"^### ({})$" if lines else r"(?<!\S)### ({})(?!\S)"
    found: list[re.Match[str]] = []
    end = len(text)
    for titles in (f"{PREDICTION}|{_STREAM}", MEMORY):
        matches = list(re.finditer(pattern.format(titles), text[:end], re.MULTILINE))
        if matches:
            found.insert(0, matches[-1])
            end = matches[-1].start()
    context = re.search(pattern.format(CONTEXT), text[:end], re.MULTILINE)
    return [context, *found] if context else found


def _link_spans(text: str) -> list[tuple[str, Span]]:
    memory = next((span for title, span in _section_spans(text) if title == MEMORY), None)
    if memory is None:
        return []
    body = text[slice(*memory)]
    if _SEPARATOR in body:
        ends = re.escape(_SEPARATOR)
    elif "\n" in text:
        ends = "\n"
    else:
        ends = r"(?=\[)"
    found, position = [], memory[0]
    for piece in re.split(f"({ends})", body):
        label = piece.strip()
        if label.startswith("["):
            start = position + len(piece) - len(piece.lstrip())
            found.append((label, (start, start + len(label))))
        position += len(piece)
    return found


def _parts(saliency: Saliency, spans: Sequence[tuple[str, Span]]) -> list[Part]:
    total = sum(
        float(saliency.scores[_members(saliency, [span])[0]].sum())
        for _, span in _section_spans(saliency.text)
    )
    members = _members(saliency, [span for _, span in spans])
    parts = []
    for (label, (start, end)), tokens in zip(spans, members, strict=True):
        scores = saliency.scores[tokens]
        parts.append(
            Part(
                label,
                start,
                end,
                tokens=len(tokens),
                score=float(scores.max(initial=0.0)),
                share=float(scores.sum()) / total if total > 0 else 0.0,
                attribution=float(saliency.attributions[tokens].sum()),
            )
        )
    return parts


def _members(saliency: Saliency, spans: Sequence[Span]) -> list[IntArray]:
    """Tokens of each span, spans in order and apart; a token is where most of its characters are.

    White space at either end of a token does not count, unless there is nothing else.
    """
    members: list[list[int]] = [[] for _ in spans]
    first = 0
    for token, (start, end) in enumerate(map(tuple, saliency.offsets.tolist())):
        piece = saliency.text[start:end]
        if piece.strip():
            start += len(piece) - len(piece.lstrip())
            end = start + len(piece.strip())
        # Tokens come in the order of their text, so spans before this one's are done with.
        while first < len(spans) and spans[first][1] <= start:
            first += 1
        best, most = -1, 0
        for index in range(first, len(spans)):
            if spans[index][0] >= end:
                break
            shared = min(end, spans[index][1]) - max(start, spans[index][0])
            if shared > most:
                best, most = index, shared
        if best >= 0:
            members[best].append(token)
    return [np.asarray(tokens, np.int64) for tokens in members]
