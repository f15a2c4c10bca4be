"""Training of a generator: examples in, a model directory out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ...checkpoints import Checkpoint
from ...errors import SettingsError, TrainingError
from ..models.base import LanguageModel, tokenizer_fingerprint
from ..models.loading import resolve_model
from ..prompts import Prompt
from .checkpoint import (
    fingerprint_of_sequences,
    fingerprint_of_weights,
)
from .distributed import Workers, find_workers
from .example import TrainingExample
from .lora import Adapters
from .objectives import network_of, objective_of
from .run import REPORT, Run
from .settings import TrainingSettings
from .tokenizing import SequenceMaker, TokenizingReport

#: What decides how a run is computed, but not what comes out of it.
_HOW = ("micro_batch_tokens", "gradient_checkpointing", "checkpoint_every")


@dataclass
class TrainingReport:
    """What a run has done.

    steps: of the optimizer. epochs: passes over the examples, the last one in part. seconds: spent
    training. examples, development: what became of them. history: figures of each evaluation: step,
    epoch, loss (mean per learned token since the last one), learning_rate, tokens_per_second,
    seconds and, with development examples, dev_loss and dev_exact_match (share of names of which
    every token is the best one behind the right ones before it). best: which entry of the history
    the output has the weights of; the last one without development examples.
    """

    steps: int
    epochs: float
    seconds: float
    examples: TokenizingReport
    development: TokenizingReport | None
    history: list[dict[str, Any]]
    best: int


def train(
    model: LanguageModel,
    prompt: Prompt,
    examples: Sequence[TrainingExample],
    settings: TrainingSettings,
    output: str | Path,
    *,
    dev: Sequence[TrainingExample] = (),
    progress: bool = True,
    force: bool = False,
    rate: Callable[[int], float] | None = None,
    about: Mapping[str, Any] | None = None,
    workers: Workers | None = None,
) -> TrainingReport:
    """Train a model in place to write names behind prompts, and write it to a directory.

    Only names are learned, each token behind the right ones before it. The output is a directory
    for `resolve_model`, with settings and figures in ``training.json``: the weights that did best
    on the development examples, else the last ones. If the last ones are others, they are beside
    it, in ``<output>-last``.

    prompt: format of the examples. dev: chooses the best weights, by the share of names that are
    foretold whole, then by the loss.
    force: begin again, and replace what is at `output`.
    rate: learning rate of each step, from 0, instead of that of the settings.
    about: what else to write into ``training.json``; it also tells this run from others.
    workers: see `find_workers`.

    Until the end, all that is needed to go on is in ``<output>.checkpoint``: called again with the
    same arguments, and the model as it was at the beginning, an interrupted run continues after its
    last checkpoint. On one thread of a processor it ends with the same weights, unless it is the
    clock that ends it. A finished run is not repeated: the model takes the weights of its output.

    Raises SettingsError if there is nothing to learn, TrainingError if the output exists and is of
    another run, cannot be written, or loss or gradients are no numbers any more;
    FingerprintMismatchError if the checkpoint is of another run.
    """
    output = Path(output)
    workers = workers or find_workers()
    maker, tester = SequenceMaker(model, prompt), SequenceMaker(model, prompt)
    sequences, held_out = maker.sequences(examples), tester.sequences(dev)
    if not sequences:
        raise SettingsError(
            f"None of {len(examples)} examples can be learned ({maker.report}): give examples with "
            "names, within the window of the model."
        )
    network = network_of(model)
    run = {
        "settings": {k: v for k, v in asdict(settings).items() if k not in _HOW},
        "prompt": prompt.name,
        "tokenizer": tokenizer_fingerprint(model.tokenizer),
        "weights": fingerprint_of_weights(network),
        "examples": fingerprint_of_sequences(sequences),
        "development": fingerprint_of_sequences(held_out),
        **(about or {}),
    }
    development = tester.report if dev else None
    if (done := _finished(output, run, workers, force)) is not None:
        network.load_state_dict(network_of(resolve_model(output, device="cpu")).state_dict())
        model.directory = output
        return _report(done, maker.report, development)
    adapters = None
    if settings.lora is not None:
        adapters = Adapters(network, settings.lora, settings.seed)
    objective = objective_of(
        model,
        dropout=settings.dropout,
        gradient_checkpointing=settings.gradient_checkpointing,
        label_smoothing=settings.label_smoothing,
    )
    devices = [objective.device] if objective.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        trainer = Run(objective, sequences, held_out, settings, output, run, workers, rate)
        trainer.run(progress)
    written = trainer.write(model, prompt, adapters, maker.report, development)
    return _report(written, maker.report, development)


def _finished(
    output: Path, run: dict[str, Any], workers: Workers, force: bool
) -> dict[str, Any] | None:
    """The report of this very run if it is at the output already.

    Raises TrainingError if something else is there. force: none counts, and no checkpoint either.
    """
    checkpoint = Checkpoint(output, run)
    if force:
        workers.wait()
        if workers.main:
            checkpoint.remove()
        workers.wait()
        return None
    if not output.exists():
        return None
    try:
        found = json.loads((output / REPORT).read_text("utf-8"))
        if found["run"] == checkpoint.run_id:
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise TrainingError(
        f"{output} exists already, and is not the result of this run: give another output, or "
        "force a new start."
    )


def _report(
    report: Mapping[str, Any], examples: TokenizingReport, development: TokenizingReport | None
) -> TrainingReport:
    figures = {key: report[key] for key in ("steps", "epochs", "seconds", "history", "best")}
    return TrainingReport(examples=examples, development=development, **figures)
