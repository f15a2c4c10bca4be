"""`bel corpus convert`, `bel corpus info`, `bel corpus check`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spacy_bel.cli.console import reports_errors, say
from spacy_bel.errors import ReadError

if TYPE_CHECKING:
    from spacy_bel.corpora.document import CorpusDocument

FORMATS_HELP = (
    "pubtator, bioc, brat, spaccc, bigbio, knowtator, docbin, jsonl or text; else told from the "
    "files."
)
Input = Annotated[
    str,
    typer.Argument(metavar="IN", help='File, directory, or "-" for standard input. .gz is fine.'),
]
From = Annotated[str | None, typer.Option("--from", help=FORMATS_HELP)]
Ids = Annotated[
    Path | None, typer.Option(help="File of document ids, one a line: only these are read.")
]
CodeColumn = Annotated[
    str | None, typer.Option(help="Column of gold codes, with spaccc (hpo_code, …).")
]
OnError = Annotated[
    str, typer.Option(help='"raise" at what cannot be read, or "skip", count and list it.')
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SHOWN = 10


@reports_errors
def convert(
    input: Input,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    to: Annotated[str, typer.Option(help="docbin, bioc or bigbio.")],
    format: From = None,
    ids: Ids = None,
    code_column: CodeColumn = None,
    lang: Annotated[
        str, typer.Option(help="Language whose rules tokenise the texts of a DocBin.")
    ] = "en",
    on_error: OnError = "raise",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace OUT.")] = False,
) -> None:
    """Convert a corpus to spaCy's DocBin, BioC XML or BigBio-KB JSON lines.

    Every mention and every code comes along, also those that an evaluation leaves out. A DocBin is
    what `spacy train` reads; mentions are doc.spans["mentions"] and, where they do not overlap, the
    entities, with gold codes as kb_id.

    \b
    Examples:
      python -m spacy bel corpus convert NCBItrainset_corpus.txt train.spacy --to docbin
      python -m spacy bel corpus convert corpus_pubtator.txt.gz test.xml --to bioc \\
          --ids corpus_pubtator_pmids_test.txt
      python -m spacy bel corpus convert QUAERO/train/EMEA emea.spacy --to docbin --lang fr
      python -m spacy bel corpus convert distemist/ hpo.jsonl --to bigbio --code-column hpo_code
    """
    from spacy_bel.cli.output import check_free, written_at_the_end
    from spacy_bel.corpora.report import CorpusInfo
    from spacy_bel.corpora.writing import WRITERS, write_documents

    if to not in WRITERS:
        raise typer.BadParameter(f"choose one of {', '.join(WRITERS)}", param_hint="--to")
    check_free(output, force)
    documents = _Documents(input, format, ids, code_column, on_error)
    counts = CorpusInfo()
    with written_at_the_end(output, binary=True) as stream:
        write_documents(_counted(documents, counts), stream, to, blank_pipeline(lang))
    documents.list_skipped()
    say(f"Wrote {counts.mentions:,} mentions in {counts.documents:,} documents to {output}.")


@reports_errors
def info(
    input: Input,
    format: From = None,
    ids: Ids = None,
    code_column: CodeColumn = None,
    on_error: OnError = "raise",
    as_json: AsJson = False,
) -> None:
    """Count what a corpus holds: documents, mentions, codes, types and special cases.

    \b
    Examples:
      python -m spacy bel corpus info NCBItestset_corpus.txt
      python -m spacy bel corpus info craft/UBERON --json
    """
    from spacy_bel.corpora.report import CorpusInfo

    documents, counts = _Documents(input, format, ids, code_column, on_error), CorpusInfo()
    for document in documents:
        counts.add(document)
    documents.list_skipped()
    _show({**counts.as_dict(), "skipped": len(documents.skipped)}, as_json)


@reports_errors
def check(
    input: Input,
    kb: Annotated[
        list[str], typer.Option(help='Knowledge base directory or "default"; may be repeated.')
    ],
    format: From = None,
    ids: Ids = None,
    code_column: CodeColumn = None,
    on_error: OnError = "raise",
    as_json: AsJson = False,
) -> None:
    """Check a corpus against knowledge bases before you train or evaluate on it.

    Coverage: gold mentions whose codes the knowledge bases have; no linker gets the others right.
    Offset errors: mentions whose offsets give another text. Recurrence: mentions for each concept
    of a document. Names: how many concepts have the mention itself as a name.

    \b
    Examples:
      python -m spacy bel corpus check NCBItestset_corpus.txt --kb medic
      python -m spacy bel corpus check CDR_TestSet.BioC.xml --kb mesh --kb medic --json
    """
    from spacy_bel.cli.kb import open_kb
    from spacy_bel.corpora.report import CorpusCheck

    result = CorpusCheck([open_kb(directory) for directory in kb])
    documents = _Documents(input, format, ids, code_column, on_error)
    for document in documents:
        result.add(document)
    documents.list_skipped()
    _show({**result.as_dict(), "skipped": len(documents.skipped)}, as_json)


class _Documents:
    """Documents of a corpus, with a progress bar, and what of it could not be read."""

    def __init__(
        self,
        input: str,
        format: str | None,
        ids: Path | None,
        code_column: str | None,
        on_error: str,
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise typer.BadParameter('choose "raise" or "skip"', param_hint="--on-error")
        if code_column and format is None:
            format = "spaccc"
        if code_column and format != "spaccc":
            raise typer.BadParameter("only spaccc has columns", param_hint="--code-column")
        self.skipped: list[ReadError] = []
        self._input, self._format, self._ids = input, format, ids
        self._options = {"code_column": code_column} if code_column else {}
        self._on_error = self.skipped.append if on_error == "skip" else None

    def __iter__(self) -> Iterator[CorpusDocument]:
        from tqdm import tqdm

        from spacy_bel.corpora.reading import read_documents

        documents = read_documents(
            self._input, self._format, ids=self._ids, on_error=self._on_error, **self._options
        )
        # disable=None: no bar where standard error is no terminal.
        yield from tqdm(documents, "Reading", unit="doc", disable=None)

    def list_skipped(self) -> None:
        for error in self.skipped:
            say(f"Skipped: {error}", "yellow")
        if self.skipped:
            say(f"{len(self.skipped)} skipped; see above.", "yellow")


def _counted(documents: _Documents, counts: Any) -> Iterator[CorpusDocument]:
    for document in documents:
        counts.add(document)
        yield document


def blank_pipeline(lang: str) -> Any:
    """spaCy's rules for a language; raises typer.BadParameter where it has none."""
    import spacy

    try:
        return spacy.blank(lang)
    except ImportError as error:
        raise typer.BadParameter(f"spaCy has no language {lang!r}", param_hint="--lang") from error


def _show(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(key.replace("_", " "), Text(_cell(value)))
    Console().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        lines = [f"{key or '(none)'}: {count:,}" for key, count in value.items()]
    elif isinstance(value, list):
        lines = [
            f"{row['document']} {row['start']}-{row['end']}: {row['found']!r}, not {row['text']!r}"
            for row in value
        ]
    else:
        return "none" if value is None else f"{value:,}"
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"… {len(lines) - SHOWN:,} more; --json shows all"]
    return "\n".join(lines) or "none"
