"""The record every corpus reader yields, and the gold codes of a mention."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

from spacy_bel.candidates import Candidate
from spacy_bel.errors import ReadError

NO_CODE = frozenset({"", "-", "-1", "NIL", "NO_CODE", "NOMAP", "CUI-less", "None", "none"})
"""What corpora write where annotators found no concept."""

SCIENTIFIC = re.compile(r"\d\.\d+E\+\d+")
"""A code that a spreadsheet has turned into a number; its ``+`` joins nothing."""

MAX_PARTS = 10_000


@dataclass(slots=True)
class Annotation:
    """A mention of a document.

    start, end: character offsets into the document text, end exclusive; for a discontinuous mention
        the envelope of its fragments.
    text: the mention as the corpus writes it, fragments joined by one space.
    type: label of the mention, "" if the corpus gives none.
    codes: gold codes as AND of ORs, so ``[["A"], ["B", "C"]]`` reads "A and (B or C)". A simple
        mention has one part with one code; an empty list means that no concept fits.
    fragments: offsets of the pieces of a discontinuous mention, in the order in which the corpus
        reads them; empty for a continuous one.
    id: identifier within the document, "" if the corpus gives none.
    links: ranked candidates, best first, where the file holds the output of a linker. Their names
        are "" where the format has no place for them.
    meta: what else the file says about the mention (notes, further columns), untouched. "code" is
        the code as it is written, where `codes` does not say all of it.
    """

    start: int
    end: int
    text: str
    type: str = ""
    codes: list[list[str]] = field(default_factory=list)
    fragments: list[tuple[int, int]] = field(default_factory=list)
    id: str = ""
    links: list[Candidate] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class CorpusDocument:
    """A document with its mentions.

    text: the whole text; all offsets count its Unicode code points.
    passages: character offsets of titles, abstracts, paragraphs; may be empty.
    meta: what else the file says about the document (relations, further JSON keys), untouched. A
        document whose id occurred before in its corpus has "duplicate_id", the number of times.
    passage_types: "title", "abstract" and the like, one for each passage; empty if not known.
    sentences: character offsets of sentences; empty if nobody has said where they are.
    """

    id: str
    text: str
    passages: list[tuple[int, int]] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    passage_types: list[str] = field(default_factory=list)
    sentences: list[tuple[int, int]] = field(default_factory=list)


def code_string(codes: list[list[str]]) -> str:
    """One string for gold codes: first alternative of each part, joined by ``+``; "" if none."""
    return "+".join(part[0] for part in codes)


def parse_code_string(string: str) -> list[list[str]]:
    """Inverse of `code_string`; the ways of writing "no concept" give an empty list."""
    if SCIENTIFIC.fullmatch(string.strip()):
        return [[string.strip()]]
    codes = [code.strip() for code in string.split("+")]
    return [[code] for code in dict.fromkeys(codes) if code not in NO_CODE]


def any_of(alternatives: list[list[list[str]]]) -> list[list[str]]:
    """AND of ORs that says "one of these", each of them an AND of ORs.

    By distributivity (A and B) or C is (A or C) and (B or C). Empty alternatives are left out, as
    is a part that another one implies. Raises ReadError where the result would not fit in memory.
    """
    meaningful = [codes for codes in alternatives if codes]
    if not meaningful:
        return []
    parts = meaningful[0]
    for codes in meaningful[1:]:
        if len(parts) * len(codes) > MAX_PARTS:
            raise ReadError(
                f"{len(meaningful)} alternative composites make a mention of more than {MAX_PARTS} "
                "parts: annotate fewer alternatives."
            )
        parts = _minimal([list(dict.fromkeys(a + b)) for a, b in product(parts, codes)])
    return parts


def all_alternatives(codes: list[list[str]], limit: int = 100) -> list[str]:
    """The composites that fulfil gold codes, as strings of `code_string`; the first `limit`.

    The inverse of `any_of` over `parse_code_string`, where there are at most `limit`.
    """
    if not codes:
        return []
    composites = (dict.fromkeys(combination) for combination in product(*codes))
    return ["+".join(composite) for composite in islice(composites, limit)]


def _minimal(parts: list[list[str]]) -> list[list[str]]:
    """Parts that are not implied by another one, in order."""
    sets = list(dict.fromkeys(map(frozenset, parts)))
    first = {frozenset(part): part for part in reversed(parts)}
    smallest = [s for s in sets if not any(other < s for other in sets)]
    return [first[s] for s in smallest]
