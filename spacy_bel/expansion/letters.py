"""How well the letters of a short form agree with the words of a long form."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"[^\W_]+")
_SHORT = re.compile(r"[^\W_](?:[\w\-/+'.()]|,(?=\d))*(?: [\w\-/+'.]+){0,2}")
_PLURAL = re.compile(r"(?<=[A-Z\d])'?s$")
_LONGEST_SHORT_FORM = 14
# Words that short forms pass over.
_SMALL = re.compile("an?|and|at|by|del?|der|for|from|in|of|on|or|the|to|van|von|with")
# Beginnings of what brackets hold besides short forms.
_REFERENCE = re.compile(
    r"(?:figs?|figures?|tables?|tab|refs?|see|eqs?|no|mim|omim|mckusick|chromosome|exons?|codons?"
    r"|types?|grades?|stages?|groups?|days?|weeks?|months?|years?|vs|n|p|ci)\b(?!-)",
    re.IGNORECASE,
)


def is_short_form(text: str) -> bool:
    """Whether a text can be an abbreviation: few characters and words, two letters, a capital."""
    return (
        2 <= len(text) <= _LONGEST_SHORT_FORM
        and _SHORT.fullmatch(text) is not None
        and text.lower() != text
        and sum(character.isalpha() for character in text) >= 2
        and not (_REFERENCE.match(text) and not text.isupper())
        and not (text[1:].islower() and len(text) > 5)
    )


def singular(short: str) -> str:
    """A short form without the s of its plural ("PAs")."""
    return _PLURAL.sub("", short)


def long_form(short: str, text: str) -> int | None:
    """Where the long form of ``short`` begins that ends with ``text``; None if there is none.

    Initials of words come first, then the letters from right to left as in Schwartz and Hearst
    2003.
    """
    for form in dict.fromkeys((singular(short), short)):
        letters = _letters(form)
        words = _words(text)[-min(len(letters) + 5, 2 * len(letters)) :]
        if not words:
            return None
        at = _initials(letters, words)
        if at is None:
            at = _schwartz_hearst(letters, text.lower(), words[0][0])
        if at is not None and _may_define(short, text[at:]):
            return at
    return None


def _may_define(short: str, long: str) -> bool:
    folded = long.lower()
    return (
        len(long) > len(short)
        and folded.count("(") == folded.count(")")
        and folded.count("[") == folded.count("]")
        # A long form that holds its own short form defines nothing.
        and not {short.lower(), f"{short.lower()}s"} & set(re.split(r"\W+", folded))
    )


def resembles(short: str, mention: str) -> bool:
    """Whether a mention right before a short form may be its long form, by weaker evidence.

    Two letters or more are initials, in any order, and the others stand anywhere, where one of four
    or more may be missing; or the letters agree once the numbers are left out.
    """
    letters = [letter for letter in _letters(singular(short)) if letter.isalpha()]
    if len(letters) < 2 or not _may_define(short, mention):
        return False
    words = [word for _, word in _words(mention)]
    wanted = Counter(letters)
    among_initials = (wanted & Counter(word[0] for word in words)).total()
    missing = len(letters) - (wanted & Counter("".join(words))).total()
    if among_initials >= max(2, len(letters) / 2):
        return missing <= (len(letters) >= 4)
    return long_form("".join(letters), mention) == 0


def stands_for(short: str, mention: str) -> bool:
    """Whether letters alone, without a definition, let a short form stand for a mention.

    The mention has several words and the short form the initial of each but the small ones; the
    letters come in its order, or they are its initials in another order.
    """
    words = [word for _, word in _words(mention)]
    letters = _letters(singular(short))
    initials = Counter(word[0] for word in words if not _SMALL.fullmatch(word))
    if len(words) < 2 or not initials or initials - Counter(letters):
        return False
    if initials == Counter(letters):
        return True
    return long_form(short, mention) == 0


def _letters(short: str) -> list[str]:
    return [character for character in short.lower() if character.isalnum()]


def _words(text: str) -> list[tuple[int, str]]:
    return [(match.start(), match[0].lower()) for match in _WORD.finditer(text)]


def _initials(letters: list[str], words: list[tuple[int, str]]) -> int | None:
    """Where words begin whose initials are the letters; small words may be passed over."""
    position, start = len(letters) - 1, None
    for at, word in reversed(words):
        if position < 0:
            break
        if word[0] == letters[position]:
            position, start = position - 1, at
        elif not _SMALL.fullmatch(word) or start is None:
            return None
    return start if position < 0 else None


def _schwartz_hearst(letters: list[str], text: str, limit: int) -> int | None:
    """From right to left each letter before the one after it, the first at the start of a word."""
    at = len(text)
    for position in range(len(letters) - 1, -1, -1):
        at -= 1
        while at >= limit and not (
            text[at] == letters[position]
            and (position > 0 or at == 0 or not text[at - 1].isalnum())
        ):
            at -= 1
        if at < limit:
            return None
    return at
