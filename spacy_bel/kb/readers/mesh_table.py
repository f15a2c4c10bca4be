"""MeSH headings as a table of terms, one row per term, with the columns of the descriptor XML.

The tree (``mtrees….bin``) and names of supplementary records are files of their own.
"""

from __future__ import annotations

from pathlib import Path

from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.readers.damage import Intake, OnError
from spacy_bel.kb.readers.entries import Entries
from spacy_bel.kb.readers.lines import read_lines
from spacy_bel.kb.readers.mesh_categories import CATEGORIES, UNCLASSED, categories, parent_number
from spacy_bel.kb.readers.rows import named_rows, require, split_rows

_COLUMNS = (
    *("DescriptorUI", "TermName", "ConceptPreferredTermYN"),
    *("IsPermutedTermYN", "RecordPreferredTermYN"),
)
# What a supplementary record is, told by the terminology that its name is mapped to.
_MAPPED_GROUPS = {
    **dict.fromkeys(("CHEBI", "PUBCHEM", "UP", "NCIT"), CATEGORIES["D"]),
    **dict.fromkeys(("DOID", "EFO", "HP"), CATEGORIES["C"]),
    **dict.fromkeys(("UBERON", "CL"), CATEGORIES["A"]),
}


def read_mesh_table(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    trees: str | Path | None = None,
    supplement: str | Path | None = None,
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read MeSH headings; a row is a term of a heading, and ``builder.entries`` counts rows.

    The preferred name is the term marked ``RecordPreferredTermYN``, then come the preferred terms
    of the heading's concepts, other terms and permuted terms. ``MESH:D…`` resolves, too.

    trees: file of ``heading;tree number`` lines (``mtrees….bin`` of MeSH); groups are the
        categories of the tree then, "MeSH" without.
    supplement: file of ``MESH, id, name, system, identifier, …`` tab-separated rows without header:
        names of supplementary records and cross-references, of headings also.
    """
    path = Path(path)
    builder = KnowledgeBaseBuilder(
        name or "MeSH",
        source=path.name,
        release=release or "",
        licence="U.S. National Library of Medicine, public data",
    )
    intake = Intake(builder, path, on_error)
    entries, headings = Entries(), {}
    rows = split_rows(read_lines(path, progress=progress), "\t", intake)
    line, header = next(rows, (1, []))
    require(intake, header, _COLUMNS, line)
    for line, row in named_rows(rows, header, intake):
        builder.entries += 1
        code, term = row["DescriptorUI"], row["TermName"]
        if not code or not term:
            intake.damaged(line, "the row has no DescriptorUI or no TermName; complete it.")
            continue
        if row["RecordPreferredTermYN"] == "Y":
            rank = 0
            headings[term] = code
        else:
            rank = 3 if row["IsPermutedTermYN"] == "Y" else 2 - (row[_COLUMNS[2]] == "Y")
        entry = entries.at(code, line)
        entry.names.append((rank, term))
        if not entry.alternatives:
            entry.alternatives.append(f"MESH:{code}")
    if trees is not None:
        _read_trees(Path(trees), builder, entries, headings, on_error)
    if supplement is not None:
        _read_supplement(Path(supplement), builder, entries, on_error)
    entries.add_to(intake, group=group, fallback=UNCLASSED)
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file looks like such a table."""
    return set(_COLUMNS) <= set(first_line.split("\t"))


def _read_trees(
    path: Path,
    builder: KnowledgeBaseBuilder,
    entries: Entries,
    headings: dict[str, str],
    on_error: OnError,
) -> None:
    intake = Intake(builder, path, on_error)
    numbers: dict[str, list[str]] = {}
    holders: dict[str, str] = {}
    for line, text in read_lines(path):
        heading, separator, number = text.rpartition(";")
        if not text.strip():
            continue
        if not separator or heading not in headings:
            intake.damaged(
                line, f"{text[:80]!r} is no heading of the table and its tree number; mend it."
            )
            continue
        numbers.setdefault(headings[heading], []).append(number)
        holders[number] = headings[heading]
    for code, places in numbers.items():
        entries[code].groups = categories(places)
        above = (holders.get(parent_number(number)) for number in places)
        entries[code].parents = [parent for parent in above if parent]


def _read_supplement(
    path: Path, builder: KnowledgeBaseBuilder, entries: Entries, on_error: OnError
) -> None:
    intake = Intake(builder, path, on_error)
    for line, cells in split_rows(read_lines(path), "\t", intake):
        if len(cells) < 5 or cells[0] != "MESH" or not cells[1]:
            intake.damaged(line, "not 'MESH', id, name, system and identifier; mend the row.")
            continue
        code, term, system, identifier = cells[1:5]
        supplementary = code not in entries
        entry = entries.at(code, line)
        if supplementary:
            entry.alternatives.append(f"MESH:{code}")
            entry.groups.append(_MAPPED_GROUPS.get(system, "Supplementary Concepts"))
        entry.names.append((2, term))
        prefixed = identifier if identifier.startswith(f"{system}:") else f"{system}:{identifier}"
        entry.cross_references.append(prefixed)
