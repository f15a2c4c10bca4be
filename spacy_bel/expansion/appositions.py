"""Codes, formulas and older symbols that a document puts in brackets after a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spacy_bel.expansion.abbreviations import Abbreviation
from spacy_bel.expansion.brackets import Context, brackets, pieces
from spacy_bel.expansion.replacer import Replacer

_LONGEST_CODE = 14
_CODE = re.compile(r"(?=.*[A-Z\d])(?!\d+$)[\w\-+.() ]+")


def find_appositions(
    text: str, mentions: Sequence[tuple[int, int]], known: Replacer
) -> list[Abbreviation]:
    """Mentions in brackets right after a mention whose letters do not say that they mean the same.

    Such as "choroideremia (TCD)", "ammonium acetate (NH4Ac)", "dizocilpine (MK-801)". Both must be
    mentions, and the brackets must begin with the second one, a short one with a capital or a
    number that ``known`` does not replace. They mean the same more often than not, so they are
    worth a second thought, no more.
    """
    context = Context(text, mentions)
    spans = set(context.mentions)
    found: dict[str, Abbreviation] = {}
    for start, end in brackets(text):
        before = start
        while before and text[before - 1].isspace():
            before -= 1
        name = context.mention_before(before)
        first, last = next(iter(pieces(text, start + 1, end - 1)), (0, 0))
        code = text[first:last]
        if (
            name
            and (first, last) in spans
            and 2 <= len(code) <= min(_LONGEST_CODE, name[1] - name[0] - 1)
            and _CODE.fullmatch(code)
            and known(code) is None
        ):
            found.setdefault(code, Abbreviation(code, text[slice(*name)], first, *name))
    return sorted(found.values(), key=lambda pair: pair.start)
