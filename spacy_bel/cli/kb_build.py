"""`bel kb build`: a terminology in any format becomes a knowledge base directory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from spacy_bel.cli.console import reports_errors, say

if TYPE_CHECKING:
    from spacy_bel.kb.builder import KnowledgeBaseBuilder
    from spacy_bel.kb.cleaning import NameChange

_SHOWN = 20

Force = Annotated[bool, typer.Option("--force", "-f", help="Replace the directory.")]
OnErrorOption = Annotated[
    str, typer.Option(help='"raise" at a damaged entry, or "skip", count and list such entries.')
]
ReportOption = Annotated[
    Path | None,
    typer.Option(help="TSV to write: every skipped entry and every name changed or dropped."),
]


@reports_errors
def build(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="Terminology file, .gz is fine, or directory."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")],
    format: Annotated[
        str | None,
        typer.Option(
            help="obo, umls, snomed, mesh, mesh-table, ctd, medic, gazetteer, table, "
            "ontology-json or longbel; else told from the source."
        ),
    ] = None,
    group: Annotated[str | None, typer.Option(help="One semantic group for all concepts.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the terminology.")] = None,
    release: Annotated[str | None, typer.Option(help="Which release it is.")] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="umls (ENG, SPA, …), snomed (en, es, …): the most wanted first."),
    ] = None,
    source_vocabulary: Annotated[
        list[str] | None, typer.Option("--sab", help="umls: names of these sources only.")
    ] = None,
    semantic_type: Annotated[
        list[str] | None,
        typer.Option(help="umls: concepts of these TUIs (T047), groups (DISO) or st21pv only."),
    ] = None,
    suppressible: Annotated[
        bool, typer.Option("--suppressible", help="umls: keep suppressible names, too.")
    ] = False,
    parents: Annotated[
        str | None, typer.Option(help="umls: broader concepts by rel (MRREL), hier or none.")
    ] = None,
    titles: Annotated[
        str | None, typer.Option(help="umls: preferred names as umls or as longbel.")
    ] = None,
    refset: Annotated[
        list[str] | None, typer.Option(help="snomed: language reference sets that count.")
    ] = None,
    trees: Annotated[
        Path | None, typer.Option(help="mesh-table: file of tree numbers, for the groups.")
    ] = None,
    supplement: Annotated[
        Path | None, typer.Option(help="mesh, mesh-table: file of supplementary records.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="table: what a column is called, as in name=Title; can be repeated."),
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="table: between cells.")] = None,
    separator: Annotated[
        str | None, typer.Option(help="table: between values in a cell, | unless given.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="table, gazetteer: UTF-8 unless given.")
    ] = None,
    clean: Annotated[
        list[str] | None,
        typer.Option(help="Clean names: nos, capitalise, brackets, lower, capitals; or longbel."),
    ] = None,
    disambiguate: Annotated[
        str | None, typer.Option(help="Resolve names that concepts share, as longbel or belink.")
    ] = None,
    on_error: OnErrorOption = "raise",
    report: ReportOption = None,
    force: Force = False,
) -> None:
    """Build a knowledge base directory from a terminology.

    Semantic groups come from the source: in an ontology they are its top branches, in UMLS the 15
    semantic groups. A mention is compared with the names of its group, so give --group where one
    group is all you need. Nothing is at the output until all is written.

    Your own spreadsheet: save it as CSV or TSV with the columns "code" and "name", and, if you have
    them, "synonyms" (separated by |), "group" and "definition".

    \b
    Examples:
      python -m spacy bel kb build hp.obo -o hpo
      python -m spacy bel kb build medic.txt.gz -o medic --format medic
      python -m spacy bel kb build 2023AA/META -o umls --semantic-type st21pv
      python -m spacy bel kb build 2023AA/META -o quaero --language FRE --language ENG
      python -m spacy bel kb build desc2024.xml -o mesh --supplement supp2024.xml
      python -m spacy bel kb build SnomedCT_Edition -o snomed --language es --language en
      python -m spacy bel kb build terms.csv -o mine --column name=Title --column code=Key
      python -m spacy bel kb build medic.txt.gz -o medic --disambiguate belink --report changes.tsv
    """
    from spacy_bel.cli.output import check_free
    from spacy_bel.kb.readers import read

    check_free(output, force)
    check_free(report, force)
    options: dict[str, Any] = {
        "languages": language,
        "sources": source_vocabulary,
        "semantic_types": semantic_type,
        "suppressible": suppressible or None,
        "parents": parents,
        "titles": titles,
        "refsets": refset,
        "trees": trees,
        "supplement": supplement,
        "columns": _columns(column),
        "delimiter": "\t" if delimiter == "\\t" else delimiter,
        "separator": separator,
        "encoding": encoding,
    }
    with quiet_damage():
        builder = read(
            source,
            format,
            name=name,
            group=group,
            release=release,
            on_error=checked(on_error),
            progress=True,
            **{option: value for option, value in options.items() if value is not None},
        )
    if builder.entries:
        say(f"Read {builder.entries:,} entries.")
    skipped = list(builder.damage)
    tell_skipped(builder)
    with _reported(report, skipped) as note:
        builder = _prepared(builder, clean or [], disambiguate, note)
        write(builder, output, force)


def write(builder: KnowledgeBaseBuilder, output: Path, force: bool) -> None:
    """Write a knowledge base and say what it holds."""
    from rich.console import Console

    with Console(stderr=True).status("Writing…"):
        kb = builder.write(output, force=force)
    retired = f", {kb.meta.retired:,} retired codes" if kb.meta.retired else ""
    say(f"Wrote {len(kb):,} concepts with {kb.n_names:,} names{retired} to {output}.")


def checked(on_error: str) -> Literal["raise", "skip"]:
    """The value of --on-error."""
    if on_error not in ("raise", "skip"):
        raise typer.BadParameter('choose "raise" or "skip"', param_hint="--on-error")
    return cast(Literal["raise", "skip"], on_error)


def tell_skipped(builder: KnowledgeBaseBuilder) -> None:
    """Count and list what a reader skipped."""
    if not builder.skipped:
        return
    say(f"{builder.skipped:,} damaged entries were skipped:", "yellow")
    for message in builder.damage[:_SHOWN]:
        say(f"  {message}")
    if builder.skipped > _SHOWN:
        say(f"  … and {builder.skipped - _SHOWN:,} more; --report lists them.")


@contextmanager
def quiet_damage() -> Iterator[None]:
    """Keep readers from logging what the command will list."""
    log = logging.getLogger("spacy_bel.kb.readers.damage")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _prepared(
    builder: KnowledgeBaseBuilder, rules: list[str], method: str | None, note: Any
) -> KnowledgeBaseBuilder:
    """The builder with names cleaned and disambiguated as asked for."""
    from spacy_bel.kb.cleaning import NameReport, clean_names
    from spacy_bel.kb.disambiguation import disambiguate

    account = NameReport(listen=note)
    if rules:
        builder, _ = clean_names(builder.build(), rules, account)
    if method:
        builder, _ = disambiguate(builder.build(), method, account)
    for rule, count in sorted(account.counts.items()):
        say(f"{count:,} names: {rule}")
    return builder


@contextmanager
def _reported(path: Path | None, skipped: Iterable[str]) -> Iterator[Any]:
    """A function that writes name changes to the report, None without one."""
    if path is None:
        yield None
        return
    from spacy_bel.cli.output import written_at_the_end

    with written_at_the_end(path) as stream:
        stream.write("what\tcode\tbefore\tafter\n")
        for message in skipped:
            stream.write(f"skipped\t\t{_cell(message)}\t\n")

        def note(change: NameChange) -> None:
            cells = (change.rule, change.code, change.before, change.after)
            stream.write("\t".join(map(_cell, cells)) + "\n")

        yield note


def _cell(text: str) -> str:
    return " ".join(text.split())


def _columns(pairs: list[str] | None) -> dict[str, str] | None:
    if pairs is None:
        return None
    columns = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(columns.values()):
        raise typer.BadParameter("write it as name=Title", param_hint="--column")
    return columns
