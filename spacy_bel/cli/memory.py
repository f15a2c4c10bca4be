"""`bel memory`: a corpus with links by models that have not seen it, for memory in training."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spacy_bel.cli.candidates import print_recall
from spacy_bel.cli.console import reports_errors, say
from spacy_bel.cli.mention_options import (
    CorpusFormat,
    LabelGroups,
    Labels,
    Unmapped,
    parse_label_groups,
)

if TYPE_CHECKING:
    from spacy_bel.corpora.document import CorpusDocument
    from spacy_bel.longbel.component import LongBELLinker
    from spacy_bel.longbel.training.fold_models import FoldModels
    from spacy_bel.longbel.training.robust_memory import RobustMemory

FACTORY = "longbel_linker"
SECTION = "longbel_training"
#: Settings of the component that say how it links in use, and nothing about fold models.
_NOT_FOR_FOLDS = (
    *("factory", "learning", "ensemble", "compat", "passes", "candidates", "score", "threshold"),
    *("overwrite", "spans_key", "scorer", "num_beams", "prompt", "store_kb", "decoding", "merge"),
)


@reports_errors
def memory(
    ctx: typer.Context,
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Annotated corpus: a file or a directory.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="DocBin to write, a .spacy file.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Config with longbel_linker and how it is trained; see configs/."),
    ] = None,
    kb: Annotated[
        str | None,
        typer.Option(metavar="DIR", help='Knowledge base, or "default"; else that of the config.'),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Model that all folds start from; else the config's."),
    ] = None,
    prompt: Annotated[str, typer.Option(help="Prompt format of the fold models.")] = "long",
    folds: Annotated[int, typer.Option(help="Parts that documents are drawn into.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed by which documents are drawn.")] = 0,
    dev: Annotated[
        str | None,
        typer.Option(metavar="CORPUS", help="Another corpus, linked by the first fold's model."),
    ] = None,
    dev_output: Annotated[
        Path | None, typer.Option(metavar="OUT", help="DocBin to write for --dev.")
    ] = None,
    label: Labels = None,
    label_groups: LabelGroups = None,
    unmapped_labels: Annotated[
        Unmapped | None,
        typer.Option(help="For labels that are no group: stop, search all, leave out."),
    ] = None,
    format: CorpusFormat = None,
    lang: Annotated[
        str, typer.Option(help="Language whose rules tokenise the texts and split sentences.")
    ] = "en",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the fold models in OUT.work.")] = False,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace OUT, and other runs in OUT.work.")
    ] = False,
) -> None:
    """Link each document of a training corpus by a model that has not seen it.

    Documents are drawn into folds; for each fold a model is trained on the other documents, with
    gold memory, and links those of the fold, greedily and with the memory of its own links. OUT has
    the gold codes of CORPUS, and these links as candidates of the mentions: memory with mistakes in
    it, such as `memory = "predicted"` of configs/longbel.cfg learns from (robust memory, LongBEL).
    Learning with gold memory, or without, needs no such corpus.

    What is finished is kept in OUT.work until all is: give the same command again after an
    interruption, and it goes on. Values of the config can be given on the command line, as with
    `spacy train`; those of [longbel_training] say how fold models are trained.

    \b
    Examples:
      python -m spacy bel memory train.txt train.spacy --config longbel.cfg --paths.kb medic
      python -m spacy bel memory train.txt train.spacy --kb medic --model MODEL --prompt short
      python -m spacy bel memory train.txt train.spacy --config longbel.cfg --kb medic \\
        --dev dev.txt --dev-output dev.spacy --longbel_training.epochs 3
    """
    from spacy.cli._util import parse_config_overrides

    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.cli.output import check_free
    from spacy_bel.longbel.training.robust_memory import RobustMemory

    if (dev is None) != (dev_output is None):
        raise typer.BadParameter("give both or none", param_hint="--dev, --dev-output")
    for path in (output, dev_output):
        check_free(path, force)
    content = _read_config(config, parse_config_overrides(ctx.args))
    given: dict[str, Any] = {"kb": kb, "model": model}
    if label_groups:
        given["label_groups"] = parse_label_groups(label_groups)
    if unmapped_labels:
        given["unmapped_labels"] = unmapped_labels.value
    fold_models = _fold_models(content, given, prompt, lang)
    documents = list(read_corpora([corpus], format, label))
    others = list(read_corpora([dev], format, label)) if dev else []
    _check_labels(fold_models.linker, [*documents, *others])
    work = output.with_name(f"{output.name}.work")
    robust = RobustMemory(
        fold_models.train,
        fold_models.predict,
        work,
        folds=folds,
        seed=seed,
        about=fold_models.about(),
        keep_models=keep,
        progress=say,
    )
    linked, linked_others = _linked(robust, documents, others, force)
    for path, found in ((output, linked), (dev_output, linked_others)):
        if path is not None:
            _write(fold_models, found, path)
    print_recall(linked, fold_models.linker.kb, 1)
    if not keep:
        shutil.rmtree(work, ignore_errors=True)
    say(f"Wrote {len(linked):,} documents to {output}.")


def _linked(
    robust: RobustMemory,
    documents: Sequence[CorpusDocument],
    others: Sequence[CorpusDocument],
    force: bool,
) -> tuple[list[CorpusDocument], list[CorpusDocument]]:
    """Documents with links; begins again, if that is wanted, where another run has begun."""
    from spacy_bel.errors import FingerprintMismatchError

    try:
        try:
            return robust.link(documents, others)
        except FingerprintMismatchError:
            if not force:
                raise
            shutil.rmtree(robust.work)
            return robust.link(documents, others)
    except KeyboardInterrupt:
        say("Interrupted. Give the same command again to go on.", "yellow")
        raise typer.Exit(130) from None


def _read_config(config: Path | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A config with its variables filled in; empty if there is none."""
    from spacy.util import load_config

    from spacy_bel.errors import ReadError

    if config is None:
        for name in overrides:
            if name.partition(".")[0] != SECTION:
                raise typer.BadParameter(f"{name} is a value of a config", param_hint="--config")
        return {SECTION: {name.partition(".")[2]: value for name, value in overrides.items()}}
    try:
        return dict(load_config(config, overrides=dict(overrides), interpolate=True))
    except (OSError, ValueError) as error:
        message = " ".join(str(error).split())
        raise ReadError(f"Cannot read the config {config}: {message}") from error


def _fold_models(
    content: Mapping[str, Any], given: Mapping[str, Any], prompt: str, lang: str
) -> FoldModels:
    """What trains and predicts.

    given: settings of the component that come before those of the config, unless they are None.
    """
    from spacy_bel.cli.corpus import blank_pipeline
    from spacy_bel.cli.kb import DEFAULT
    from spacy_bel.corpora.docs import MENTIONS
    from spacy_bel.errors import SettingsError
    from spacy_bel.longbel.prompts import PROMPTS
    from spacy_bel.longbel.training.fold_models import FoldModels
    from spacy_bel.longbel.training.settings import TrainingSettings, from_mapping
    from spacy_bel.longbel.training.targets import make_targets

    if prompt not in PROMPTS:
        known = ", ".join(sorted(PROMPTS))
        raise typer.BadParameter(f"choose one of {known}", param_hint="--prompt")
    components = content.get("components", {}).values()
    blocks = [dict(block) for block in components if block.get("factory") == FACTORY]
    if "components" in content and len(blocks) != 1:
        raise SettingsError(f"The config has {len(blocks)} components {FACTORY}: give it one.")
    block = blocks[0] if blocks else {}
    learning = dict(block.get("learning") or {})
    kept = {key: value for key, value in block.items() if key not in _NOT_FOR_FOLDS}
    kept.update({key: value for key, value in given.items() if value is not None})
    if kept.get("kb") == DEFAULT:
        kept["kb"] = None
    settings = from_mapping(TrainingSettings, content.get(SECTION, {}), SECTION)
    nlp = blank_pipeline(lang)
    fixed = {"prompt": prompt, "num_beams": 1, "spans_key": MENTIONS, "store_kb": False}
    linker: LongBELLinker = nlp.add_pipe(FACTORY, config={**kept, **fixed})
    linker.prepare()
    targets = make_targets(learning.get("target", "tfidf"), linker.kb)
    groups = learning.get("groups", "label")
    return FoldModels(nlp, linker, kept.get("model"), targets, settings, groups, say)


def _check_labels(linker: LongBELLinker, documents: Sequence[CorpusDocument]) -> None:
    """Tell of a label that is not mapped before anything is trained."""
    for label in sorted({a.type for document in documents for a in document.annotations}):
        linker.mapping.groups(label or "MENTION")


def _write(models: FoldModels, documents: Sequence[CorpusDocument], path: Path) -> None:
    from spacy_bel.cli.output import written_at_the_end
    from spacy_bel.corpora.docbin import write_docbin

    with written_at_the_end(path, binary=True) as stream:
        write_docbin(documents, stream, models.nlp, sentences=True)
