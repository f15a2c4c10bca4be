"""`bel tune ngrams`: the options of character n-grams that find most of some mentions."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spacy_bel.cli.console import reports_errors, say
from spacy_bel.cli.mention_options import (
    KB,
    Abbreviations,
    Composites,
    CorpusFormat,
    LabelGroups,
    Labels,
    TrainingMentions,
    Unmapped,
    UnmappedLabels,
    open_searched,
    parse_label_groups,
)

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase
    from spacy_bel.retriever.ngram_vectors import NgramOptions

_KS = (1, 5, 10)
_MEASURES = ("recall@1", "recall@5", "recall@10", "recall@all", "mrr")


class Grid(str, Enum):
    """Which options to try."""

    default = "default"
    published = "published"


class Objective(str, Enum):
    """What to choose by."""

    recall_1 = "recall@1"
    recall_5 = "recall@5"
    recall_10 = "recall@10"
    recall_all = "recall@all"
    mrr = "mrr"


@reports_errors
def tune_ngrams(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Development corpus: a file or a directory.")
    ],
    kb: KB,
    grid: Annotated[Grid, typer.Option(help="Which options to try.")] = Grid.default,
    objective: Annotated[Objective, typer.Option(help="What to choose by.")] = Objective.recall_5,
    training_mentions: TrainingMentions = None,
    abbreviations: Abbreviations = True,
    composites: Composites = True,
    label: Labels = None,
    label_groups: LabelGroups = None,
    unmapped_labels: UnmappedLabels = Unmapped.error,
    depth: Annotated[
        int, typer.Option(min=10, help='How many concepts to look at for "recall@all".')
    ] = 100,
    format: CorpusFormat = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Config file to write the best to.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the output.")] = False,
) -> None:
    """Try options of character n-grams on a development corpus, and write the best as a config.

    The grid "published" is that of Sanz-Cruzado and Lever (2025): trigrams of the first, the last,
    or the first and last 4 to 32 characters. The grid "default" takes whole names, by n-grams of
    different lengths, within words or across them. Each option indexes the knowledge base anew.

    Choose on a development corpus only, never on the one that you report. The interval of each
    figure comes from drawing documents: options whose intervals overlap much are as good as each
    other.

    \b
    Examples:
      python -m spacy bel tune ngrams dev.txt --kb medic -o ngrams.cfg
      python -m spacy bel tune ngrams dev.txt --kb medic --grid published \\
        --training-mentions train.txt --no-abbreviations --no-composites
      python -m spacy bel evaluate-retriever test.txt --kb medic --config ngrams.cfg
    """
    from functools import partial

    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.cli.output import check_free, written_at_the_end
    from spacy_bel.evaluation.retrieval import evaluate_retriever
    from spacy_bel.retriever.training.ngram_tuning import GRIDS, config_block

    check_free(output, force)
    knowledge_base = open_searched(kb, training_mentions, format, label)
    measure = partial(
        evaluate_retriever,
        documents=list(read_corpora([corpus], format, label)),
        abbreviations=abbreviations,
        composites=composites,
        label_groups=parse_label_groups(label_groups),
        unmapped_labels=unmapped_labels.value,
        k=depth,
    )
    rows = _rows(knowledge_base, GRIDS[grid.value], measure, depth)
    # Of equal ones the first of the grid, whose simpler options come first.
    rows.sort(key=lambda row: -row[1][objective.value]["value"])
    _show(rows, objective.value, f"{Path(corpus).name}, searched in {knowledge_base.meta.name}")
    best, scores = rows[0]
    block = config_block(best)
    if output:
        figures = ", ".join(f"{name} {100 * scores[name]['value']:.1f}" for name in _MEASURES)
        with written_at_the_end(output) as stream:
            stream.write(
                f"# The best by {objective.value} of the grid {grid.value}, on "
                f"{Path(corpus).name} in {knowledge_base.meta.name}: {figures} (%).\n"
                "# In a pipeline the section is [components.bel_retriever.retriever].\n\n"
                f"{block}\n"
            )
        say(f"Wrote the best to {output}.")
    else:
        typer.echo(block)


def _rows(
    kb: KnowledgeBase, grid: tuple[NgramOptions, ...], measure: Any, depth: int
) -> list[tuple[NgramOptions, dict[str, Any]]]:
    """Options with their figures, in the order of the grid."""
    from tqdm import tqdm

    from spacy_bel.errors import KnowledgeBaseError
    from spacy_bel.retriever.training.ngram_tuning import try_options

    rows, empty = [], 0
    results = try_options(kb, grid, measure)
    for options, evaluation in tqdm(
        results, "Trying options", len(grid), unit="index", disable=None, leave=False
    ):
        if evaluation is None:
            empty += 1
            continue
        scores = dict(evaluation.report((*_KS, depth))["scores"])
        scores["recall@all"] = scores[f"recall@{depth}"]
        rows.append((options, scores))
    if empty:
        say(f"{empty} options leave no n-gram of any name and were passed over.", "yellow")
    if not rows:
        raise KnowledgeBaseError(
            f"No options of this grid leave an n-gram of the names of {kb.meta.name!r}, which are "
            "too few for them: use --grid default."
        )
    return rows


def _show(rows: list[tuple[NgramOptions, dict[str, Any]]], objective: str, title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from spacy_bel.cli.retrieval_tables import print_whole

    table = Table(title=f"In %, best {objective} first: {title}", title_justify="left")
    table.box = SIMPLE_HEAD
    for column in ("n-grams", "analyzer", "min_df", "sublinear", "part"):
        table.add_column(column, no_wrap=True)
    for column in _MEASURES:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column(f"interval of {objective}", justify="right", no_wrap=True)
    for options, scores in rows:
        part = options.char_side
        table.add_row(
            "-".join(map(str, options.ngram_range)),
            options.analyzer,
            str(options.min_df),
            "yes" if options.sublinear else "no",
            "all" if part == "none" else f"{part} {options.char_count}",
            *(f"{100 * scores[name]['value']:.1f}" for name in _MEASURES),
            "{low:.1f}-{high:.1f}".format(
                **{end: 100 * scores[objective][end] for end in ("low", "high")}
            ),
        )
    print_whole(table)
    mentions = rows[0][1]["mentions"]
    Console().print(
        f"{mentions:,} mentions. 95% intervals, from drawing documents. Options whose intervals "
        "overlap much are as good as each other.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
