"""`bel link`: documents in, one JSON object per document out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from spacy_bel.cli.console import reports_errors, say, say_error
from spacy_bel.cli.corpus import FORMATS_HELP
from spacy_bel.errors import ReadError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from spacy_bel.corpora.document import CorpusDocument


class OutputFormat(str, Enum):
    """Formats of links."""

    jsonl = "jsonl"
    bioc = "bioc"


@reports_errors
def link(
    input: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help='File, directory of files, or "-" for standard input. .gz is fine.',
        ),
    ],
    pipeline: Annotated[
        str | None,
        typer.Option("--pipeline", "-p", help="Pipeline directory or package; else the default."),
    ] = None,
    kb: Annotated[
        Path | None, typer.Option(help="Link to this knowledge base instead of the pipeline's.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; else standard output.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page to look at.")] = None,
    format: Annotated[
        str, typer.Option("--format", "--from", help=f"Format of INPUT: auto, {FORMATS_HELP}")
    ] = "auto",
    to: Annotated[OutputFormat, typer.Option(help="Format of the links.")] = OutputFormat.jsonl,
    top: Annotated[int, typer.Option(min=1, help="Candidates to write per mention, at most.")] = 5,
    batch_size: Annotated[int, typer.Option(min=1, help="Documents read ahead.")] = 64,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace existing output.")] = False,
) -> None:
    """Link the mentions of documents to concepts.

    INPUT holds plain text (one document a file), JSON lines with "id" and "text", or a corpus in
    any format that `bel corpus` reads. Mentions that it marks are used as they are; in documents
    without any, the pipeline looks for mentions. One JSON object is written per document, in order:

    \b
      {"id", "text", "mentions": [{"start", "end", "text", "label", "code",
                                   "candidates": [{"code", "name", "score"}]}]}

    With --to bioc the links are written as BioC XML: the infon "all_links" of each annotation holds
    code=score|code=score, best first. Other keys of JSON input are kept. A document that fails is
    reported, the others go on, and the exit code is 1. What an aborted run has finished stays in
    OUTPUT.part.

    \b
    Examples:
      python -m spacy bel link note.txt --html note.html
      python -m spacy bel link notes/ -o links.jsonl
      zcat notes.jsonl.gz | python -m spacy bel link - --top 1 > links.jsonl
      python -m spacy bel link abstracts.pubtator -p my_pipeline --kb my_kb -o links.jsonl
      python -m spacy bel link QUAERO/dev/EMEA -p my_pipeline --to bioc -o links.xml
    """
    from spacy_bel.cli.output import check_free, written_at_the_end
    from spacy_bel.cli.pipeline import load_pipeline

    if input != "-" and not Path(input).exists():
        raise ReadError(f"{input} does not exist: give a file, a directory or '-'.")
    check_free(output, force)
    check_free(html, force)
    nlp = load_pipeline(pipeline, kb)
    with ExitStack() as files:
        stream = files.enter_context(written_at_the_end(output)) if output else _standard_output()
        page = files.enter_context(written_at_the_end(html)) if html else None
        failures = _link(nlp, input, format, to, top, batch_size, stream, page)
    if failures:
        raise typer.Exit(1)


def _link(
    nlp: Language,
    input: str,
    format: str,
    to: OutputFormat,
    top: int,
    batch_size: int,
    stream: IO[str],
    page: IO[str] | None,
) -> int:
    """Write links and, where asked for, as a page; gives the number of failures."""
    from tqdm import tqdm

    from spacy_bel.cli.output import to_linked, to_record
    from spacy_bel.cli.pipeline import link_records, linkers, mention_key
    from spacy_bel.corpora.bioc_writer import write_bioc
    from spacy_bel.corpora.reading import read_documents
    from spacy_bel.mentions import mention_spans
    from spacy_bel.visual.links import LinksPage

    failures = 0

    def fail(message: str) -> None:
        nonlocal failures
        failures += 1
        with tqdm.external_write_mode(file=sys.stderr):
            say_error(message)

    started = time.perf_counter()
    records = read_documents(
        input,
        None if format == "auto" else format,
        on_error=lambda error: fail(str(error)),
    )
    linked = link_records(
        nlp,
        records,
        batch_size=batch_size,
        on_failure=lambda document, error: fail(
            f"Document {document} was not linked ({type(error).__name__}): {error}"
        ),
    )
    pieces = LinksPage(kb=linkers(nlp)[-1].kb, top=top)
    if page:
        page.write(pieces.header)
    documents = mentions = 0

    def results() -> Iterator[tuple[CorpusDocument, Doc, str | None]]:
        nonlocal documents, mentions
        # disable=None: no bar where standard error is no terminal.
        for record, doc in tqdm(linked, "Linking", unit="doc", disable=None):
            key = mention_key(nlp, record)
            yield record, doc, key
            if page:
                page.write(pieces.section(doc))
            documents, mentions = documents + 1, mentions + len(mention_spans(doc, key))

    if to is OutputFormat.bioc:
        write_bioc((to_linked(*result, top) for result in results()), stream)
    else:
        for result in results():
            stream.write(json.dumps(to_record(*result, top), ensure_ascii=False) + "\n")
            stream.flush()
    if page:
        page.write(pieces.footer)
    seconds = time.perf_counter() - started
    say(f"Linked {mentions} mentions in {documents} documents in {seconds:.1f} s.")
    if failures:
        say_error(f"{failures} failed; see above.")
    return failures


def _standard_output() -> IO[str]:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(encoding="utf-8", errors="backslashreplace")
    return sys.stdout
