"""Training of a bi-encoder on names: the SapBERT recipe with re-mined hard negatives."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spacy_bel.checkpoints import Checkpoint
from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.training.names import TrainingNames
from spacy_bel.retriever.training.output import check_output, write_encoder, write_report
from spacy_bel.retriever.training.selection import DevelopmentSet
from spacy_bel.retriever.training.settings import BiEncoderSettings
from spacy_bel.retriever.training.steps import Trainer


def train_biencoder(
    encoder: Encoder,
    names: TrainingNames,
    development: Sequence[DevelopmentSet],
    settings: BiEncoderSettings,
    output: Path,
    *,
    force: bool = False,
    about: Mapping[str, Any] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Train an encoder in place; the best epoch is written to ``output``.

    The recipe is SapBERT's (Liu et al. 2021, arXiv 2010.11784): names of one concept are drawn
    together by a multi-similarity loss on the pairs of a batch that a triplet margin finds hard.
    Before each epoch concepts are looked up that the encoder confuses, to share batches.

    names: what to learn from, paired. development: what chooses the epoch, by mean reciprocal
        rank; the last one is kept if there is none.
    force: begin again, and replace what is at ``output``.
    about: what else to write into the report.
    on_epoch: gets the figures of each epoch, also of those before an interruption, and of the
        untrained encoder as epoch 0.

    The output is a directory for `Encoder.from_pretrained`, with all settings and the figures of
    every epoch in ``training.json``. Until the end, all that is needed to go on is in
    ``<output>.checkpoint``: called again with the same arguments, an interrupted run continues
    after its last full epoch and ends with the same weights (on one thread of a processor).

    Returns the figures of all epochs. Raises TrainingError if the output exists and is not of this
    run, or cannot be written; FingerprintMismatchError if a checkpoint is of another run;
    ModelError if vectors or loss are no longer numbers.
    """
    run = {
        "settings": asdict(settings),
        "encoder": encoder.fingerprint,
        "names": names.fingerprint,
        "development": [of.fingerprint for of in development],
    }
    trainer = Trainer(encoder, names, settings, progress=progress)
    checkpoint = Checkpoint(output, run)
    if force:
        checkpoint.remove()
    history = checkpoint.restore(encoder.model, trainer.optimizer)

    def report(finished: bool = False) -> dict[str, Any]:
        sizes = {"concepts": len(names.codes), "synonym_pairs": len(names.synonyms)}
        return {
            "run": checkpoint.run_id,
            "finished": finished,
            "best_epoch": _best(history or []),
            **run,
            **(about or {}),
            "names": {**sizes, "mentions": len(names.mentions), "fingerprint": run["names"]},
            "epochs": history,
        }

    if not history:
        if history is None and not force:
            check_output(output, checkpoint.run_id, resumed=False)
        # First of all, so that a run that is interrupted now may write to its output again.
        checkpoint.save(encoder.model, trainer.optimizer, [])
        history = [{"epoch": 0, **_development_scores(encoder, development)}]
        write_encoder(encoder, output, report())
    else:
        check_output(output, checkpoint.run_id, resumed=True)
    if on_epoch:
        for figures in history:
            on_epoch(figures)
    for epoch in range(len(history), settings.epochs + 1):
        if development and len(history) - 1 - _best(history) >= settings.patience:
            break
        started = time.perf_counter()
        loss = trainer.epoch(epoch)
        seconds = time.perf_counter() - started
        seen = settings.steps_per_epoch * settings.batch_size
        history.append(
            {
                "epoch": epoch,
                "loss": loss,
                "seconds": seconds,
                "names_per_second": seen / seconds,
                **_development_scores(encoder, development),
            }
        )
        if _best(history) == epoch:
            write_encoder(encoder, output, report())
        else:
            write_report(output, report())
        checkpoint.save(encoder.model, trainer.optimizer, history)
        if on_epoch:
            on_epoch(history[-1])
    write_report(output, report(finished=True))
    checkpoint.remove()
    return history


def _development_scores(encoder: Encoder, development: Sequence[DevelopmentSet]) -> dict[str, Any]:
    """Scores of each set, and their mean reciprocal ranks averaged, which choose the epoch."""
    if not development:
        return {}
    scores = {
        of.name: of.scores(encoder.encode(of.names), encoder.encode(of.queries))
        for of in development
    }
    mean = sum(of_set["mrr"] for of_set in scores.values()) / len(scores)
    return {"development": scores, "mrr": mean}


def _best(history: Sequence[Mapping[str, Any]]) -> int:
    """The first epoch of the highest mean reciprocal rank; the last where there are none."""
    if not history or "mrr" not in history[0]:
        return len(history) - 1
    ranks = [epoch["mrr"] for epoch in history]
    return ranks.index(max(ranks))
