"""What document context and memory are worth: the input formats of LongBEL, trained alike.

    python -m benchmarks.memory_ablation WORK --corpus ncbi --model MODEL --row folds
    python -m benchmarks.memory_ablation WORK --corpus ncbi --model MODEL --row short
    python -m benchmarks.memory_ablation WORK --corpus ncbi --model MODEL --row hybrid_long-robust
    python -m benchmarks.memory_ablation WORK --corpus ncbi --table

"folds" links the training documents out of fold, which the robust rows learn from. Every other row
is one model: trained from MODEL for --minutes (or for --tokens that are read) and asked for the
test documents, whose links are kept in WORK. A row that was interrupted goes on when it is called
again, one that is finished is left alone, and rows may run beside each other. Models with memory
also link with their memory emptied ("empty") and with memory made of gold names ("oracle"). --table
prints recall with intervals from drawing documents, paired differences from `short` and of robust
from gold memory, first and repeated mentions of a concept apart, and how often a wrong link comes
back. The ensemble is fused from the kept links. A composite mention counts if one of its concepts
is found.

Seconds of linking are those of the processor, so that other processes do not count; minutes of
training are those of the clock, so use --tokens where there are others.

--names puts as many examples made of the terminology's names, without a document, beside those of
the corpus. Memory has every earlier link, or with --memory-size the last distinct ones. Data: the
directory that SPACY_BEL_DATA or --data names.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory_rows import (
    BASELINE,
    ENSEMBLE,
    FOLDS,
    KS,
    MEMBERS,
    OWN,
    POLICIES,
    ROWS,
    Bench,
    make_folds,
    run_row,
    write,
)
from spacy_bel.candidates import Candidate
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.evaluation.echo import echo
from spacy_bel.evaluation.evaluation import Evaluation, evaluate
from spacy_bel.evaluation.repeated import (
    FIRST,
    REPEATED,
    chosen_mentions,
    occurrences,
    parts_by_occurrence,
)
from spacy_bel.longbel.ensemble import fuse_rankings


def read_links(bench: Bench, name: str, mode: str) -> tuple[list[CorpusDocument], float] | None:
    """Test documents with the links of a row, and mentions per second."""
    path = bench.work / name / f"{mode}-{bench.args.split}.jsonl"
    if not path.exists():
        return None
    first, *rows = map(json.loads, path.read_text("utf-8").splitlines())
    documents = []
    for document, row in zip(bench.test, rows, strict=True):
        by_place: dict[tuple[int, int], list[list[Candidate]]] = {}
        for start, end, links in row:
            by_place.setdefault((start, end), []).append([Candidate(*link) for link in links])
        found = []
        for a in document.annotations:
            text = document.text[a.start : a.end]
            start = a.end - len(text.lstrip())
            given = by_place.get((start, a.start + len(text.rstrip())), [[]])
            # Mentions at one place of several labels have links in the order of the text.
            links = given.pop(0) if len(given) > 1 else given[0]
            found.append(Annotation(a.start, a.end, a.text, a.type, links=links))
        documents.append(replace(document, annotations=found))
    return documents, first["mentions"] / first["seconds"]


def fused(runs: Sequence[list[CorpusDocument]]) -> list[CorpusDocument]:
    """Reciprocal rank fusion of runs, the first five codes."""
    result = []
    for documents in zip(*runs, strict=True):
        annotations = [
            replace(same[0], links=fuse_rankings([a.links for a in same])[:5])
            for same in zip(*(d.annotations for d in documents), strict=True)
        ]
        result.append(replace(documents[0], annotations=annotations))
    return result


def table(bench: Bench) -> dict[str, Any]:
    """Figures of all rows that are there."""
    runs: dict[str, tuple[list[CorpusDocument], float | None]] = {}
    for name, row in ROWS.items():
        for mode in row.modes:
            if found := read_links(bench, name, mode):
                runs[name if mode == OWN else f"{name}, {mode}"] = found
    if all(member in runs for member in MEMBERS):
        runs[ENSEMBLE] = fused([runs[member][0] for member in MEMBERS]), None
    parts = parts_by_occurrence(occurrences(bench.test, kb=bench.kb, policies=POLICIES))
    evaluations = {
        name: evaluate(documents, bench.test, kb=bench.kb, policies=POLICIES)
        for name, (documents, _) in runs.items()
    }
    figures = {}
    for name, run in evaluations.items():
        echoes = echo(runs[name][0], bench.test, kb=bench.kb, policies=POLICIES)
        interval = echoes.estimate()
        report = bench.work / name / "training.json"
        other = evaluations.get(name.replace("-robust", "-gold"))
        from_gold = None if other in (None, run) else run.estimates(KS, baseline=other)["recall@1"]
        figures[name] = {
            "mentions": run.mentions,
            **subset_figures(run, evaluations.get(BASELINE), parts),
            "robust - gold": from_gold and list(from_gold),
            "echo": {**echoes.report(), "interval": interval and list(interval)},
            "mentions_per_second": runs[name][1],
            "training": json.loads(report.read_text("utf-8")) if report.exists() else None,
        }
    return figures


def subset_figures(
    run: Evaluation, baseline: Evaluation | None, parts: dict[str, list[list[bool]]]
) -> dict[str, Any]:
    """Recall of all, first and repeated mentions, and its difference from the baseline."""
    result = {}
    for part in (None, FIRST, REPEATED):
        mine = run if part is None else chosen_mentions(run, parts[part])
        row = {k: list(v) for k, v in mine.estimates(KS).items() if k.startswith("recall")}
        if baseline is not None and baseline is not run:
            other = baseline if part is None else chosen_mentions(baseline, parts[part])
            difference = mine.estimates(KS, baseline=other)
            row["difference"] = list(difference["recall@1"])
        result[part or "all"] = {"n": mine.mentions, **row}
    return result


def print_table(figures: dict[str, Any]) -> None:
    """As Markdown."""
    print("| row | R@1 | R@5 | first R@1 | repeated R@1 | all - short | first - short | repeated -"
          " short | robust - gold | echo | mentions/s | examples | tokens |")  # fmt: skip
    print("|---" * 13 + "|")
    for name, row in figures.items():
        echoed, training = row["echo"], row["training"] or {}
        cells = [
            name,
            interval(row["all"]["recall@1"]),
            f"{100 * row['all']['recall@5'][0]:.1f}",
            interval(row[FIRST]["recall@1"]),
            interval(row[REPEATED]["recall@1"]),
            *(interval(row[part].get("difference"), "+") for part in ("all", FIRST, REPEATED)),
            interval(row["robust - gold"], "+"),
            f"{echoed['same']}/{echoed['later']}"
            + (f" = {100 * echoed['share']:.0f} %" if echoed["later"] else ""),
            f"{row['mentions_per_second']:.1f}" if row["mentions_per_second"] else "",
            *(
                f"{training[k]:,}" if k in training else ""
                for k in ("examples_seen", "tokens_seen")
            ),
        ]
        print("| " + " | ".join(cells) + " |")


def interval(estimate: Sequence[float] | None, sign: str = "") -> str:
    """An estimate in percent with its ends."""
    if estimate is None:
        return ""
    value, low, high = (f"{100 * x:{sign}.1f}" for x in estimate)
    return f"{value} [{low}, {high}]"


def main() -> None:
    """Run one row, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("work", type=Path, metavar="WORK", help="directory of models, links and figures")
    add("--corpus", choices=("ncbi", "craft-uberon"), required=True)
    add("--split", default="test", help="documents to link: dev, or test (CRAFT: its dev articles)")
    add("--model", help="directory of the model to start from; else the default model")
    add("--row", choices=(FOLDS, *ROWS))
    add("--table", action="store_true", help="print what is there, and write figures.json")
    add("--minutes", type=float, default=15, help="of training, each row")
    add("--tokens", type=float, default=0, help="read in training, instead of --minutes")
    add("--fold-minutes", type=float, help="of training, each fold; else as --minutes")
    add("--fold-prompt", default="long", help="prompt format of the fold models")
    add("--folds", type=int, default=5)
    add("--names", type=int, default=0, help="passes over the corpus mixed with fresh names")
    add("--memory-size", type=int, help="show the last distinct links only, so many")
    add("--lr", type=float, default=3e-4)
    add("--batch-tokens", type=int, default=1536)
    add("--batch-size", type=int, default=16, help="documents linked side by side")
    add("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    add("--train-documents", type=int, help="only so many, for a quick look")
    add("--test-documents", type=int, help="only so many, for a quick look")
    add("--data", default=os.environ.get("SPACY_BEL_DATA", "data"))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    bench = Bench(args)
    if args.row == FOLDS:
        make_folds(bench)
    elif args.row:
        run_row(bench, args.row)
    if args.table:
        figures = table(bench)
        path = bench.work / f"figures-{args.split}.json"
        write(path, [json.dumps(figures, indent=1)])
        print_table(figures)


if __name__ == "__main__":
    main()
