"""The record every corpus reader yields, and the gold codes of a mention."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

NO_CODE = frozenset({"", "-", "-1", "NIL", "NO_CODE", "CUI-less"})
"""What corpora write where annotators found no concept."""


@dataclass(slots=True)
class Annotation:
    """A mention of a document.

    start, end: character offsets into the document text, end exclusive; for a discontinuous mention
        the envelope of its fragments.
    text: the mention as the corpus writes it, fragments joined by one space.
    type: label of the mention, "" if the corpus gives none.
    codes: gold codes as AND of ORs, so ``[["A"], ["B", "C"]]`` reads "A and (B or C)". A simple
        mention has one part with one code; an empty list means that no concept fits.
    fragments: offsets of the pieces of a discontinuous mention, empty for a continuous one.
    id: identifier within the document, "" if the corpus gives none.
    """

    start: int
    end: int
    text: str
    type: str = ""
    codes: list[list[str]] = field(default_factory=list)
    fragments: list[tuple[int, int]] = field(default_factory=list)
    id: str = ""


@dataclass(slots=True)
class CorpusDocument:
    """A document with its mentions.

    text: the whole text; all offsets count its Unicode code points.
    passages: character offsets of titles, abstracts, paragraphs; may be empty.
    meta: what else the file says about the document (relations, further JSON keys), untouched.
    """

    id: str
    text: str
    passages: list[tuple[int, int]] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


def code_string(codes: list[list[str]]) -> str:
    """One string for gold codes: first alternative of each part, joined by ``+``; "" if none."""
    return "+".join(part[0] for part in codes)


def parse_code_string(string: str) -> list[list[str]]:
    """Inverse of `code_string`; the ways of writing "no concept" give an empty list."""
    codes = [code.strip() for code in string.split("+")]
    return [[code] for code in dict.fromkeys(codes) if code not in NO_CODE]


def any_of(alternatives: list[list[list[str]]]) -> list[list[str]]:
    """AND of ORs that says "one of these", each of them an AND of ORs.

    By distributivity (A and B) or C is (A or C) and (B or C). Empty alternatives are left out.
    """
    meaningful = [codes for codes in alternatives if codes]
    if not meaningful:
        return []
    parts = (list(dict.fromkeys(sum(combination, []))) for combination in product(*meaningful))
    return [list(part) for part in dict.fromkeys(map(tuple, parts))]
