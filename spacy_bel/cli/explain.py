"""`bel explain`: which words of its prompt each generated name rests on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spacy_bel.cli.console import reports_errors, say, say_error
from spacy_bel.cli.corpus import FORMATS_HELP
from spacy_bel.errors import BelError, ModelError, ReadError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from spacy_bel.longbel.component import LongBELLinker
    from spacy_bel.longbel.saliency import Saliency


class SaliencyMethod(str, Enum):
    """Ways to tell what a name rests on."""

    gradient = "gradient"
    integrated_gradients = "integrated_gradients"


class SaliencyBaseline(str, Enum):
    """What integrated gradients compare a prompt with."""

    pad = "pad"
    zero = "zero"
    mean = "mean"


@reports_errors
def explain(
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
    mention: Annotated[
        list[str] | None, typer.Option("--mention", help="Explain only mentions of this text.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="HTML page to write; else coloured text."),
    ] = None,
    method: Annotated[
        SaliencyMethod, typer.Option(help="integrated_gradients needs the extra 'saliency'.")
    ] = SaliencyMethod.gradient,
    steps: Annotated[int, typer.Option(min=1, help="Steps of integrated gradients.")] = 20,
    baseline: Annotated[
        SaliencyBaseline, typer.Option(help="Where integrated gradients begin.")
    ] = SaliencyBaseline.pad,
    format: Annotated[
        str, typer.Option("--format", "--from", help=f"Format of INPUT: auto, {FORMATS_HELP}")
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace existing output.")] = False,
) -> None:
    """Show which words of its prompt each generated name rests on.

    INPUT is read as by `bel link`. The pipeline needs a `longbel_linker`. Without --output the
    prompts are printed in 24-bit colours, from white to red. A document that fails is reported, the
    others go on, and the exit code is 1.

    \b
    Examples:
      python -m spacy bel explain note.txt
      python -m spacy bel explain note.txt -p my_pipeline --mention fits -o page.html
    """
    from spacy_bel.cli.output import check_free, written_at_the_end
    from spacy_bel.cli.pipeline import load_pipeline
    from spacy_bel.visual.saliency import saliency_ansi, saliency_html

    if input != "-" and not Path(input).exists():
        raise ReadError(f"{input} does not exist: give a file, a directory or '-'.")
    check_free(output, force)
    nlp = load_pipeline(pipeline, None)
    linker = _generative(nlp)
    settings = {"method": method.value, "steps": steps, "baseline": baseline.value}
    wanted = {text.casefold() for text in mention or ()}
    failures: list[str] = []
    found = _explained(nlp, linker, input, format, wanted, settings, failures)
    if output:
        with written_at_the_end(output) as page:
            page.write(saliency_html(found))
    else:
        for saliency in found:
            sys.stdout.write(saliency_ansi(saliency) + "\n\n")
    if failures:
        say_error(f"{len(failures)} failed; see above.")
        raise typer.Exit(1)


def _generative(nlp: Language) -> LongBELLinker:
    from spacy_bel.cli.pipeline import linkers
    from spacy_bel.longbel.component import LongBELLinker

    found = [linker for linker in linkers(nlp) if isinstance(linker, LongBELLinker)]
    if not found:
        raise ModelError(
            "The pipeline generates no names, so there is nothing to explain: give one with a "
            "longbel_linker."
        )
    return found[-1]


def _explained(
    nlp: Language,
    linker: LongBELLinker,
    input: str,
    format: str,
    wanted: set[str],
    settings: Mapping[str, object],
    failures: list[str],
) -> Iterator[Saliency]:
    """Saliencies of the wanted mentions; what fails is reported and noted."""
    from spacy_bel.cli.pipeline import link_records
    from spacy_bel.corpora.reading import read_documents
    from spacy_bel.longbel.saliency.documents import explain

    def fail(message: str) -> None:
        failures.append(message)
        say_error(message)

    kind = None if format == "auto" else format
    records = read_documents(input, kind, on_error=lambda error: fail(str(error)))
    linked = link_records(
        nlp,
        records,
        batch_size=1,
        on_failure=lambda document, error: fail(f"Document {document} was not linked: {error}"),
    )
    mentions = 0
    for record, doc in linked:
        chosen = _chosen(linker, doc, wanted) if wanted else None
        try:
            for saliency in explain(linker, doc, mentions=chosen, **settings):  # type: ignore[arg-type]
                mentions += 1
                yield saliency
        except (BelError, ValueError) as error:
            fail(f"Document {record.id} was not explained: {error}")
    say(f"Explained {mentions} mentions.")


def _chosen(linker: LongBELLinker, doc: Doc, wanted: set[str]) -> list[int]:
    from spacy_bel.mentions import mention_spans

    spans = mention_spans(doc, linker.spans_key)
    return [index for index, span in enumerate(spans) if span.text.casefold() in wanted]
