"""Candidates as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from spacy.tokens import Doc

from spacy_bel.candidates import get_candidates


def candidates_table(docs: Doc | Iterable[Doc], top: int = 3, *, title: str = "") -> Table:
    """A rich table with one row per mention: its text, its group and its best candidates.

    docs: linked documents; their mentions are read from `doc.ents`.
    top: number of candidates shown, each as code, name and score.
    """
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("Mention", overflow="fold", style="bold")
    table.add_column("Group", overflow="fold")
    for rank in range(1, top + 1):
        table.add_column(f"{rank}", overflow="fold", ratio=1)
    for doc in [docs] if isinstance(docs, Doc) else docs:
        for mention in doc.ents:
            cells = [
                Text.assemble((c.code, "cyan"), f" {c.name} ", (f"{c.score:.3f}", "dim"))
                for c in get_candidates(mention)[:top]
            ]
            # Text, not str: square brackets in a name are no rich markup.
            table.add_row(Text(mention.text), Text(mention.label_), *cells)
    return table
