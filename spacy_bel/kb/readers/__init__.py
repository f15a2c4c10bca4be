"""Readers of terminology files. A format is one module and one line of ``FORMATS``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy_bel.errors import ReadError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers import (
    ctd,
    gazetteer,
    longbel,
    medic,
    mesh,
    mesh_table,
    obo,
    ontology_json,
    snomed,
    table,
    umls,
)
from spacy_bel.kb.readers.damage import OnError
from spacy_bel.kb.readers.lines import read_head

_COMMON = {"path", "name", "group", "release", "on_error", "progress"}


@dataclass(frozen=True, slots=True)
class Format:
    """A terminology format.

    description: one line for people.
    read: reader; takes a path and the keyword arguments of ``read`` below, and options of its own.
    recognises: whether a path with this first line is of this format.
    """

    description: str
    read: Callable[..., KnowledgeBaseBuilder]
    recognises: Callable[[Path, str], bool]

    @property
    def options(self) -> frozenset[str]:
        """Names of the options that only this format takes."""
        return frozenset(inspect.signature(self.read).parameters.keys() - _COMMON)


# In the order in which a file is tried when its format is not named: the loosest is last.
FORMATS: dict[str, Format] = {
    "obo": Format("ontology in OBO format 1.2 or 1.4", obo.read_obo, obo.recognises),
    "umls": Format("UMLS META directory (RRF)", umls.read_umls, umls.recognises),
    "snomed": Format("SNOMED CT RF2 snapshot directory", snomed.read_snomed, snomed.recognises),
    "mesh": Format("MeSH XML, desc*.xml or supp*.xml", mesh.read_mesh, mesh.recognises),
    "mesh-table": Format("MeSH terms, TSV", mesh_table.read_mesh_table, mesh_table.recognises),
    "ctd": Format("CTD diseases or chemicals, CSV or TSV", ctd.read_ctd, ctd.recognises),
    "medic": Format("MEDIC diseases, | separated", medic.read_medic, medic.recognises),
    "gazetteer": Format("SPACCC gazetteer, TSV", gazetteer.read_gazetteer, gazetteer.recognises),
    "longbel": Format(
        "text_to_code.json of a checkpoint", longbel.read_longbel, longbel.recognises
    ),
    "ontology-json": Format(
        "ontology.json.gz of entitytools",
        ontology_json.read_ontology_json,
        ontology_json.recognises,
    ),
    "table": Format("your own TSV, CSV or JSON lines", table.read_table, table.recognises),
}


def infer_format(path: str | Path) -> str:
    """The name of a file's or directory's format, by its name or first line; ReadError if unknown.

    A directory is of a format that is one: ``umls`` or ``snomed``.
    """
    path = Path(path)
    first_line = "" if path.is_dir() else read_head(path)
    for name, candidate in FORMATS.items():
        if candidate.recognises(path, first_line):
            return name
    raise ReadError(f"The format of {path} is not known: name it, one of {', '.join(FORMATS)}.")


def read(
    path: str | Path,
    format: str | None = None,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    on_error: OnError = "raise",
    progress: bool = False,
    **options: Any,
) -> KnowledgeBaseBuilder:
    """Read a terminology into a builder.

    format: a name from ``FORMATS``; inferred from the path if None.
    name, release: override what the source says about itself.
    group: one semantic group for all concepts instead of the groups of the source.
    on_error: raise ReadError at the first damaged entry, or skip, log and count such entries
        (``builder.skipped``, ``builder.damage``).
    progress: show a bar, if the standard error is a terminal.
    options: what only this format takes; see its reader.
    """
    chosen = format or infer_format(path)
    if chosen not in FORMATS:
        raise ReadError(f"There is no format {chosen!r}: use one of {', '.join(FORMATS)}.")
    if unknown := options.keys() - FORMATS[chosen].options:
        known = ", ".join(sorted(FORMATS[chosen].options)) or "none"
        raise ReadError(
            f"The format {chosen} has no option {', '.join(sorted(unknown))}; its options: {known}."
        )
    return FORMATS[chosen].read(
        path,
        name=name,
        group=group,
        release=release,
        on_error=on_error,
        progress=progress,
        **options,
    )
