"""`bel calibrate`: scores that are probabilities, fitted on a development corpus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spacy_bel.cli.console import reports_errors, say
from spacy_bel.cli.mention_options import CorpusFormat

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.training import Example

    from spacy_bel.longbel.component import LongBELLinker
    from spacy_bel.reranking_pipe import RerankingPipe

    Calibrated = RerankingPipe | LongBELLinker


@reports_errors
def calibrate(
    pipeline: Annotated[
        str,
        typer.Argument(metavar="PIPELINE", help="Pipeline with a trained component; a directory."),
    ],
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Development corpus with gold codes.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where to write it; else PIPELINE."),
    ] = None,
    component: Annotated[
        str | None, typer.Option(metavar="NAME", help="Component, if there are several.")
    ] = None,
    retriever_scores: Annotated[
        bool, typer.Option(help="Let the retriever's scores count, too.")
    ] = True,
    code: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Python file with functions of PIPELINE.")
    ] = None,
    format: CorpusFormat = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace DIR.")] = False,
) -> None:
    """Make the scores of bel_crossencoder, bel_setwise or longbel_linker probabilities.

    What is fitted is printed with recall@1 and the expected calibration error (ECE, 10 bins) of
    the first candidate, before and after; mentions of several concepts are left out. Afterwards a
    threshold of 0.8 keeps the links that are right with a probability of 80 % or more.

    CORPUS must be one that the component was not trained on. Where its mentions carry candidates
    (`bel candidates`) these are read, elsewhere those that the components before it give.

    \b
    Examples:
      python -m spacy bel calibrate models/model-best dev.spacy
      python -m spacy bel calibrate models/model-best dev.spacy --output calibrated
    """
    from spacy_bel.cli.output import check_free

    target = (output or Path(pipeline)).resolve()
    if output is None and not target.is_dir():
        raise typer.BadParameter("give it where PIPELINE is no directory", param_hint="--output")
    check_free(output, force)
    nlp, name = _opened(pipeline, code, component)
    pipe: Calibrated = nlp.get_pipe(name)  # type: ignore[assignment]
    examples = _proposed(nlp, name, corpus, format)
    before = _figures(pipe, examples)
    fitted = dict(pipe.calibrate(_fresh(examples), **_options(pipe, retriever_scores)))
    after = _figures(pipe, examples)
    # Opened again: this one's vocabulary has the words of the corpus, which may be confidential.
    untouched, _ = _opened(pipeline, code, name)
    untouched.get_pipe(name).cfg.update(fitted)  # type: ignore[attr-defined]
    _write(untouched, target, replace=output is None or force)
    if as_json:
        result = {"component": name, "calibration": fitted, "before": before, "after": after}
        typer.echo(json.dumps(result, indent=2))
    else:
        _print(name, fitted, before, after)
    say(f"Wrote {target}.")


def _opened(pipeline: str, code: Path | None, component: str | None) -> tuple[Language, str]:
    """The pipeline, and the name of its component."""
    from spacy.cli._util import import_code

    from spacy_bel.cli.pipeline import link_anew, linkers, load_pipeline
    from spacy_bel.corpora.docs import MENTIONS
    from spacy_bel.errors import SettingsError

    if code is not None and not code.is_file():
        raise typer.BadParameter(f"there is no file {code}", param_hint="--code")
    import_code(code)
    nlp = load_pipeline(pipeline, None)
    names = [name for name, pipe in nlp.pipeline if getattr(pipe, "calibration_keys", ())]
    if component is not None and component not in names:
        raise SettingsError(
            f"{pipeline} has no component {component!r} that can be calibrated; it has "
            f"{', '.join(names) or 'none'}."
        )
    if len(names) != 1 and component is None:
        raise SettingsError(
            f"{pipeline} has {len(names)} components that can be calibrated"
            + (f": choose one of {', '.join(names)} with --component." if names else ".")
        )
    # The mentions of a corpus, those that overlap, too. The config keeps what it says.
    for pipe in linkers(nlp):
        link_anew(pipe, MENTIONS)
    return nlp, component or names[0]


def _proposed(nlp: Language, name: str, corpus: str, format: str | None) -> list[Example]:
    """The corpus, with candidates of the components before the one that is calibrated."""
    from spacy_bel.candidates import has_candidates
    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.corpora.docs import examples

    found = list(examples(read_corpora([corpus], format), nlp))
    finders = {other for other, _ in nlp.pipeline if "doc.ents" in nlp.get_pipe_meta(other).assigns}
    before = nlp.pipe_names[: nlp.pipe_names.index(name)]
    bare = [example for example in found if not has_candidates(example.predicted)]
    with nlp.select_pipes(enable=[other for other in before if other not in finders]):
        docs = nlp.pipe(example.predicted for example in bare)
        for example, doc in zip(bare, docs, strict=True):
            example.predicted = doc
    return found


def _fresh(examples: list[Example]) -> list[Example]:
    """Copies, since a component replaces the scores that it reads."""
    from spacy.training import Example

    return [Example(example.predicted.copy(), example.reference) for example in examples]


def _figures(pipe: Calibrated, examples: list[Example]) -> dict[str, Any]:
    """How good and how sure first candidates are."""
    from spacy_bel.calibration import expected_calibration_error
    from spacy_bel.candidates import get_candidates
    from spacy_bel.corpora.flags import main_code
    from spacy_bel.reranking_pipe import judged_mentions

    said, right = [], []
    fresh = _fresh(examples)
    docs = pipe.pipe(example.predicted for example in fresh)
    for example, doc in zip(fresh, docs, strict=True):
        example.predicted = doc
        for span, codes in judged_mentions(example, pipe.spans_key):
            candidates = get_candidates(span)
            if candidates and len(codes) < 2:
                wanted = {main_code(pipe.kb, code) for part in codes for code in part}
                said.append(candidates[0].score)
                right.append(main_code(pipe.kb, candidates[0].code) in wanted)
    return {
        "mentions": len(said),
        "recall@1": sum(right) / max(1, len(right)),
        "mean probability": sum(said) / max(1, len(said)),
        "ece": expected_calibration_error(said, right),
    }


def _options(pipe: Calibrated, retriever_scores: bool) -> dict[str, bool]:
    if retriever_scores:
        return {}
    if "retriever_weight" not in pipe.calibration_keys:
        raise typer.BadParameter(
            f"{pipe.name} does not read the scores of the retriever",
            param_hint="--retriever-scores",
        )
    return {"use_retriever": False}


def _write(nlp: Language, target: Path, *, replace: bool) -> None:
    """Write the pipeline whole, or leave what is there."""
    from spacy_bel.cli.output import OutputError
    from spacy_bel.kb.atomic import new_directory

    try:
        with new_directory(target, force=replace) as path:
            nlp.to_disk(path)
    except FileExistsError as error:
        raise OutputError(f"{target} exists already: remove it or add --force.") from error
    except OSError as error:
        raise OutputError(f"Cannot write {target} ({error}): check the folder.") from error


def _print(
    name: str, fitted: Mapping[str, float], before: dict[str, Any], after: dict[str, Any]
) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "before", "after", title=f"{name}: {after['mentions']:,} mentions")
    for measure in ("recall@1", "mean probability", "ece"):
        table.add_row(measure, f"{before[measure]:.3f}", f"{after[measure]:.3f}")
    console = Console()
    console.print(table)
    values = ", ".join(f"{key} {value:.3f}" for key, value in fitted.items())
    console.print(values, markup=False, highlight=False)
