"""Which name of a UMLS concept LongBEL and SynCABEL show (arXiv 2605.13451, 2601.19667)."""

from __future__ import annotations

from collections.abc import Sequence

# Columns of MRCONSO
_LAT, _TS, _SAB, _TTY, _STR = 1, 2, 11, 12, 14
_SENTENCE_CASE_BONUS = 0.5


def longbel_title(atoms: Sequence[Sequence[str]]) -> str | None:
    """The title among the atoms of a concept, None if there is none by these rules.

    A Metathesaurus preferred name (TTY=PN); else, among names of preferred terms (TS=P), the
    shortest of the Metathesaurus itself (SAB=MTH), half a character being given to sentence case;
    else the shortest English one by that measure; else the only French, or the only Spanish one.
    """
    for atom in atoms:
        if atom[_TTY] == "PN":
            return atom[_STR]
    titles = [atom for atom in atoms if atom[_TS] == "P"]
    own = [atom[_STR] for atom in titles if atom[_SAB] == "MTH"]
    for names in (own, _in_language(titles, "ENG")):
        if names:
            return min(names, key=lambda name: (_length(name), name))
    for language in ("FRE", "SPA"):
        names = _in_language(titles, language)
        if len(set(names)) == 1:
            return names[0]
    return None


def _in_language(atoms: Sequence[Sequence[str]], language: str) -> list[str]:
    return [atom[_STR] for atom in atoms if atom[_LAT] == language]


def _length(name: str) -> float:
    return len(name) - _SENTENCE_CASE_BONUS * (name == name.capitalize())
