"""Training with accelerate: the config of ``spacy train``, on one device or several."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from confection import Config
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.util import load_config

from ...checkpoints import disk_errors
from ...cli.console import reports_errors, say
from ...errors import ReadError, SettingsError
from ...kb.atomic import new_directory
from ..component import LongBELLinker
from .distributed import AcceleratedWorkers, Workers, find_workers
from .example import TrainingExample
from .spacy_config import SpacyTraining, annotated, read_training
from .training import TrainingReport, train

app = typer.Typer(add_completion=False, rich_markup_mode=None)

#: Where the weights are written before they are part of a pipeline, and stay for further use.
GENERATOR = "generator"


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@reports_errors
def main(
    ctx: typer.Context,
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="As for spacy train; see configs/longbel.cfg.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory to write the pipelines to.")
    ],
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Begin again, and replace what is at the output."),
    ] = False,
) -> None:
    """Train longbel_linker on one device or several, from the config that `spacy train` reads.

    Tokens of a step are counted over all devices, so that the result does not depend on how many
    there are. Sequences are read without padding, only names are learned. An interrupted training
    goes on from its last checkpoint when the same command is given again.

    \b
    Read of the config:
      [components.longbel_linker]           model to start from, prompt, knowledge base
      [components.longbel_linker.learning]  how examples are made: target, memory, groups
      [corpora]                             what to learn, and what chooses the best weights
      [training]                            max_steps, max_epochs, dropout, accumulate_gradient,
                                            eval_frequency, patience (in steps), seed, and of the
                                            optimizer learn_rate, L2, beta1, beta2, eps, grad_clip
      [longbel_training]                    what spaCy has no words for, all of it optional:
        batch_tokens          tokens of a batch, on all devices together (16384); a step of the
                              optimizer has accumulate_gradient times as many
        micro_batch_tokens    tokens that one device reads at once; halved if memory runs out
        dtype                 "float32", or "bfloat16" for products in 16 bits
        gradient_checkpointing  true to save memory for a third more time
        checkpoint_every      steps between checkpoints (500)
        minutes               to end by the clock
        [longbel_training.lora]  rank, alpha, dropout, targets: to train adapters only

    \b
    Written to the output:
      model-best   the pipeline with the weights that did best on the development corpus: by the
                   share of names that are foretold whole, each token behind the right ones
      model-last   the pipeline with the last weights, if they are others
      generator    the weights of model-best, and training.json with all settings and figures

    Values of the config can be given on the command line, as with `spacy train`.

    \b
    Examples:
      accelerate launch -m spacy_bel.longbel.training configs/longbel.cfg -o models \\
        --paths.kb KB --paths.train train.spacy --paths.dev dev.spacy
      accelerate launch --multi_gpu --num_processes 4 -m spacy_bel.longbel.training \\
        configs/longbel_llama.cfg -o models --longbel_training.batch_tokens 65536
      python -m spacy_bel.longbel.training configs/longbel.cfg -o models --training.max_steps 2000
    """
    from spacy.cli._util import parse_config_overrides

    workers = find_workers()
    if workers.main:
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("spacy_bel.longbel").setLevel(logging.INFO)
    try:
        settings = load_config(config, overrides=parse_config_overrides(ctx.args))
    except (OSError, ValueError) as error:
        message = " ".join(str(error).split())
        raise ReadError(f"Cannot read the config {config}: {message}") from error
    report = train_pipeline(settings, output, workers, force=force)
    if workers.main:
        best = report.history[report.best]
        score = f", exact match {best['dev_exact_match']:.1%}" if "dev_loss" in best else ""
        say(f"{output / 'model-best'}: weights of step {best['step']} of {report.steps}{score}.")


def train_pipeline(
    config: Config, output: Path, workers: Workers, *, force: bool = False
) -> TrainingReport:
    """Train the `longbel_linker` of a config, and write pipelines to a directory.

    Raises SettingsError if the config has no such component, and as `train`.
    """
    name = _component(config)
    if isinstance(workers, AcceleratedWorkers):
        # One device for each process, whatever stands there.
        config["components"][name]["device"] = str(workers.device)
    nlp = init_nlp(config)
    linker = nlp.get_pipe(name)
    assert isinstance(linker, LongBELLinker)
    training = read_training(nlp.config)
    examples = _examples(nlp, linker, training, training.train)
    if workers.main:
        for line in linker.example_builder.report.lines():
            say(line)
    linker.example_builder.check()
    dev = _examples(nlp, linker, training, training.dev)
    generator = output / GENERATOR
    report = train(
        linker.language_model,
        linker.prompt,
        examples,
        replace(training.settings, label_smoothing=linker.learning.label_smoothing),
        generator,
        dev=dev,
        force=force,
        rate=training.rate,
        about={"optimizer": config.interpolate()["training"]["optimizer"]},
        workers=workers,
    )
    if workers.main:
        last = generator.with_name(f"{GENERATOR}-last")
        for directory, target in ((last, "model-last"), (generator, "model-best")):
            if directory.exists():
                linker.set_model(directory)
                _write(nlp, training, output / target)
    workers.wait()
    return report


def _component(config: Config) -> str:
    components: dict[str, Any] = config.get("components", {})
    pipeline = config.get("nlp", {}).get("pipeline", [])
    found = [n for n in pipeline if components.get(n, {}).get("factory") == "longbel_linker"]
    if len(found) != 1:
        raise SettingsError(
            f"The pipeline of the config has {len(found)} components of the factory "
            "longbel_linker: give a config with one, such as configs/longbel.cfg."
        )
    return str(found[0])


def _examples(
    nlp: Language, linker: LongBELLinker, training: SpacyTraining, corpus: Any
) -> list[TrainingExample]:
    documents = annotated(nlp, corpus(nlp), training.annotating)
    builder = linker.example_builder
    return [
        each
        for number, golden in enumerate(linker.gold_documents(documents))
        for each in builder.examples(golden, str(number))
    ]


def _write(nlp: Language, training: SpacyTraining, output: Path) -> None:
    pipeline = training.before_to_disk(nlp) if training.before_to_disk else nlp
    with disk_errors(output), new_directory(output, force=True) as directory:
        pipeline.to_disk(directory)


if __name__ == "__main__":
    app(prog_name="python -m spacy_bel.longbel.training")
