"""`bel train retriever`: a bi-encoder from the names of terminologies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from spacy_bel.cli.console import reports_errors, say

_BARS = "▁▂▃▄▅▆▇█"
_MEASURES = ("recall@1", "recall@5", "recall@25")


@reports_errors
def train_retriever(
    ctx: typer.Context,
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="What to train, on what; see configs/retriever.cfg."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory to write the encoder to.")
    ],
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Begin again, and replace what is at the output."),
    ] = False,
) -> None:
    """Train a bi-encoder for bel_retriever on the names of terminologies.

    Names of one concept are drawn together, names of concepts that the encoder confuses are pushed
    apart; training mentions take part if the config has a section [mentions.…]. After each epoch
    the development mentions are looked for among confusable names. These figures choose the epoch
    and are higher than those on a whole terminology: measure the result with
    `bel evaluate-retriever`.

    The output holds the encoder of the best epoch, and training.json with all settings and figures.
    An interrupted training goes on where it was when the same command is given again.

    Values of the config can be given on the command line, as with `spacy train`.

    \b
    Examples:
      python -m spacy bel train retriever configs/retriever.cfg -o encoder \\
        --paths.model MODEL --paths.kbs KBS --paths.ncbi_dev NCBIdevelopset_corpus.txt \\
        --paths.bc5cdr_dev dev_corpus.txt
      python -m spacy bel train retriever retriever.cfg -o encoder --training.epochs 3
      python -m spacy bel evaluate-retriever test.txt --kb medic --retriever dense --model encoder
    """
    from spacy.cli._util import parse_config_overrides

    from spacy_bel.retriever.training.biencoder import train_biencoder
    from spacy_bel.retriever.training.config import RetrieverTrainingConfig

    settings = RetrieverTrainingConfig.from_file(config, parse_config_overrides(ctx.args))
    encoder = settings.load_encoder()
    say(f"Encoder {settings.encoder.model}, on {encoder.device}.")
    names = settings.training_names()
    say(
        f"{len(names.codes):,} concepts, {len(names.synonyms):,} pairs of synonyms, "
        f"{len(names.mentions):,} training mentions."
    )
    development = settings.development_sets()
    for of in development:
        say(f"Development {of.name}: {len(of):,} mentions, {len(of.names):,} names to tell apart.")
    if not development:
        say("No [development.…]: the last epoch will be taken, good or bad.", "yellow")
    table = _Table([of.name for of in development])
    try:
        history = train_biencoder(
            encoder,
            names,
            development,
            settings.training,
            output,
            force=force,
            about={"config": settings.model_dump(mode="json")},
            on_epoch=table.add,
            progress=True,
        )
    except KeyboardInterrupt:
        say("Interrupted. Give the same command again to go on.", "yellow")
        raise typer.Exit(130) from None
    table.close(history)
    say(f"\nWrote the encoder to {output}. In the config of a pipeline:\n")
    typer.echo(
        "[components.bel_retriever.retriever]\n"
        '@misc = "spacy_bel.DenseRetriever.v1"\n'
        f'model = "{output}"'
    )


class _Table:
    """A row on standard error for each epoch and development set, as soon as it is there."""

    def __init__(self, development: list[str]) -> None:
        self._width = max(map(len, [*development, "development"]))
        self._best = -1.0
        self._headed = False

    def add(self, figures: Mapping[str, Any]) -> None:
        """Print the rows of an epoch; a star marks the best so far."""
        if not self._headed:
            columns = "".join(f"{name:>11}" for name in (*_MEASURES, "mrr"))
            say(f"\nepoch    loss  names/s   min  {'development':<{self._width}}{columns}")
            self._headed = True
        row = f"{figures['epoch']:>5}"
        if "loss" in figures:
            row += f"{figures['loss']:>8.4f}{figures['names_per_second']:>9,.0f}"
            row += f"{figures['seconds'] / 60:>6.1f}  "
        else:
            row += f"{'before training':>23}  "
        best = figures.get("mrr", 0) > self._best
        self._best = max(self._best, figures.get("mrr", 0))
        for name, scores in figures.get("development", {"": {}}).items():
            cells = "".join(f"{100 * scores[m]:>11.1f}" for m in (*_MEASURES, "mrr") if scores)
            say(f"{row}{name:<{self._width}}{cells}{' *' if best and scores else ''}")
            row = " " * len(row)

    def close(self, history: list[dict[str, Any]]) -> None:
        """Print how recall went, and which epoch was taken."""
        for name in history[0].get("development", {}):
            values = [100 * epoch["development"][name]["recall@1"] for epoch in history]
            say(
                f"{name} recall@1, before and after each epoch: {_curve(values)} "
                f"{values[0]:.1f} … {max(values):.1f}"
            )
        if "mrr" in history[0]:
            best = max(history, key=lambda epoch: epoch["mrr"])["epoch"]
            say(f"Epoch {best} is the best by the mean of mrr.", "bold")
            if not best:
                say(
                    "Training has not helped: try a lower learning_rate, or names and mentions "
                    "that are closer to the development mentions.",
                    "yellow",
                )


def _curve(values: list[float]) -> str:
    low, high = min(values), max(values)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((value - low) / step)] for value in values)
