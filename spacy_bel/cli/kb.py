"""`bel kb info`, `bel kb search`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from spacy_bel.cli.console import reports_errors, say

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase

DEFAULT = "default"
Directory = Annotated[
    str,
    typer.Argument(
        metavar="DIR", help='Knowledge base directory, or "default" for the one that comes along.'
    ),
]


@reports_errors
def info(
    directory: Directory,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a knowledge base is and holds.

    \b
    Examples:
      python -m spacy bel kb info default
      python -m spacy bel kb info hpo --json
    """
    meta = asdict(open_kb(directory).meta)
    if as_json:
        typer.echo(
            json.dumps({**meta, "groups": dict(meta["groups"])}, ensure_ascii=False, indent=2)
        )
        return
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in meta.items():
        if key == "groups":
            value = "\n".join(f"{group}: {count:,}" for group, count in sorted(value.items()))
        table.add_row(
            key.replace("_", " "), Text(f"{value:,}" if isinstance(value, int) else str(value))
        )
    Console().print(table)


@reports_errors
def search(
    directory: Directory,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Name, part of a name, or code.")],
    top: Annotated[int, typer.Option(min=1, help="Concepts to show.")] = 10,
    group: Annotated[str | None, typer.Option(help="Look in this semantic group only.")] = None,
) -> None:
    """Find concepts by name or code: the exact ones first, then similar names.

    \b
    Examples:
      python -m spacy bel kb search default "absence fits"
      python -m spacy bel kb search hpo HP:0001250
      python -m spacy bel kb search hpo recessive --group "Mode of inheritance"
    """
    kb = open_kb(directory)
    table = Table("Code", "Name", "Matched name", "Groups", "Score")
    for code, name, score in _search(kb, text, top, group):
        concept = kb[code]
        cells = (code, concept.names[0], name, ", ".join(concept.groups), f"{score:.3f}")
        table.add_row(*map(Text, cells))
    if table.row_count:
        Console().print(table)
    else:
        say(f"No name is similar to {text!r}.")


def open_kb(directory: str) -> KnowledgeBase:
    """The knowledge base in a directory, or the default one."""
    from spacy_bel.kb import KnowledgeBase, load_default_kb

    return load_default_kb() if directory == DEFAULT else KnowledgeBase.from_disk(directory)


def _search(
    kb: KnowledgeBase, text: str, top: int, group: str | None
) -> list[tuple[str, str, float]]:
    from spacy_bel.retriever.ngrams import NgramIndex

    mask = None if group is None else kb.group_mask([group])
    rows = [(code, text, 1.0) for code in [kb.resolve(text), *kb.find(text)] if code]
    if mask is not None:
        rows = [row for row in rows if (kb.concept_group_masks[kb.concept_id(row[0])] & mask).any()]
    rows += NgramIndex(kb).search([text], None if mask is None else mask[None], top)[0]
    first: dict[str, tuple[str, str, float]] = {}
    for row in rows:
        first.setdefault(row[0], row)
    return list(first.values())[:top]
