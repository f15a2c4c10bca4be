"""Putting long forms in the place of short ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from spacy_bel.expansion.letters import singular

if TYPE_CHECKING:
    from spacy_bel.expansion.abbreviations import Abbreviation

# Longer ones are no names, and each short form in them would make them longer still.
_LONGEST_MENTION = 500
_NUMBER = r"(?:\d{1,2}|[IVX]{1,4})[A-Z]?"
_NUMBERED = re.compile(rf"(.*[A-Za-z])-?({_NUMBER})")


class Replacer:
    """Replaces the short forms in many mentions of one document.

    A short form matches whole words as it is written, with or without its hyphens, in the plural
    too. Where SCA3 is "spinocerebellar ataxia type 3", SCA2 is "spinocerebellar ataxia type 2".
    """

    def __init__(self, abbreviations: Iterable[Abbreviation]) -> None:
        self._long: dict[str, list[tuple[int, str]]] = {}
        self._whole: dict[str, str] = {}
        for short, long, start, *_ in abbreviations:
            known = self._long.setdefault(_key(short), [])
            if known and long.startswith(f"{known[-1][1]} "):
                self._whole.setdefault(_key(short), long)
            elif all(long.lower() != other.lower() for _, other in known):
                known.append((start, long))
        self._long_of_numbered = dict(self._numbered())
        # A single letter is replaced where it is a whole mention, not within one ("T cell").
        longer = {key for key in (*self._long, *self._long_of_numbered) if len(key) > 1}
        keys = sorted(longer, key=lambda key: (-len(key), key))
        choice = "|".join("-?".join(map(re.escape, key)) for key in keys)
        short = rf"({choice})(?:-?({_NUMBER})|'?s)?(?!\w)"
        self._pattern = re.compile(rf"(?<!\w){short}(\s+[\w-]+)?") if keys else None
        self._defined = re.compile(rf"(?<=\S)\s{{0,2}}[(\[](?:{choice})[)\]]") if keys else None

    def __call__(self, surface: str, at: int | None = None) -> str | None:
        """The mention with long forms, None if no short form is in it.

        at: character offset of the mention; of several definitions of a short form the last one
            before it counts, or the first one.
        """
        if len(surface) == 1:
            return self._chosen(surface, at)
        if self._pattern is None or self._defined is None or len(surface) > _LONGEST_MENTION:
            return None

        def replacement(match: re.Match[str]) -> str:
            return self._replacement(match, at)

        bare, removed = self._defined.subn("", surface)
        expanded = self._pattern.sub(replacement, bare)
        # Long forms hold short ones: "childhood cerebral ALD (CCALD)".
        if expanded != bare:
            expanded = self._pattern.sub(replacement, expanded)
        return expanded if expanded != surface else None

    def whole(self, surface: str) -> str | None:
        """The long form with its head, for a mention that is a short form and nothing else.

        In "von Hippel-Lindau (VHL) disease" the long form is "von Hippel-Lindau", but VHL alone
        is the disease.
        """
        return self._whole.get(_key(surface))

    def _replacement(self, match: re.Match[str], at: int | None) -> str:
        short, number, following = match[1], match[2] or "", match[3] or ""
        key = _key(short)
        if number:
            base = self._long_of_numbered.get(key) or self._chosen(key, at)
            long = None if base is None else f"{base} {number}"
        else:
            long = self._chosen(key, at)
        if long is None:
            return match[0]
        # "VHL disease", where VHL is "von Hippel-Lindau disease".
        if following and long.lower().split()[-1] == following.strip().lower():
            return long + following[len(following.rstrip()) :]
        return long + following

    def _chosen(self, key: str, at: int | None) -> str | None:
        known = self._long.get(key)
        if not known:
            return None
        before = [long for start, long in known if at is not None and start <= at]
        return before[-1] if before else known[0][1]

    def _numbered(self) -> Iterable[tuple[str, str]]:
        """What short forms with a number stand for without it."""
        for key, known in self._long.items():
            match = _NUMBERED.fullmatch(key)
            if match and known[0][1].endswith(f" {match[2]}"):
                yield match[1], known[0][1][: -len(match[2])].rstrip()


def _key(short: str) -> str:
    return singular(short).replace("-", "")
