"""From the text that a model wrote to sentences with one marked mention."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spacy_bel.kb.text import clean
from spacy_bel.synthesis.base import Answer
from spacy_bel.synthesis.languages import Language

_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_QUOTES = {'"': '"', "'": "'", "“": "”", "«": "»", "„": "“"}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence without brackets, and the characters of its mention, end exclusive."""

    text: str
    start: int
    end: int

    @property
    def mention(self) -> str:
        """The mention as it stands in the sentence."""
        return self.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that was not taken, and why: one of `spacy_bel.synthesis.acceptance.REASONS`."""

    reason: str
    line: str


def read_answer(answer: Answer, language: Language) -> list[Sentence | Rejection]:
    """The lines of an answer, in order; empty lines and what a model thinks aloud left out.

    A line begins with the language's prefix, in any case, also behind a bullet, with a number or in
    bold, as chat models write lists.
    """
    text = _THOUGHTS.sub("", answer.text)
    lines = [line for line in map(clean, text.split("\n")) if line]
    begins = _prefix(language)
    read: list[Sentence | Rejection] = []
    for number, line in enumerate(lines):
        match = begins.match(line)
        if match is None:
            read.append(Rejection("no_prefix", line))
        elif answer.finish == "length" and number == len(lines) - 1:
            read.append(Rejection("cut_off", line))
        else:
            read.append(read_line(line[match.end() :]))
    return read


def read_line(line: str) -> Sentence | Rejection:
    """A sentence whose mention stands in square brackets, as such.

    White space is made single, and quotation marks around the whole line are removed.
    """
    line = _unquoted(" ".join(line.split()))
    opening, closing = line.count("["), line.count("]")
    if not opening and not closing:
        return Rejection("no_brackets", line)
    before, _, rest = line.partition("[")
    inside, found, behind = rest.partition("]")
    if opening != closing or not found or "[" in inside or "]" in before:
        return Rejection("unbalanced_brackets", line)
    if opening > 1:
        return Rejection("several_mentions", line)
    mention = inside.strip()
    if not mention:
        return Rejection("empty_mention", line)
    # Blanks inside the brackets belong to the sentence.
    if inside[0].isspace() and before and not before[-1].isspace():
        before += " "
    if inside[-1].isspace() and behind[:1].isalnum():
        behind = " " + behind
    sentence = Sentence(before + mention + behind, len(before), len(before) + len(mention))
    if before[-1:].isalnum() or behind[:1].isalnum():
        return Rejection("within_word", line)
    return sentence


def _prefix(language: Language) -> re.Pattern[str]:
    word = re.escape(language.prefix)
    return re.compile(rf"(?:[-*•]\s+|\d+[.)]\s*)?\**{word}\s*\d*\s*:\**\s*", re.IGNORECASE)


def _unquoted(line: str) -> str:
    inner = line[1:-1]
    whole = len(line) > 1 and _QUOTES.get(line[0]) == line[-1]
    if whole and not {line[0], line[-1]} & set(inner):
        return inner.strip()
    return line
