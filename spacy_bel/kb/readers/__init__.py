"""Readers of terminology files. A format is one module and one line of ``FORMATS``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spacy_bel.errors import ReadError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers import medic, obo
from spacy_bel.kb.readers.damage import OnError
from spacy_bel.kb.readers.lines import read_lines


@dataclass(frozen=True, slots=True)
class Format:
    """A terminology format.

    description: one line for people.
    read: reader; takes a path and the keyword arguments of ``read`` below.
    recognises: whether a file with this path and first line is of this format.
    """

    description: str
    read: Callable[..., KnowledgeBaseBuilder]
    recognises: Callable[[Path, str], bool]


FORMATS: dict[str, Format] = {
    "obo": Format("ontology in OBO format 1.2 or 1.4", obo.read_obo, obo.recognises),
    "medic": Format("MEDIC diseases, | separated", medic.read_medic, medic.recognises),
}


def infer_format(path: str | Path) -> str:
    """The name of a file's format, by its suffix or first line. Raises ReadError if unknown."""
    path = Path(path)
    _, first_line = next(read_lines(path), (0, ""))
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
) -> KnowledgeBaseBuilder:
    """Read a terminology file into a builder.

    format: a name from ``FORMATS``; inferred from the file if None.
    name, release: override what the file says about itself.
    group: one semantic group for all concepts instead of the groups of the file.
    on_error: raise ReadError at the first damaged entry, or skip, log and count such entries
        (``builder.skipped``).
    progress: show a bar, if the standard error is a terminal.
    """
    chosen = format or infer_format(path)
    if chosen not in FORMATS:
        raise ReadError(f"There is no format {chosen!r}: use one of {', '.join(FORMATS)}.")
    return FORMATS[chosen].read(
        path, name=name, group=group, release=release, on_error=on_error, progress=progress
    )
