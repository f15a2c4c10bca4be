"""A made-up metathesaurus in RRF, as large as UMLS: the same columns, none of its content.

Words are built from parts with frequencies by Zipf's law, so that names share words and beginnings
as real ones do; a concept's names are variants of one phrase, and some are shared by two concepts.
Equal arguments give equal files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

_PREFIXES = "a anti auto bi dys endo epi hyper hypo inter intra iso macro micro neo para peri poly"
_ROOTS = (
    "aden angi arthr bronch carcin cardi cephal cerebr chol chondr col crani cyst cyt dent derm "
    "enter fibr gastr gli gloss hem hepat hist kerat laryng lip lith lymph mast men mening my myel "
    "nephr neur ocul onc oste ot pancreat phleb pneum proct psych pulmon ren rhin sarc scler splen "
    "stom tend thromb thyr trache ur vas ven"
)
_ENDINGS = (
    "al algia asis ectasia ectomy emia genesis graphy ic ine itis lysis megaly oid oma opathy osis "
    "ostomy otomy ous penia plasty ptosis rrhagia rrhea sclerosis scopy trophy uria"
)
_QUALIFIERS = (
    "", "", "", " NOS", " (disorder)", " (procedure)", " (substance)", ", unspecified",
    " structure", " measurement", " Oral Tablet", " Injectable Solution", " [chemical/ingredient]",
    " disease",
)  # fmt: skip
_TYPES = (
    ("T047", "Disease or Syndrome"), ("T061", "Therapeutic or Preventive Procedure"),
    ("T121", "Pharmacologic Substance"), ("T109", "Organic Chemical"), ("T033", "Finding"),
    ("T023", "Body Part, Organ, or Organ Component"), ("T204", "Eukaryote"),
    ("T028", "Gene or Genome"), ("T200", "Clinical Drug"), ("T201", "Clinical Attribute"),
    ("T191", "Neoplastic Process"), ("T116", "Amino Acid, Peptide, or Protein"),
)  # fmt: skip
_SOURCES = ("SNOMEDCT_US", "MSH", "NCI", "RXNORM", "LNC", "NCBI", "MTH", "OMIM")
_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class FixtureSize:
    """What was written: concepts, rows of MRCONSO.RRF and bytes of all files."""

    concepts: int
    rows: int
    bytes: int


def write_rrf(directory: Path, concepts: int, names: int, *, seed: int = 0) -> FixtureSize:
    """Write MRCONSO.RRF, MRSTY.RRF, MRDEF.RRF, MRREL.RRF and MRRANK.RRF.

    names: English rows wanted; a fiftieth more are in Spanish, and one in forty is suppressed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = 0
    tables = ("MRCONSO", "MRSTY", "MRDEF", "MRREL", "MRRANK")
    files = {table: (directory / f"{table}.RRF").open("w", encoding="utf-8") for table in tables}
    try:
        _write_ranks(files["MRRANK"])
        for first, phrases in _phrases(concepts, seed):
            rows += _write_chunk(files, first, phrases, names / concepts, seed)
    finally:
        for file in files.values():
            file.close()
    total = sum((directory / f"{table}.RRF").stat().st_size for table in tables)
    return FixtureSize(concepts, rows, total)


def _words(size: int, rng: np.random.Generator) -> list[str]:
    prefixes, roots, endings = (parts.split() for parts in (_PREFIXES, _ROOTS, _ENDINGS))
    words: dict[str, None] = {}
    while len(words) < size:
        a, b, c, d = (rng.integers(0, n) for n in (3 * len(prefixes), len(roots), len(roots), 99))
        first = prefixes[a] if a < len(prefixes) else ""
        second = roots[c] + "o" if d % 3 == 0 else ""
        words[first + second + roots[b] + endings[d % len(endings)]] = None
    return list(words)


def _phrases(concepts: int, seed: int) -> Iterator[tuple[int, list[str]]]:
    """(number of the first concept, a phrase for each) in chunks."""
    rng = np.random.default_rng(seed)
    words = _words(40_000, rng)
    cumulative = np.cumsum(1 / np.arange(2, len(words) + 2))
    cumulative /= cumulative[-1]
    for first in range(0, concepts, _CHUNK):
        size = min(_CHUNK, concepts - first)
        chosen = np.searchsorted(cumulative, rng.random((size, 4))).tolist()
        lengths = rng.integers(2, 5, size).tolist()
        numbers = rng.integers(1, 2000, size).tolist()
        phrases = []
        for ids, length, number in zip(chosen, lengths, numbers, strict=True):
            phrase = " ".join([words[i] for i in ids[:length]])
            # Strengths, types and loci: a third of the names of UMLS hold a number.
            phrases.append(f"{phrase} {number}" if number % 3 == 0 or length == 2 else phrase)
        yield first, phrases


def _write_chunk(
    files: Mapping[str, TextIO], first: int, phrases: list[str], per_concept: float, seed: int
) -> int:
    rng = np.random.default_rng([seed, first])
    counts = 1 + rng.poisson(per_concept - 1, len(phrases))
    qualifiers = rng.integers(0, len(_QUALIFIERS), (len(phrases), 3)).tolist()
    types = (rng.integers(0, len(_TYPES) ** 2, len(phrases)) // len(_TYPES)).tolist()
    parents = rng.integers(0, np.arange(first, first + len(phrases)) + 1).tolist()
    conso, sty, mrdef, rel = [], [], [], []
    rows = 0
    for i, phrase in enumerate(phrases):
        number = first + i
        cui = f"C{number:07d}"
        for j in range(counts[i]):
            text = _variant(phrase, j, qualifiers[i][j % 3], phrases[i - 1])
            suppress = "Y" if j and (number + j) % 40 == 0 else "N"
            conso.append(_atom(cui, "ENG", number, j, text, suppress))
        rows += int(counts[i])
        if number % 20 == 0:
            conso.append(_atom(cui, "SPA", number, 99, f"{phrase} en español", "N"))
            rows += 1
        code, label = _TYPES[types[i]]
        sty.append(f"{cui}|{code}|A1.2|{label}|AT{number:08d}|256|\n")
        if number % 12 == 0:
            text = f"Any {phrase} that follows {phrases[i - 1]}, with or without further findings."
            mrdef.append(f"{cui}|A{number:07d}0|AT{number:08d}||MSH|{text}|N||\n")
        above = f"C{parents[i]:07d}"
        rel.append(
            f"{cui}|A{number:07d}0|AUI|PAR|{above}|A{parents[i]:07d}0|AUI||R{number:08d}||MSH|MSH|||N||\n"
        )
    written = {"MRCONSO": conso, "MRSTY": sty, "MRDEF": mrdef, "MRREL": rel}
    for table, lines in written.items():
        files[table].writelines(lines)
    return rows


def _variant(phrase: str, j: int, qualifier: int, neighbour: str) -> str:
    """The j-th name of a concept."""
    head, _, tail = phrase.partition(" ")
    if j == 0:
        return phrase
    if j == 1:
        return f"{tail.capitalize()}, {head}{_QUALIFIERS[qualifier]}"
    if j == 2:
        return f"{phrase.capitalize()} of {neighbour.partition(' ')[0]}{_QUALIFIERS[qualifier]}"
    if j == 3 and qualifier == 0:
        return neighbour  # an ambiguous name
    return f"{_QUALIFIERS[3 + (j + qualifier) % 11].strip(' ,()[]').capitalize()} {phrase} {j}"


def _atom(cui: str, language: str, number: int, j: int, text: str, suppress: str) -> str:
    source = _SOURCES[(number + j) % len(_SOURCES)]
    preferred, kind = ("P", "PT") if j == 0 else ("S", "SY")
    atom = f"{number:07d}{j}"
    return (
        f"{cui}|{language}|{preferred}|L{atom}|PF|S{atom}|{'Y' if j == 0 else 'N'}|A{atom}||||"
        f"{source}|{kind}|{source[0]}{number % 9_999_991}|{text}|0|{suppress}|256|\n"
    )


def _write_ranks(file: TextIO) -> None:
    pairs = [(source, kind) for source in _SOURCES for kind in ("PT", "SY")]
    for rank, (source, kind) in enumerate(pairs):
        file.write(f"{len(pairs) - rank:04d}|{source}|{kind}|N|\n")
