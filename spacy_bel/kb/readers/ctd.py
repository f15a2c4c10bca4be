"""Diseases (MEDIC) and chemicals of the Comparative Toxicogenomics Database, as CSV or TSV.

Layout: https://ctdbase.org/downloads, ``CTD_diseases`` and ``CTD_chemicals``: comments, the names
of the columns after ``# Fields:``, then one concept per row.
"""

from __future__ import annotations

from pathlib import Path

from spacy_bel.errors import ReadError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.lines import read_lines
from spacy_bel.kb.readers.rows import Lines, named_rows, split_rows, values

_KINDS = {"DiseaseName": "Disease", "ChemicalName": "Chemical"}
_SYNONYMS = ("Synonyms", "MESHSynonyms", "CTDCuratedSynonyms")
_CODED = ("MESH:", "OMIM:")


def read_ctd(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read CTD diseases or chemicals; one group, "Disease" or "Chemical" unless ``group`` is given.

    Codes are kept as in the file (``MESH:D…``, ``OMIM:…``); alternative ids and all ids without
    their prefix, as NCBI Disease writes them, resolve too.
    """
    path = Path(path)
    builder = KnowledgeBaseBuilder(
        name or "CTD",
        source=path.name,
        release=release or "",
        licence="Comparative Toxicogenomics Database, terms of use",
    )
    intake = Intake(builder, path, on_error)
    lines = iter(read_lines(path, progress=progress))
    header, delimiter = _header(path, lines)
    name_column = header[0]
    code_column = name_column.replace("Name", "ID")
    if code_column not in header:
        raise ReadError(f"{path}: its columns lack {code_column}; get the file from CTD again.")
    kind = _KINDS[name_column]
    for line, row in named_rows(split_rows(_data(lines), delimiter, intake), header, intake):
        builder.entries += 1
        code = row[code_column]
        others = values(row.get(f"Alt{code_column}s", ""))
        bare = [other.partition(":")[2] for other in (code, *others) if other.startswith(_CODED)]
        synonyms = [s for column in _SYNONYMS for s in values(row.get(column, ""))]
        chemical = [f"CAS:{number}" for number in values(row.get("CasRN", ""))]
        intake.add(
            Concept(
                code=code,
                names=(row[name_column], *synonyms),
                groups=(group or kind,),
                definition=row.get("Definition", ""),
                cross_references=(code, *others, *chemical),
                parents=values(row.get("ParentIDs", "")),
                alternative_codes=(*others, *bare),
            ),
            line,
        )
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file looks like one of CTD."""
    return path.name.startswith(("CTD_diseases", "CTD_chemicals"))


def _header(path: Path, lines: Lines) -> tuple[list[str], str]:
    """The columns and the delimiter, told by the comment that names them."""
    for _, line in lines:
        if line and not line.startswith("#"):
            break
        text = line.lstrip("#").strip()
        for delimiter in "\t,":
            columns = [column.strip() for column in text.split(delimiter)]
            if columns[0] in _KINDS and len(columns) > 1:
                return columns, delimiter
    raise ReadError(
        f"{path}, line 1: no comment names the columns, as DiseaseName or ChemicalName "
        "first; give a CTD file with its comments."
    )


def _data(lines: Lines) -> Lines:
    return ((number, line) for number, line in lines if not line.startswith("#"))
