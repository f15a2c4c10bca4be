"""Translations of an ontology: babelon tables, as the Human Phenotype Ontology publishes them.

Tab-separated with a header; ``subject_id`` and ``translation_value`` must be there
(https://github.com/monarch-initiative/babelon).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.lines import read_lines
from spacy_bel.kb.readers.rows import named_rows, require, split_rows, values

_COLUMNS = ("subject_id", "translation_value")
_DEFINITION = "IAO:0000115"


def read_babelon(
    path: str | Path,
    *,
    on_error: OnError = "raise",
    progress: bool = False,
    report: KnowledgeBaseBuilder | None = None,
) -> Iterator[Concept]:
    """Yield a concept without group for each row of translated names; definitions are left out.

    Several names in one cell are separated by ``|``.

    report: a builder whose ``entries``, ``skipped`` and ``damage`` say how reading went.
    """
    path = Path(path)
    builder = KnowledgeBaseBuilder(path.name) if report is None else report
    intake = Intake(builder, path, on_error)
    rows = split_rows(read_lines(path, progress=progress), "\t", intake)
    line, header = next(rows, (1, []))
    require(intake, header, _COLUMNS, line)
    for line, row in named_rows(rows, header, intake):
        if row["subject_id"] == "ID":  # a second header, for the ROBOT tool
            continue
        builder.entries += 1
        status = row.get("translation_status") or row.get("Status") or ""
        if row.get("predicate_id") == _DEFINITION or status == "NOT_TRANSLATED":
            continue
        if not row["subject_id"] or not row["translation_value"]:
            intake.damaged(line, "the row has no subject_id or no translation_value; complete it.")
            continue
        yield Concept(row["subject_id"], values(row["translation_value"]), ())


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file looks like a babelon table."""
    return set(_COLUMNS) <= set(first_line.split("\t"))
