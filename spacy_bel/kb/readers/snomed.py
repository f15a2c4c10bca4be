"""SNOMED CT, Release Format 2, snapshot (https://docs.snomed.org, Release File Specification)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from spacy_bel.errors import ReadError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.entries import Entries, Entry
from spacy_bel.kb.readers.lines import read_lines
from spacy_bel.kb.readers.rows import named_rows, require

# How the files of a table begin, and the columns that are read.
_TABLES = {
    "Concept": ("sct2_Concept_", ("id", "active")),
    "Description": (
        "sct2_Description_",
        ("id", "active", "conceptId", "languageCode", "typeId", "term"),
    ),
    "TextDefinition": (
        "sct2_TextDefinition_",
        ("active", "conceptId", "languageCode", "term"),
    ),
    "Relationship": (
        "sct2_Relationship_",
        ("active", "sourceId", "destinationId", "typeId"),
    ),
    "Language": (
        "der2_cRefset_Language",
        ("active", "refsetId", "referencedComponentId", "acceptabilityId"),
    ),
    "Association": (
        "der2_cRefset_Association",
        ("active", "refsetId", "referencedComponentId", "targetComponentId"),
    ),
}
_FULLY_SPECIFIED = "900000000000003001"
_PREFERRED = "900000000000548007"
_IS_A = "116680003"
_SAME = {"900000000000526001", "900000000000527005"}  # REPLACED BY, SAME AS
_TAG = re.compile(r"\(([^()]+)\)$")
_RELEASE = re.compile(r"_(\d{8})\.txt")


def read_snomed(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    languages: Collection[str] = ("en",),
    refsets: Collection[str] = (),
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read the active content of an unpacked release; several editions below ``path`` are one.

    The preferred name is the synonym that a language reference set prefers, in the first of the
    languages that has one; then come acceptable synonyms, those of no reference set, and fully
    specified names without their semantic tag, which is the concept's group. Inactive concepts are
    retired codes that stand for what replaces them or is the same. ``builder.entries`` counts
    active descriptions in the chosen languages.

    languages: as in the column languageCode, the most wanted first; none means all.
    refsets: ids of the language reference sets that count (say, 900000000000508004 for GB English);
        none means all.
    """
    path = Path(path)
    if not path.is_dir() or not _files(path, "Concept") or not _files(path, "Description"):
        raise ReadError(
            f"{path} has no sct2_Concept_Snapshot and sct2_Description_Snapshot below it: give an "
            "unpacked RF2 release (licence and download: https://mlds.ihtsdotools.org)."
        )
    dates = [match[1] for file in _files(path, "Concept") if (match := _RELEASE.search(file.name))]
    builder = KnowledgeBaseBuilder(
        name or "SNOMED CT",
        source=path.name,
        release=release or max(dates, default=""),
        licence="SNOMED International affiliate licence",
    )
    reader = _Reader(path, Intake(builder, path, on_error), progress)
    entries = Entries()
    inactive = []
    for line, row in reader.rows("Concept", active=False):
        if row["active"] == "1":
            entries.at(row["id"], line)
        else:
            inactive.append(row["id"])
    ranks = {language.lower(): place for place, language in enumerate(languages)}
    _names(reader, entries, ranks, _acceptability(reader, refsets))
    for _, row in reader.rows("TextDefinition"):
        entry = entries.get(row["conceptId"])
        if entry and not entry.definition and (not ranks or row["languageCode"].lower() in ranks):
            entry.definition = row["term"]
    for _, row in reader.rows("Relationship"):
        if row["typeId"] == _IS_A and row["sourceId"] in entries:
            entries[row["sourceId"]].parents.append(row["destinationId"])
    replaced = {
        row["referencedComponentId"]: row["targetComponentId"]
        for _, row in reader.rows("Association")
        if row["refsetId"] in _SAME
    }
    # Extensions list concepts without a name in the chosen languages.
    for code in [code for code, entry in entries.items() if not entry.names]:
        del entries[code]
    for entry in entries.values():
        entry.groups = [tag for _, tag in sorted(_tagged(entry))][:1]
    entries.add_to(reader.intake, group=group, fallback="SNOMED CT")
    for code in inactive:
        builder.retire(code, replaced.get(code))
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a path is a directory with an RF2 snapshot below it."""
    return path.is_dir() and bool(_files(path, "Concept"))


class _Reader:
    """The rows of the tables below a directory."""

    def __init__(self, folder: Path, intake: Intake, progress: bool) -> None:
        self.folder = folder
        self.intake = intake
        self._progress = progress

    def rows(self, table: str, *, active: bool = True) -> Iterator[tuple[int, dict[str, str]]]:
        """Line number and row; of active rows only unless told otherwise."""
        for path in _files(self.folder, table):
            intake = Intake(self.intake.builder, path, self.intake.on_error)
            rows = (
                (number, line.split("\t"))
                for number, line in read_lines(path, progress=self._progress)
                if line
            )
            number, header = next(rows, (1, []))
            require(intake, header, _TABLES[table][1], number)
            for number, row in named_rows(rows, header, intake):
                if row["active"] == "1" or not active:
                    yield number, row


def _files(folder: Path, table: str) -> list[Path]:
    found = folder.rglob(f"{_TABLES[table][0]}*Snapshot*.txt")
    return sorted(file for file in found if file.is_file())


def _acceptability(reader: _Reader, refsets: Collection[str]) -> dict[str, bool]:
    """For each description in a reference set whether one prefers it."""
    preferred: dict[str, bool] = {}
    for _, row in reader.rows("Language"):
        if not refsets or row["refsetId"] in refsets:
            description = row["referencedComponentId"]
            preferred[description] = preferred.get(description, False) or (
                row["acceptabilityId"] == _PREFERRED
            )
    return preferred


def _names(
    reader: _Reader, entries: Entries, ranks: dict[str, int], preferred: dict[str, bool]
) -> None:
    """Add names, ranked; fully specified names also give the group, with the same rank."""
    for _, row in reader.rows("Description"):
        entry = entries.get(row["conceptId"])
        language = row["languageCode"].lower()
        if entry is None:
            continue
        full = row["typeId"] == _FULLY_SPECIFIED
        tag = _TAG.search(row["term"]) if full else None
        # Groups come from any language, since extensions do not repeat what they do not translate.
        place = ranks.get(language, 0 if not ranks else len(ranks))
        if tag:
            entry.groups.append(f"{place}\t{tag[1]}")
        if ranks and language not in ranks:
            continue
        reader.intake.builder.entries += 1
        wanted = preferred.get(row["id"])
        rank = 3 if full else 2 if wanted is None else 0 if wanted else 1
        term = _TAG.sub("", row["term"]).rstrip() if full else row["term"]
        entry.names.append((place * 4 + rank, term))


def _tagged(entry: Entry) -> Iterator[tuple[int, str]]:
    for text in entry.groups:
        place, _, tag = text.partition("\t")
        yield int(place), tag
