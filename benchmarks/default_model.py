"""The default model beside retrievers and a cross-encoder, on the same mentions.

    python -m benchmarks.default_model --data DIR --encoder DIR --crossencoder DIR

DIR of --data as in benchmarks/retrieval_tasks.py; it defaults to the environment variable
SPACY_BEL_DATA. --encoder: MiniLM trained with configs/retriever.cfg. --crossencoder: a pipeline
with `bel_crossencoder` (configs/crossencoder_passage.cfg).

Only names of the terminology are searched, none of training mentions. Rows whose second stage reads
the retriever's ten candidates weigh both as fitted on development documents ("fitted"), or as the
default pipeline is shipped. Every gold mention counts, also one without code or whose code the
terminology lacks; any of several gold codes is a hit. Intervals: 1000 draws of documents, 95 %.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import spacy
from rich.console import Console
from rich.table import Table
from spacy.language import Language
from spacy.training import Example

from benchmarks.retrieval import HELD_OUT, POLICIES
from benchmarks.retrieval_tasks import TASKS, Task
from spacy_bel.cli.pipeline import link_anew, link_records, linkers
from spacy_bel.corpora.docs import MENTIONS, examples, from_doc
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.default import load_default_pipeline
from spacy_bel.evaluation.evaluation import Evaluation, evaluate
from spacy_bel.kb import load_default_kb

KS = (1, 5)
CANDIDATES = 10
NOTES = Path(__file__).parent.parent / "assets" / "hpo_notes"
HPO_NOTES = Task(
    "HPO notes",
    lambda data: load_default_kb(),
    {split: (str(NOTES / f"{split}.jsonl"), None) for split in ("dev", "test")},
)
CHOICES = {**TASKS, "hpo-notes": HPO_NOTES}
BASELINE = "n-grams"
Fit = Callable[[Language], None]


class Systems:
    """Makes the pipelines of one task, over the knowledge base at ``kb``."""

    def __init__(self, task: Task, kb: Path, args: argparse.Namespace) -> None:
        self.args = args
        self.searching = {
            "kb": str(kb),
            "label_groups": task.label_groups or {},
            "unmapped_labels": "all",
            "store_kb": False,
        }
        dense = {
            "@misc": "spacy_bel.DenseRetriever.v1",
            "model": args.encoder,
            "max_length": 48,
            "arithmetic": "bfloat16",
        }
        self.rows: dict[str, Callable[[Fit], Language]] = {
            BASELINE: lambda fit: self._retriever(),
            "bi-encoder": lambda fit: self._retriever(dense),
            "bi-encoder + cross-encoder, fitted": lambda fit: self._crossencoder(dense, fit),
            "default model": lambda fit: self._default_model(),
            "n-grams + default model, as shipped": lambda fit: self._shipped(),
            "bi-encoder + default model, fitted": lambda fit: self._fitted(dense, fit),
        }
        if args.encoder is None:
            self.rows = {name: row for name, row in self.rows.items() if "bi-" not in name}
        if args.crossencoder is None:
            self.rows = {name: row for name, row in self.rows.items() if "cross-" not in name}

    def _retriever(
        self, retriever: dict[str, Any] | None = None, before: Language | None = None
    ) -> Language:
        nlp = before or spacy.blank("en")
        config = {**self.searching, "max_candidates": CANDIDATES}
        if retriever is not None:
            config["retriever"] = retriever
        nlp.add_pipe("bel_retriever", first=True, config=config)
        return nlp

    def _crossencoder(self, dense: dict[str, Any], fit: Fit) -> Language:
        kb = {"components.bel_crossencoder.kb": self.searching["kb"]}
        nlp = spacy.load(self.args.crossencoder, config=kb)
        pipe: Any = nlp.get_pipe("bel_crossencoder")
        pipe.candidates, pipe.retriever_scores = CANDIDATES, True
        fit(self._retriever(dense, before=nlp))
        return nlp

    def _default_model(self, nlp: Language | None = None) -> Language:
        more = {} if nlp is None else {"candidates": CANDIDATES, "score": "probability"}
        nlp = nlp or spacy.blank("en")
        config = {**self.searching, "model": self.args.model, "abbreviations": True, **more}
        nlp.add_pipe("longbel_linker", config=config)
        return nlp

    def _shipped(self) -> Language:
        nlp = self._default_model(self._retriever())
        shipped = spacy.load(self.args.pipeline) if self.args.pipeline else load_default_pipeline()
        pipe, shipped_pipe = (x.get_pipe("longbel_linker") for x in (nlp, shipped))
        pipe.cfg.update({key: shipped_pipe.cfg[key] for key in pipe.calibration_keys})  # type: ignore[attr-defined]
        return nlp

    def _fitted(self, dense: dict[str, Any], fit: Fit) -> Language:
        nlp = self._default_model(self._retriever(dense))
        fit(nlp)
        return nlp


def fitting(documents: Sequence[CorpusDocument]) -> Fit:
    """Fits the weights of a pipeline's last component to some documents."""

    def fit(nlp: Language) -> None:
        for pipe in linkers(nlp):
            link_anew(pipe, MENTIONS)
        *_, (name, pipe) = nlp.pipeline
        found: list[Example] = list(examples(documents, nlp))
        with nlp.select_pipes(disable=[name]):
            docs = nlp.pipe([example.predicted for example in found])
            for example, doc in zip(found, docs, strict=True):
                example.predicted = doc
        print(f"  {name}:", dict(pipe.calibrate(found)), flush=True)  # type: ignore[attr-defined]

    return fit


def linked(nlp: Language, documents: Sequence[CorpusDocument]) -> list[CorpusDocument]:
    """The documents with the links of a pipeline."""

    def fail(document: str, error: Exception) -> None:
        raise error

    blank = [
        replace(d, annotations=[replace(a, codes=[], links=[]) for a in d.annotations])
        for d in documents
    ]
    found = link_records(nlp, blank, batch_size=32, on_failure=fail)
    return [from_doc(doc) for _, doc in found]


def measure(task: Task, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Figures of all systems."""
    data = Path(args.data)
    base = task.kb(data)
    test = task.documents(data, "test")
    if "dev" in task.splits:
        dev = task.documents(data, "dev")
    else:
        dev = task.documents(data, "train")[-HELD_OUT:]
    if len(dev) > args.dev_documents:
        dev = random.Random(0).sample(dev, args.dev_documents)
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "kb"
        base.to_disk(path)
        baseline: Evaluation | None = None
        for name, row in Systems(task, path, args).rows.items():
            found = linked(row(fitting(dev)), test)
            run = evaluate(found, test, kb=base, policies=POLICIES)
            figures[name] = run.report(KS, baseline=baseline)
            baseline = run if name == BASELINE else baseline
            print(f"  {name}: {run.estimates(KS)['recall@1'][0]:.1%}", flush=True)
    return figures


def show(title: str, figures: dict[str, dict[str, Any]]) -> None:
    """One table for a task."""
    table = Table(title=title, title_justify="left")
    for column in ("system", "recall@1", "recall@5", "recall@1 - n-grams"):
        table.add_column(column, justify="left" if column == "system" else "right")
    for name, report in figures.items():
        cells = [_interval(report["scores"][f"recall@{k}"]) for k in KS]
        difference = report.get("difference")
        table.add_row(name, *cells, _interval(difference["recall@1"], "+") if difference else "")
    Console(width=120).print(table)


def _interval(estimate: dict[str, float], sign: str = "") -> str:
    value, low, high = (f"{100 * estimate[key]:{sign}.1f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def main() -> None:
    """Measure every task and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("SPACY_BEL_DATA"))
    parser.add_argument("--task", choices=[*CHOICES], action="append", help="all if not given")
    parser.add_argument("--encoder", help="MiniLM trained with configs/retriever.cfg")
    parser.add_argument("--crossencoder", help="pipeline with bel_crossencoder")
    parser.add_argument("--model", help="directory of a generator; else the default model")
    parser.add_argument("--pipeline", help="whose weights are taken as shipped; else the default")
    parser.add_argument("--dev-documents", type=int, default=60, help="how many to fit weights to")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data DIR or set SPACY_BEL_DATA")
    report: dict[str, Any] = {}
    for name in args.task or CHOICES:
        figures = report[name] = measure(CHOICES[name], args)
        mentions = figures[BASELINE]["scores"]["mentions"]
        show(f"{CHOICES[name].title}, {mentions} gold mentions", figures)
        if args.json:
            args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
