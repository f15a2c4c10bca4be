"""``text_to_code.json`` of LongBEL and SynCABEL checkpoints: ``{group: {name: code}}``."""

from __future__ import annotations

from pathlib import Path

from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.entries import Entries
from spacy_bel.kb.readers.json_stream import nested_strings


def read_longbel(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read the names that a checkpoint can generate; ``builder.entries`` counts names.

    The file does not say which name is preferred: it is the first that a code has in it. Names of a
    code in several groups are names of one concept in all of them.
    """
    path = Path(path)
    builder = KnowledgeBaseBuilder(
        name or path.name.split(".")[0], source=path.name, release=release or ""
    )
    intake = Intake(builder, path, on_error)
    entries = Entries()
    for line, kind, text, code in nested_strings(path, progress=progress):
        builder.entries += 1
        if not isinstance(code, str) or not code.strip() or not text.strip():
            intake.damaged(line, f"the name {text[:60]!r} has no code as text; give it one.")
            continue
        entry = entries.at(code, line)
        entry.names.append((0, text))
        if kind not in entry.groups:
            entry.groups.append(kind)
    entries.add_to(intake, group=group, fallback="Unknown")
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file is such a table, by its name."""
    return path.name.startswith("text_to_code.json")
