"""UMLS Metathesaurus in Rich Release Format (https://www.ncbi.nlm.nih.gov/books/NBK9685).

The tables are read beside each other, concept by concept, so that the size of a release does not
matter. The layout is that of ``META`` as released or as written by MetamorphoSys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from spacy_bel.errors import ReadError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.rrf import RowsByConcept, rrf_path, rrf_rows, unsorted
from spacy_bel.kb.readers.semantic_groups import group_name, select_types
from spacy_bel.kb.readers.umls_titles import longbel_title

# Columns of MRCONSO
_LAT, _TS, _STT, _AUI, _ISPREF, _SAB, _TTY, _CODE, _STR, _SUPPRESS = (
    1,
    2,
    4,
    7,
    6,
    11,
    12,
    13,
    14,
    16,
)
_BROADER = ("PAR", "RB")
PARENTS = ("rel", "hier", "none")
TITLES = ("umls", "longbel")


def read_umls(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    languages: Collection[str] = ("ENG",),
    sources: Collection[str] = (),
    suppressible: bool = False,
    semantic_types: Collection[str] = (),
    parents: str = "rel",
    titles: str = "umls",
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read a ``META`` directory; ``MRCONSO`` and ``MRSTY`` must be there, other tables may.

    The preferred name of a concept is its atom with TS=P, STT=PF and ISPREF=Y in the first of the
    languages that has one; other names follow by language and by the rank of their source and term
    type (``MRRANK``). Groups are the 15 UMLS semantic groups. Codes that ``MRCUI`` says are no
    longer in use are retired; cross-references are the codes of the sources kept.
    ``builder.entries`` counts rows of ``MRCONSO``.

    languages: as in the column LAT, the most wanted first; none means all.
    sources: keep names of these sources (column SAB) only.
    suppressible: keep names that are obsolete or suppressible (column SUPPRESS O, E, Y), too.
    semantic_types: keep concepts of these TUIs, semantic groups, or "st21pv" only.
    titles: the preferred name by the rules above ("umls") or as LongBEL shows it ("longbel").
    parents: broader concepts from ``MRREL`` (PAR, RB; "rel"), ``MRHIER`` ("hier"), or "none".
    """
    path = Path(path)
    folder = path.parent if path.is_file() else path
    conso, sty = rrf_path(folder, "MRCONSO"), rrf_path(folder, "MRSTY")
    if conso is None or sty is None:
        raise ReadError(
            f"{folder} has no {'MRCONSO' if conso is None else 'MRSTY'}.RRF: give the META "
            "directory of a UMLS release (licence and download: https://uts.nlm.nih.gov)."
        )
    if parents not in PARENTS:
        raise ReadError(f"Parents cannot come from {parents!r}: use one of {', '.join(PARENTS)}.")
    if titles not in TITLES:
        raise ReadError(f"Titles are not chosen as {titles!r}: use one of {', '.join(TITLES)}.")
    wanted = select_types(semantic_types)
    builder = KnowledgeBaseBuilder(
        name or "UMLS",
        source=str(folder.name),
        release=release or _release(folder),
        licence="UMLS Metathesaurus License Agreement",
    )
    intake = Intake(builder, conso, on_error)
    chooser = _Names(languages, sources, suppressible, _ranks(folder, intake))
    types = RowsByConcept(sty, "MRSTY", intake)
    definitions = RowsByConcept(rrf_path(folder, "MRDEF"), "MRDEF", intake)
    broader = _Broader(folder, conso, parents, intake)
    for cui, line, atoms in _atoms_by_concept(conso, intake, progress=progress):
        tuis = [row[1] for row in types.take(cui)]
        kept = chooser.sort(atoms)
        meant = definitions.take(cui)
        above = broader.take(cui)
        if not kept or (wanted and wanted.isdisjoint(tuis)):
            continue
        if titles == "longbel" and (title := longbel_title(kept)) is not None:
            kept.sort(key=lambda atom: atom[_STR] != title)
        groups = dict.fromkeys(name for tui in tuis if (name := group_name(tui)))
        texts = [row for row in meant if row[6] not in ("O", "E", "Y")]
        texts.sort(key=lambda row: bool(sources) and row[4] not in sources)
        intake.add(
            Concept(
                code=cui,
                names=tuple(atom[_STR] for atom in kept),
                groups=(group,) if group else tuple(groups) or ("Unknown",),
                definition=texts[0][5] if texts else "",
                cross_references=tuple(
                    f"{atom[_SAB]}:{atom[_CODE]}"
                    for atom in kept
                    if atom[_SAB] != "MTH" and atom[_CODE] not in ("", "NOCODE")
                ),
                parents=above,
            ),
            line,
        )
    _retire(folder, builder, intake)
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a path is a META directory or its MRCONSO."""
    return path.name.startswith("MRCONSO.RRF") or rrf_path(path, "MRCONSO") is not None


class _Names:
    """Chooses and sorts the atoms of a concept."""

    def __init__(
        self,
        languages: Collection[str],
        sources: Collection[str],
        suppressible: bool,
        ranks: dict[tuple[str, str], int],
    ) -> None:
        self._languages = {language.upper(): place for place, language in enumerate(languages)}
        self._sources = frozenset(sources)
        self._suppressible = suppressible
        self._ranks = ranks

    def sort(self, atoms: list[list[str]]) -> list[list[str]]:
        kept = [
            atom
            for atom in atoms
            if (not self._languages or atom[_LAT] in self._languages)
            and (not self._sources or atom[_SAB] in self._sources)
            and (self._suppressible or atom[_SUPPRESS] not in ("O", "E", "Y"))
        ]
        kept.sort(key=self._key)
        return kept

    def _key(self, atom: list[str]) -> tuple[bool | int, ...]:
        chosen = (atom[_TS] == "P", atom[_STT] == "PF", atom[_ISPREF] == "Y")
        return (
            atom[_SUPPRESS] in ("O", "E", "Y"),
            self._languages.get(atom[_LAT], 0),
            not all(chosen),
            -self._ranks.get((atom[_SAB], atom[_TTY]), 0),
            *(not choice for choice in chosen),
        )


class _Broader:
    """The broader concepts of each concept."""

    def __init__(self, folder: Path, conso: Path, parents: str, intake: Intake) -> None:
        table = {"rel": "MRREL", "hier": "MRHIER", "none": ""}[parents]
        self._rows = RowsByConcept(rrf_path(folder, table) if table else None, table, intake)
        self._hierarchy = _Atoms(conso, intake) if table == "MRHIER" else None

    def take(self, cui: str) -> tuple[str, ...]:
        rows = self._rows.take(cui)
        if self._hierarchy is not None:
            found = [self._hierarchy.concept(row[3]) for row in rows if row[3]]
        else:
            found = [
                row[4] for row in rows if row[3] in _BROADER and row[14] not in ("O", "E", "Y")
            ]
        return tuple(dict.fromkeys(code for code in found if code and code != cui))


class _Atoms:
    """The concept of each atom, as two sorted columns of numbers."""

    def __init__(self, conso: Path, intake: Intake) -> None:
        # Damaged rows are counted when the table is read for its names.
        apart = Intake(KnowledgeBaseBuilder("atoms"), conso, intake.on_error)
        rows = (row for _, row in rrf_rows(conso, "MRCONSO", apart))
        pairs = ((_number(row[_AUI]), _number(row[0])) for row in rows)
        numbers = np.fromiter((pair for pair in pairs if min(pair) >= 0), np.dtype((np.int64, 2)))
        self._atoms, self._concepts = numbers[np.argsort(numbers[:, 0], kind="stable")].T

    def concept(self, aui: str) -> str:
        place = int(np.searchsorted(self._atoms, _number(aui)))
        if place == len(self._atoms) or self._atoms[place] != _number(aui):
            return ""
        return f"C{int(self._concepts[place]):07}"


def _number(identifier: str) -> int:
    """The number in an identifier like A0123456, −1 if it is none."""
    digits = identifier[1:]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else -1


def _atoms_by_concept(
    path: Path, intake: Intake, *, progress: bool
) -> Iterator[tuple[str, int, list[list[str]]]]:
    """Concept, the line where it begins, and its atoms."""
    cui, line = "", 1
    atoms: list[list[str]] = []
    for number, row in rrf_rows(path, "MRCONSO", intake, progress=progress):
        intake.builder.entries += 1
        if row[0] != cui:
            if row[0] < cui:
                raise unsorted(path, number, row[0], cui)
            if atoms:
                yield cui, line, atoms
            cui, line, atoms = row[0], number, []
        atoms.append(row)
    if atoms:
        yield cui, line, atoms


def _ranks(folder: Path, intake: Intake) -> dict[tuple[str, str], int]:
    path = rrf_path(folder, "MRRANK")
    ranks = {}
    for number, row in rrf_rows(path, "MRRANK", intake) if path else ():
        if row[0].isascii() and row[0].isdigit():
            ranks[row[1], row[2]] = int(row[0][:9])
        else:
            Intake(intake.builder, path or folder, intake.on_error).damaged(
                number, f"the rank {row[0][:20]!r} is no number; mend it."
            )
    return ranks


def _retire(folder: Path, builder: KnowledgeBaseBuilder, intake: Intake) -> None:
    path = rrf_path(folder, "MRCUI")
    rows = (row for _, row in rrf_rows(path, "MRCUI", intake)) if path else iter(())
    for code, mappings in groupby(rows, key=itemgetter(0)):
        # Only a synonym is the same concept; broader, narrower and related ones are not.
        same = [row[5] for row in mappings if row[2] == "SY"]
        builder.retire(code, same[0] if same else None)


def _release(folder: Path) -> str:
    """The release that a directory like ``2023AA/META`` is named after."""
    for part in reversed(folder.absolute().parts):
        if len(part) == 6 and part[:4].isdigit() and part[4:].isalpha():
            return part
    return ""
