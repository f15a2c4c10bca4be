"""The gazetteers of the SPACCC tasks (DisTEMIST, SympTEMIST, MedProcNER): SNOMED CT in Spanish.

Tab-separated with a header: ``code, (language,) term, semantic_tag, mainterm``.
"""

from __future__ import annotations

import re
from pathlib import Path

from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.entries import Entries
from spacy_bel.kb.readers.lines import read_lines
from spacy_bel.kb.readers.rows import named_rows, require, split_rows

_COLUMNS = ("code", "term", "semantic_tag")
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+")


def read_gazetteer(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    encoding: str = "utf-8",
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read a gazetteer; ``builder.entries`` counts rows.

    The preferred name is the term whose ``mainterm`` is 1, the groups are the semantic tags. A
    column ``CUI`` becomes cross-references to UMLS.
    """
    path = Path(path)
    builder = KnowledgeBaseBuilder(name or path.name.split(".")[0], source=path.name)
    builder.release = release or ""
    intake = Intake(builder, path, on_error)
    rows = split_rows(read_lines(path, progress=progress, encoding=encoding), "\t", intake)
    line, header = next(rows, (1, []))
    require(intake, header, _COLUMNS, line)
    entries = Entries()
    for line, row in named_rows(rows, header, intake):
        builder.entries += 1
        code, term = row["code"], row["term"]
        if not code or not term:
            intake.damaged(line, "the row has no code or no term; complete it.")
            continue
        if _ROUNDED.fullmatch(code):
            intake.damaged(
                line, f"a spreadsheet has rounded the code {code}; take it from the original."
            )
            continue
        entry = entries.at(code, line)
        entry.names.append((0 if row.get("mainterm", "") in ("1", "1.0", "True") else 1, term))
        if row["semantic_tag"]:
            entry.groups.append(row["semantic_tag"])
        if row.get("CUI"):
            entry.cross_references.append(f"UMLS:{row['CUI']}")
    entries.add_to(intake, group=group, fallback="SNOMED CT")
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file looks like a gazetteer."""
    return set(_COLUMNS) <= set(first_line.split("\t"))
