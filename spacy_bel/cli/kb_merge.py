"""`bel kb merge`: translations, synonyms or another terminology into a knowledge base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spacy_bel.cli.console import reports_errors, say
from spacy_bel.cli.kb import Directory, open_kb
from spacy_bel.cli.kb_build import Force, OnErrorOption, checked, quiet_damage, tell_skipped, write

if TYPE_CHECKING:
    from spacy_bel.kb.builder import KnowledgeBaseBuilder
    from spacy_bel.kb.concept import Concept

_BABELON = "babelon"
_SHOWN = 10


@reports_errors
def merge(
    directory: Directory,
    extra: Annotated[
        list[Path],
        typer.Argument(
            metavar="NAMES...",
            help="Files of names, terminologies in any format, or knowledge base directories.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")],
    format: Annotated[
        str | None,
        typer.Option(help="babelon (translations), or a format of kb build; else told from each."),
    ] = None,
    prefer: Annotated[
        bool, typer.Option("--prefer", help="Make the added names the preferred ones.")
    ] = False,
    new_concepts: Annotated[
        bool, typer.Option("--new-concepts", help="Add concepts that are not there yet.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="What to call the result.")] = None,
    on_error: OnErrorOption = "raise",
    force: Force = False,
) -> None:
    """Add names to the concepts of a knowledge base, told by their codes.

    Names in a table need the columns "code" and "name"; translations of ontologies come as babelon
    tables (subject_id, translation_value). Codes that are not there are counted and left out, or
    added with --new-concepts. The result is a new directory.

    \b
    Examples:
      python -m spacy bel kb merge default hp-es.babelon.tsv hp-fr.babelon.tsv -o hpo-es-fr
      python -m spacy bel kb merge default hp-es.babelon.tsv -o hpo-es --prefer
      python -m spacy bel kb merge hpo abbreviations.csv -o hpo-extended
      python -m spacy bel kb merge mesh medic.txt.gz -o diseases --new-concepts
    """
    from spacy_bel.cli.output import check_free
    from spacy_bel.kb.builder import KnowledgeBaseBuilder
    from spacy_bel.kb.merging import merge as merge_into

    check_free(output, force)
    kb = open_kb(directory)
    account = KnowledgeBaseBuilder("names")
    with quiet_damage():
        concepts = [
            c for path in extra for c in _concepts(path, format, checked(on_error), account)
        ]
    builder, report = merge_into(kb, concepts, prefer=prefer, new_concepts=new_concepts, name=name)
    tell_skipped(account)
    say(
        f"{report.names:,} names added to {report.concepts:,} concepts; "
        f"{report.present:,} were there already; {report.new:,} concepts added."
    )
    if report.unknown:
        some = ", ".join(report.unknown[:_SHOWN])
        say(f"{len(report.unknown):,} codes are not in {kb.meta.name}: {some}, …", "yellow")
    write(builder, output, force)


def _concepts(
    path: Path,
    format: str | None,
    on_error: Literal["raise", "skip"],
    account: KnowledgeBaseBuilder,
) -> Iterator[Concept]:
    from spacy_bel.kb.knowledge_base import KnowledgeBase
    from spacy_bel.kb.readers import read
    from spacy_bel.kb.readers.babelon import read_babelon, recognises
    from spacy_bel.kb.readers.lines import read_head
    from spacy_bel.kb.storage import META

    if (path / META).is_file():
        kb = KnowledgeBase.from_disk(path)
        yield from (kb[code] for code in kb)
    elif format == _BABELON or (
        format is None and not path.is_dir() and recognises(path, read_head(path))
    ):
        yield from read_babelon(path, on_error=on_error, progress=True, report=account)
    else:
        builder = read(path, format, on_error=on_error, progress=True)
        account.skipped += builder.skipped
        account.damage.extend(builder.damage)
        kb = builder.build()
        yield from (kb[code] for code in kb)
