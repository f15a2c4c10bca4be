"""BRAT standoff: a ``.txt`` with the text and an ``.ann`` of the same name with the annotations.

Format: https://brat.nlplab.org/standoff.html. QUAERO writes the codes of a mention into its note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spacy_bel.corpora.document import (
    Annotation,
    CorpusDocument,
    all_alternatives,
    any_of,
    parse_code_string,
)
from spacy_bel.corpora.files import Source, numbered_lines, read_text
from spacy_bel.corpora.jsonlines import OnError, report
from spacy_bel.corpora.standoff import as_offset, as_paths, located
from spacy_bel.errors import ReadError


def read_brat(source: Source, *, on_error: OnError = None) -> Iterator[CorpusDocument]:
    """Read the document of an ``.ann`` file, whose ``.txt`` stands beside it.

    Codes come from notes (``#``) of which every word holds a digit, and from normalisations (``N``,
    ``UMLS:C0004134``). Several codes are alternatives, ``A+B`` is a composite. Other notes and
    attributes go to the mention's `meta`, relations, events and what else there is to the
    document's.

    on_error: called with the ReadError of a bad line, which is left out; without it it is raised.
    """
    (path,) = as_paths(source)
    name = path.name.removesuffix(".gz").removesuffix(".ann").removesuffix(".txt")
    text = read_text(_either(path.with_name(f"{name}.txt")))
    path = _either(path.with_name(f"{name}.ann"))
    document = CorpusDocument(name, text, [(0, len(text))])
    lines = [
        (f"{path}, line {number}", line.rstrip("\r\n").split("\t"))
        for number, line in numbered_lines(path)
        if line.strip()
    ]
    for where, columns in lines:
        try:
            _add_mention(document, columns, where)
        except ReadError as error:
            report(error, on_error)
    mentions = {annotation.id: annotation for annotation in reversed(document.annotations)}
    for where, columns in lines:
        try:
            _add_rest(document, mentions, columns, where)
        except ReadError as error:
            report(error, on_error)
    for annotation in document.annotations:
        alternatives = annotation.meta.pop("alternatives", [])
        annotation.codes = any_of([parse_code_string(code) for code in alternatives])
        if alternatives != all_alternatives(annotation.codes):
            annotation.meta["code"] = " ".join(alternatives)
    yield document


def _either(path: Path) -> Path:
    """The file, or the gzipped file in its place."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def _add_mention(document: CorpusDocument, columns: list[str], where: str) -> None:
    if not columns[0].startswith("T"):
        return
    if len(columns) < 2 or " " not in columns[1]:
        raise ReadError(f"{where}: a mention is written 'T1<tab>Label 0 5<tab>text'.")
    label, places = columns[1].split(" ", 1)
    fragments = []
    for place in places.split(";"):
        start, space, end = place.strip().partition(" ")
        if not space:
            raise ReadError(f"{where}: {place!r} is not a start and an end.")
        fragments.append((as_offset(start, where), as_offset(end, where)))
    text = "\t".join(columns[2:])
    document.annotations.append(
        located(document, fragments, text, where, type=label, id=columns[0])
    )


def _add_rest(
    document: CorpusDocument, mentions: dict[str, Annotation], columns: list[str], where: str
) -> None:
    kind = columns[0][:1]
    if kind == "T":
        return
    if kind not in tuple("#NARE*M") or len(columns) < 2:
        raise ReadError(f"{where}: not a line of BRAT: {' '.join(columns)[:60]!r}.")
    # "#1 AnnotatorNotes T1", "N1 Reference T1 UMLS:C0004134", "A1 Negation T1"
    words, content = columns[1].split(), "\t".join(columns[2:])
    mention = mentions.get(words[1]) if kind in "#NAM" and len(words) > 1 else None
    if mention is None:
        document.meta.setdefault("brat", []).append("\t".join(columns))
    elif kind == "N" and len(words) > 2:
        mention.meta.setdefault("alternatives", []).append(_referenced(words[2]))
        mention.meta.setdefault("normalizations", []).append([words[2], content])
    elif kind == "#" and (codes := _codes(content)):
        mention.meta.setdefault("alternatives", []).extend(codes)
    else:
        name = "notes" if kind == "#" else "attributes"
        mention.meta.setdefault(name, []).append([words[0], *words[2:], content])


def _codes(note: str) -> list[str]:
    """Codes of a note; none if it is a remark."""
    words = note.split()
    return words if all(re.search(r"\d", word) for word in words) else []


def _referenced(reference: str) -> str:
    """ "C0004134" for "UMLS:C0004134", but "HP:0001250" as it is, its code being a bare number."""
    _, _, code = reference.partition(":")
    return code if code and not code.isdecimal() else reference
