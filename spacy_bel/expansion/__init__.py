"""Query expansion: what a document says about a mention that its own string does not.

Plain strings and character offsets, no spaCy and no model: long forms of abbreviations that the
document defines, the parts of composite mentions, the names behind formulas, American spelling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spacy_bel.expansion.abbreviations import (
    Abbreviation,
    expand_abbreviations,
    find_abbreviations,
)
from spacy_bel.expansion.appositions import find_appositions
from spacy_bel.expansion.composites import split_composite
from spacy_bel.expansion.formulas import formula_name, without_subscripts
from spacy_bel.expansion.replacer import Replacer
from spacy_bel.expansion.spelling import american

__all__ = [
    "Abbreviation",
    "Query",
    "expand",
    "expand_abbreviations",
    "find_abbreviations",
    "split_composite",
    "written_out",
]

# Selected on the train and development splits of NCBI Disease and BC5CDR, see
# benchmarks/abbreviations.py.
SHORT_FORM_WEIGHT = 0.7
APPOSITION_WEIGHT = 0.9
PART_WEIGHT = 0.7


class Query(NamedTuple):
    """A string to search for; concepts are scored by the maximum of weight × similarity."""

    text: str
    weight: float = 1.0


def expand(
    text: str,
    mentions: Sequence[tuple[int, int]],
    *,
    abbreviations: bool = True,
    composites: bool = True,
) -> list[list[Query]]:
    """The strings to search for, for each mention of a document, the most trustworthy first.

    Strings in British spelling are followed by the same in American spelling, those with subscripts
    in brackets by the same without. The formula of an element or a salt stands behind its name.

    text: the document.
    mentions: character offsets, end exclusive, in any order; they may overlap.
    abbreviations: add what short forms and codes stand for in this document, and formulas.
    composites: add the parts of composite mentions.
    """
    found = find_abbreviations(text, mentions) if abbreviations else []
    replace = Replacer(found)
    aside = Replacer(find_appositions(text, mentions, replace) if abbreviations else ())
    queries = []
    for start, end in mentions:
        surface = text[start:end]
        compound = formula_name(surface) if abbreviations else None
        queries.append(_queries(surface, start, replace, aside, compound, composites))
    return queries


def written_out(text: str, mentions: Sequence[tuple[int, int]]) -> list[str]:
    """Each mention with the long forms that the document gives for short forms in it.

    text: the document. mentions: character offsets, end exclusive, in any order.
    """
    replace = Replacer(find_abbreviations(text, mentions))
    return [_written_out(text[start:end], start, replace) for start, end in mentions]


def _written_out(surface: str, at: int, replace: Replacer) -> str:
    long = replace(surface, at)
    return surface if long is None else replace.whole(surface) or long


def _queries(
    surface: str,
    at: int,
    replace: Replacer,
    aside: Replacer,
    compound: str | None,
    composites: bool,
) -> list[Query]:
    # The first weight of a string stays.
    weights: dict[str, float] = {}
    long = replace(surface, at)
    if long is not None:
        if whole := replace.whole(surface):
            weights[whole] = 1.0
        weights.setdefault(long, 1.0)
        weights.setdefault(surface, SHORT_FORM_WEIGHT)
    elif compound is not None:
        weights = {compound: 1.0, surface: SHORT_FORM_WEIGHT}
    else:
        weights[surface] = 1.0
        if (name := aside(surface, at)) is not None:
            weights.setdefault(name, APPOSITION_WEIGHT)
    if composites:
        for part in split_composite(surface if long is None else long):
            weights.setdefault(part, PART_WEIGHT)
    for string, weight in [*weights.items()]:
        weights.setdefault(without_subscripts(american(string)), weight)
    return [Query(*item) for item in weights.items()]
