"""Abbreviations and what they stand for, as a document itself defines them.

Starts from Schwartz and Hearst 2003 ("A simple algorithm for identifying abbreviation definitions
in biomedical text", Pac Symp Biocomput 8:451-62): a short form in brackets, or before brackets, is
matched letter by letter with the words beside it. Where a mention ends right before the brackets it
is the likely long form, and less agreement of the letters will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from spacy_bel.expansion.brackets import Context, brackets, pieces
from spacy_bel.expansion.composites import split_composite
from spacy_bel.expansion.letters import is_short_form, long_form, resembles, stands_for
from spacy_bel.expansion.replacer import Replacer

_MOST_CANDIDATES = 100
_LAST_WORD = re.compile(r"[^\s()\[\]]+$")
_HEAD = re.compile(r"\s+(?:disease|syndrome|disorder|deficiency|dystrophy|ana?emia|cancer)\b")
_BRACKETED = re.compile(r"\s[(\[][^()\[\]]*[)\]]")


class Abbreviation(NamedTuple):
    """A short form and the long form that the document defines it by.

    short, long: the two forms.
    start: character offset of the short form where it is defined.
    long_start, long_end: character offsets of the long form. The words of ``long`` stand there in
        this order; something else may stand between them, as in "Duchenne and Becker muscular
        dystrophy (DMD/BMD)" or "von Hippel-Lindau (VHL) disease".
    """

    short: str
    long: str
    start: int
    long_start: int
    long_end: int


def find_abbreviations(text: str, mentions: Sequence[tuple[int, int]] = ()) -> list[Abbreviation]:
    """Every abbreviation that a document defines, in the order of the text.

    mentions: character offsets of mentions, end exclusive, in any order; they may overlap. A
        mention that looks like a short form, and is not defined, stands for a mention of several
        words whose initials it has.

    A name with its short form inside ("von Hippel-Lindau (VHL) disease") gives two: "von
    Hippel-Lindau" and, after it, "von Hippel-Lindau disease".
    """
    context = Context(text, mentions)
    found: dict[tuple[str, str], Abbreviation] = {}
    for start, end in brackets(text):
        for abbreviation in _defined(context, start, end):
            found.setdefault((abbreviation.short, abbreviation.long.lower()), abbreviation)
    for abbreviation in [part for whole in [*found.values()] for part in _hyphened(whole)]:
        if all(short != abbreviation.short for short, _ in found):
            found[abbreviation.short, abbreviation.long.lower()] = abbreviation
    for abbreviation in _implied(context, Replacer(found.values())):
        found.setdefault((abbreviation.short, abbreviation.long.lower()), abbreviation)
    return sorted(found.values(), key=lambda a: (a.start, a.long_start, a.long_end))


def expand_abbreviations(surface: str, abbreviations: Iterable[Abbreviation]) -> str | None:
    """A mention with every defined short form replaced by its long form; None if it has none.

    Short forms match whole words as they are written, with or without their hyphens, in the plural
    too. Of several definitions of a short form the first counts. A word that would stand twice in a
    row ("VHL disease" where VHL is "von Hippel-Lindau disease") stands once, and a short form that
    the mention itself defines in brackets is left out.
    """
    return Replacer(abbreviations)(surface)


def _defined(context: Context, start: int, end: int) -> Iterator[Abbreviation]:
    """What the brackets from ``start`` to ``end`` define."""
    text = context.text
    before = start
    while before and (text[before - 1].isspace() or text[before - 1] == ","):
        before -= 1
    inside = pieces(text, start + 1, end - 1)
    left = context.left(before)
    found = False
    for number, (first, last) in enumerate(inside):
        short = text[first:last]
        if len(short) == 1:
            yield from _single_letter(context, first, before)
            continue
        if not (is_short_form(short) or _is_lower_case_short_form(context, first, last, before)):
            continue
        defined = list(_before(context, left, before, first, last, end))
        if not defined and number:
            stop = inside[number - 1][1]
            at = long_form(short, text[start + 1 : stop])
            if at is not None:
                at += start + 1
                defined = [Abbreviation(short, text[at:stop], first, at, stop)]
        found = found or bool(defined)
        yield from defined
    if not found and inside and (word := _LAST_WORD.search(text, left, before)):
        short, (first, last) = word[0], inside[0]
        if is_short_form(short) and long_form(short, text[first:last]) == 0:
            yield Abbreviation(short, text[first:last], word.start(), first, last)


def _before(
    context: Context, left: int, before: int, first: int, last: int, end: int
) -> Iterator[Abbreviation]:
    """Long forms right before the brackets that end at ``end``, for a short form in them."""
    text, short = context.text, context.text[first:last]
    mention = context.mention_before(before)
    if mention:
        for part in split_composite(text[slice(*mention)]):
            if long_form(short, part) == 0:
                yield Abbreviation(short, part, first, *mention)
                return
    at = long_form(short, text[left:before])
    if at is not None:
        at += left
    if mention:
        name = text[slice(*mention)]
        if at is None:
            at = mention[0] if resembles(short, name) else None
        # The whole mention, rather than its end, where the letters allow both, or where the end is
        # cut off within a word ("cyclohexyl-nitrosourea" of a longer name).
        elif mention[0] < at and (long_form(short, name) == 0 or not text[at - 1].isspace()):
            at = mention[0]
    elif at is not None and short[1:].islower() and not context.mention_around(first, end):
        return  # "Na" agrees with "normal" by chance
    if at is None:
        return
    long = _BRACKETED.sub("", text[at:before])
    yield Abbreviation(short, long, first, at, before)
    around, head = context.mention_around(first, end), _HEAD.match(text, end)
    stop = around[1] if around else head.end() if head else end
    if stop > end:
        yield Abbreviation(short, f"{long} {text[end:stop].strip()}", first, at, stop)


def _single_letter(context: Context, at: int, before: int) -> Iterator[Abbreviation]:
    """What a capital stands for that is a mention right after one that begins with it."""
    text, mention = context.text, context.mention_before(before)
    if (
        mention
        and text[at].isupper()
        and context.mention_before(at + 1) == (at, at + 1)
        and text[mention[0]].upper() == text[at]
        and mention[1] - mention[0] > 1
    ):
        yield Abbreviation(text[at], text[slice(*mention)], at, *mention)


def _is_lower_case_short_form(context: Context, first: int, last: int, before: int) -> bool:
    """Whether a mention in brackets ("dex") may be short for the mention before them."""
    mention = context.mention_before(before)
    return (
        mention is not None
        and 2 <= last - first <= 6
        and context.text[first:last].isalpha()
        and context.mention_before(last) == (first, last)
    )


def _hyphened(whole: Abbreviation) -> Iterator[Abbreviation]:
    """What the parts of a short form with a hyphen stand for.

    Where HPT-JT is "hyperparathyroidism-jaw tumor", HPT is "hyperparathyroidism".
    """
    shorts, longs = whole.short.split("-"), whole.long.split("-")
    if len(shorts) == len(longs) > 1:
        for short, long in zip(shorts, longs, strict=True):
            if is_short_form(short) and len(short) > 2 and long_form(short, long) == 0:
                yield whole._replace(short=short, long=long)


def _implied(context: Context, replace: Replacer) -> Iterator[Abbreviation]:
    """Mentions that other mentions stand for by their letters alone."""
    text = context.text
    places: dict[str, tuple[int, int]] = {}
    for start, end in context.mentions:
        places.setdefault(text[start:end], (start, end))
    by_initial: dict[str, list[str]] = {}
    for surface in places:
        if len(surface) > 5 and not is_short_form(surface):
            for initial in {word[0].lower() for word in re.findall(r"\w+", surface)}:
                by_initial.setdefault(initial, []).append(surface)
    for surface, (start, _) in places.items():
        if (
            not is_short_form(surface)
            or " " in surface
            or surface[1:].islower()
            or replace(surface)
        ):
            continue
        for long in by_initial.get(surface[0].lower(), [])[:_MOST_CANDIDATES]:
            if stands_for(surface, long):
                yield Abbreviation(surface, long, start, *places[long])
                break
