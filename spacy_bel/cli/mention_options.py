"""Options of commands that search a knowledge base for the gold mentions of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase


class Unmapped(str, Enum):
    """What to do with mentions whose label is no semantic group."""

    error = "error"
    all = "all"
    skip = "skip"


KB = Annotated[str, typer.Option(metavar="DIR", help='Knowledge base to search, or "default".')]
TrainingMentions = Annotated[
    list[str] | None,
    typer.Option(metavar="CORPUS", help="Training corpus whose mentions are added to the names."),
]
Abbreviations = Annotated[
    bool, typer.Option(help="Search for long forms that the document defines.")
]
Composites = Annotated[bool, typer.Option(help="Search for the parts of composite mentions.")]
Labels = Annotated[
    list[str] | None, typer.Option(help="Only mentions with this label; may be repeated.")
]
LabelGroups = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL=GROUP", help="Semantic group of a label; may be repeated."),
]
UnmappedLabels = Annotated[
    Unmapped, typer.Option(help="For labels that are no group: stop, search all, leave out.")
]
CorpusFormat = Annotated[
    str | None, typer.Option(help="Format of the corpora; else told from each.")
]


def parse_label_groups(pairs: Sequence[str] | None) -> dict[str, list[str]]:
    """Groups of labels from "Label=Group"; raises typer.BadParameter for anything else."""
    groups: dict[str, list[str]] = {}
    for pair in pairs or ():
        label, equals, group = pair.partition("=")
        if not (label and equals and group):
            raise typer.BadParameter("write it as Label=Group", param_hint="--label-groups")
        groups.setdefault(label.strip(), []).append(group.strip())
    return groups


def open_searched(
    kb: str, mentions: Sequence[str] | None, format: str | None, labels: Sequence[str] | None
) -> KnowledgeBase:
    """The knowledge base of an option, with the mentions of training corpora added to its names."""
    from spacy_bel.cli.kb import open_kb

    opened = open_kb(kb)
    if not mentions:
        return opened
    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.corpora.training_mentions import add_training_mentions

    documents = read_corpora(mentions, format, labels, "Adding training mentions")
    return add_training_mentions(opened, documents)
