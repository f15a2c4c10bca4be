"""Recall of candidates on public corpora: exact match, n-grams, bi-encoders and their ensemble.

    python -m benchmarks.retrieval --data DIR [--model DIR]

DIR as in benchmarks/retrieval_tasks.py; it defaults to the environment variable SPACY_BEL_DATA.
Every gold mention counts, also those whose code the terminology does not have; a hit is any gold
code among the k best, alternative codes resolved. Intervals: 1000 draws of documents, 95 %.

Each retriever searches the names of the terminology alone, and then also the training mentions as
further names: those of the training split where weights are fitted on the development split, those
of both in the results. Bi-encoders: all-MiniLM-L6-v2 as it is (extra "default-model"), and what
`bel train retriever` made of it with configs/retriever.cfg (--model), from terminologies alone. The
ensemble takes the latter if it is there. Vectors of names are kept under SPACY_BEL_CACHE, so that a
second run is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.retrieval_tasks import TASKS, Task
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.training_mentions import add_training_mentions
from spacy_bel.evaluation.policies import Policies
from spacy_bel.evaluation.retrieval import RetrievalEvaluation, evaluate_retriever
from spacy_bel.kb import KnowledgeBase
from spacy_bel.retriever.dense import DenseRetriever
from spacy_bel.retriever.ensemble import EnsembleIndex, EnsembleRetriever
from spacy_bel.retriever.exact import ExactRetriever
from spacy_bel.retriever.index import Retriever
from spacy_bel.retriever.ngrams import NgramRetriever
from spacy_bel.retriever.training.mentions import development_mentions

KS = (1, 5, 25)
#: A mention without code counts, too: as one that is not found.
POLICIES = Policies(composite="any", nil="count")
#: Documents at the end of the training split that take the place of a development split.
HELD_OUT = 12


class System(NamedTuple):
    """A row of the table: a retriever, and whether queries are widened."""

    name: str
    retriever: Retriever
    expansion: bool = True


def systems(model: str | None) -> dict[str, list[System]]:
    """What is compared, without ("") and with ("mentions") training mentions."""
    scispacy = NgramRetriever(ngram_range=(3, 3), min_df=10, sublinear=False)
    shared = [
        System("exact match", ExactRetriever()),
        System("n-grams", NgramRetriever()),
        System("MiniLM", _dense(None)),
    ]
    plain = [
        System("TF-IDF as scispaCy's, no expansion", scispacy, expansion=False),
        System("n-grams, no expansion", NgramRetriever(), expansion=False),
    ]
    if model:
        shared.append(System("MiniLM trained on names", _dense(model)))
    members = {"exact": ExactRetriever(), "ngrams": NgramRetriever(), "dense": _dense(model)}
    shared.append(System("ensemble", EnsembleRetriever(members, fusion="weighted")))
    return {"": [*plain, *shared], "mentions": shared}


def _dense(model: str | None) -> DenseRetriever:
    return DenseRetriever(model, max_length=48, arithmetic="bfloat16")


def measure(task: Task, data: Path, choice: dict[str, list[System]]) -> Iterator[dict[str, Any]]:
    """One row after another, each beside the n-grams on the same names."""
    base = task.kb(data)
    test = task.documents(data, "test")
    train = task.documents(data, "train")
    if "dev" in task.splits:
        known, dev = train, task.documents(data, "dev")
    else:
        known, dev = train[:-HELD_OUT], train[-HELD_OUT:]
    every = train if "dev" not in task.splits else [*train, *dev]
    for key, rows in choice.items():
        fitting = add_training_mentions(base, known) if key else base
        searched = add_training_mentions(base, every) if key else base
        baseline: RetrievalEvaluation | None = None
        for system in rows:
            retriever = system.retriever
            if isinstance(retriever, EnsembleRetriever):
                retriever = _fitted(retriever, fitting, dev, task)
            index = retriever.build(searched, progress=True)
            found = evaluate_retriever(
                index,
                test,
                train=every,
                abbreviations=system.expansion,
                composites=system.expansion,
                label_groups=task.label_groups,
                unmapped_labels="all",
                policies=POLICIES,
                k=max(KS),
            )
            if system.name == "n-grams":
                baseline = found
            yield {
                "system": system.name,
                "names": "names + training mentions" if key else "names",
                "retriever": repr(retriever),
                **found.report(KS, baseline=baseline),
            }


def _fitted(
    retriever: EnsembleRetriever, kb: KnowledgeBase, documents: list[CorpusDocument], task: Task
) -> EnsembleRetriever:
    """The ensemble with the weights that are best on development documents."""
    mentions = list(development_mentions(kb, documents, task.label_groups))
    index = retriever.build(kb, progress=True)
    assert isinstance(index, EnsembleIndex)
    return retriever.fitted(
        index,
        [mention.queries for mention in mentions],
        [mention.gold for mention in mentions],
        np.stack([mention.group_mask for mention in mentions]),
    )


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """One table for a task."""
    table = Table(title=title, title_justify="left")
    columns = ("names", "system", *(f"recall@{k}" for k in KS), "@1 unseen", "of ceiling @25")
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    former = ""
    for row in rows:
        scores, unseen = row["scores"], row["per_subset"]["unseen mentions"]
        cells = [
            "{value:.1%} [{low:.1%}, {high:.1%}]".format(
                **{part: scores[f"recall@{k}"][part] for part in ("value", "low", "high")}
            )
            for k in KS
        ]
        of_unseen = f"{unseen['recall@1']['value']:.1%}" if unseen["mentions"] else ""
        reached = scores["recall@25"]["value"] / scores["ceiling"]["value"]
        name = row["names"] if row["names"] != former else ""
        table.add_row(name, row["system"], *cells, of_unseen, f"{reached:.1%}")
        former = row["names"]
    Console(width=150).print(table)


def main() -> None:
    """Measure every task and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SPACY_BEL_DATA"))
    parser.add_argument("--task", choices=[*TASKS], action="append", help="all if not given")
    parser.add_argument("--model", help="MiniLM trained with configs/retriever.cfg")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data DIR or set SPACY_BEL_DATA")
    choice = systems(args.model)
    report: dict[str, Any] = {"python": platform.python_version(), "tasks": {}}
    for name in args.task or TASKS:
        task = TASKS[name]
        rows = list(measure(task, Path(args.data), choice))
        scores = rows[0]["scores"]
        ceiling = scores["ceiling"]["value"]
        title = f"{task.title}, {scores['mentions']} gold mentions, ceiling {ceiling:.1%}"
        show(title, rows)
        report["tasks"][name] = rows
        if args.json:
            args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
