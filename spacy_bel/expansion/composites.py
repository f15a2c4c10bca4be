"""Names that join several concepts ("breast and ovarian cancer"), taken apart."""

from __future__ import annotations

import re

_LONGEST = 300
_JOINT = re.compile(r"\s*,?\s+(?:and/or|as well as|and|or|&|versus|vs\.?)\s+|\s*,\s+|\s*/\s*")
_CONJUNCTION = re.compile(r"\b(?:and|or|as well as|versus|vs)\b|[&/]")
_PREFIX = re.compile(r"(.+\b(?:of|in|to|with|for|from|by)\s+(?:the\s+|both\s+)?)(\S.*)", re.DOTALL)
_ENUMERATOR = re.compile(r"(?:[IVX]+|\d+|[A-Z]|[A-Z]\d+)[A-Za-z]?")
_ALWAYS_PLURAL = re.compile(
    "ascites|caries|diabetes|herpes|measles|mumps|rabies|rickets|scabies|shingles", re.IGNORECASE
)
# Ends of nouns that name a condition by themselves, so that they share no head with what follows.
_CONDITION = re.compile(
    r".*(?:ia|sis|itis|oma|pathy|trophy|plasia|ism|emia|uria|ose|ness|tion|ease|rome|order|ure|oss"
    r"|ncy|ency|cancer|tumou?r|ache|pain|fever|malformation)s?",
    re.IGNORECASE,
)


def split_composite(surface: str) -> list[str]:
    """Names of the parts of a composite mention; an empty list if it is none.

    What the parts share is repeated: a head ("breast and ovarian cancers" is "breast cancer" and
    "ovarian cancer"), what comes before ("cancer of the breast and ovary"), or both ("type I and II
    diabetes").
    """
    surface = " ".join(surface.split()) if len(surface) <= _LONGEST else ""
    if not _CONJUNCTION.search(surface):
        return []
    prefix = ""
    first_joint = _JOINT.search(surface)
    if first_joint and (match := _PREFIX.fullmatch(surface[: first_joint.start()])):
        prefix, surface = match[1], surface[match.start(2) :]
    parts = [words for part in _JOINT.split(surface) if (words := part.rstrip("-").split())]
    if len(parts) < 2 or any(
        " ".join(part).count("(") != " ".join(part).count(")") for part in parts
    ):
        return []
    shared = _share(parts)
    names = [prefix + " ".join(words) for words in shared]
    return list(dict.fromkeys(names))


def _share(parts: list[list[str]]) -> list[list[str]]:
    *firsts, last = parts
    before = firsts[0]
    if _ENUMERATOR.fullmatch(before[-1]) and _ENUMERATOR.fullmatch(last[0]):
        start, tail = _singular(before[:-1]), _singular(last[1:])
        return [start + [part[-1 if part is before else 0]] + tail for part in parts]
    if len(last) > 1 and not any(_complete(part, last) for part in firsts):
        tail = _singular(last[min(len(before), len(last) - 1) :])
        return [*(part + tail for part in firsts), [*last[: len(last) - len(tail)], *tail]]
    if len(before) > 1 and len(last) == 1 and not _CONDITION.fullmatch(last[0]):
        start = before[:-1]
        return [before, *(start + part if len(part) == 1 else part for part in parts[1:])]
    return [_singular(part) for part in parts]


def _complete(part: list[str], last: list[str]) -> bool:
    return part[-1].lower() == last[-1].lower() or _CONDITION.fullmatch(part[-1]) is not None


def _singular(words: list[str]) -> list[str]:
    if not words or len(words[-1]) < 5 or _ALWAYS_PLURAL.fullmatch(words[-1]):
        return words
    last = words[-1]
    if last.endswith("ies"):
        return [*words[:-1], f"{last[:-3]}y"]
    return [*words[:-1], last[:-1]] if re.search(r"[^sui]s$", last) else words
