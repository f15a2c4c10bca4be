"""`bel kb add-mentions`: mentions of training documents as names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spacy_bel.cli.console import reports_errors, say
from spacy_bel.cli.kb import Directory, open_kb
from spacy_bel.cli.kb_build import Force


@reports_errors
def add_mentions(
    directory: Directory,
    corpora: Annotated[
        list[str],
        typer.Argument(metavar="CORPUS...", help="Training corpora: files or directories."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")],
    format: Annotated[
        str | None, typer.Option(help="Format of the corpora; else told from each.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Only mentions with this label; may be repeated."),
    ] = None,
    force: Force = False,
) -> None:
    """Add the mentions of training documents as names of the concepts they stand for.

    What annotators have linked before is then found again, and of concepts with equally similar
    names the one that is mentioned more often comes first. The result is a new directory whose name
    ends in "+ training mentions", for its results are not those of the terminology alone. Give
    training documents only, never those that you evaluate on.

    \b
    Examples:
      python -m spacy bel kb add-mentions medic NCBItrainset_corpus.txt -o medic-train
      python -m spacy bel kb add-mentions mesh train.txt dev.txt -o mesh-final --label Chemical
    """
    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.cli.output import check_free
    from spacy_bel.corpora.training_mentions import TrainingMentionsReport, add_training_mentions

    check_free(output, force)
    kb = open_kb(directory)
    report = TrainingMentionsReport()
    extended = add_training_mentions(kb, read_corpora(corpora, format, label), report=report)
    extended.to_disk(output, force=force)
    say(
        f"{report.names:,} names added to {report.concepts:,} concepts from {report.mentions:,} "
        f"mentions in {report.documents:,} documents; {report.present:,} were there already."
    )
    left_out = {
        "without code": report.nil,
        f"with codes that {kb.meta.name} does not know": report.unknown,
        "discontinuous": report.discontinuous,
    }
    for what, count in left_out.items():
        if count:
            say(f"Left out: {count:,} mentions {what}.", "yellow")
    say(f"Wrote {extended.meta.name} to {output}.")
