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
prints
recall with intervals from drawing documents, paired differences from `short`, first and repeated
mentions of a concept apart, and how often a wrong link returns; the ensemble is fused from the kept
links. A composite mention counts if one of its concepts is found.

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
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import spacy
import torch

from benchmarks.retrieval_tasks import TASKS
from spacy_bel.candidates import Candidate
from spacy_bel.corpora.docbin import write_docbin
from spacy_bel.corpora.docs import MENTIONS
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.reading import read_documents
from spacy_bel.evaluation.echo import echo
from spacy_bel.evaluation.evaluation import Evaluation, evaluate
from spacy_bel.evaluation.policies import Policies
from spacy_bel.evaluation.repeated import (
    FIRST,
    REPEATED,
    chosen_mentions,
    occurrences,
    parts_by_occurrence,
)
from spacy_bel.kb import KnowledgeBase
from spacy_bel.longbel.calibrating import GoldDocument
from spacy_bel.longbel.component import LongBELLinker
from spacy_bel.longbel.document import JOINT, Document, Mention
from spacy_bel.longbel.engine import Engine
from spacy_bel.longbel.ensemble import fuse_rankings
from spacy_bel.longbel.models.loading import resolve_model
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.training.example import TrainingExample, Turn
from spacy_bel.longbel.training.fold_models import FoldModels
from spacy_bel.longbel.training.golden import golden
from spacy_bel.longbel.training.robust_memory import RobustMemory
from spacy_bel.longbel.training.settings import TrainingSettings
from spacy_bel.longbel.training.targets import make_targets
from spacy_bel.longbel.training.training import train

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from name_noise import disturb, fold

logger = logging.getLogger("memory_ablation")
POLICIES = Policies(composite="any")
KS = (1, 5)
FOLDS, ENSEMBLE, BASELINE = "folds", "ensemble", "short"
OWN, EMPTY, ORACLE = "own", "empty", "oracle"


@dataclass(frozen=True)
class Row:
    """A prompt format, and what it learns to read as memory: "gold", "predicted" or "none"."""

    prompt: str
    memory: str = "none"

    @property
    def modes(self) -> tuple[str, ...]:
        """How its model links the test documents."""
        return (OWN, EMPTY, ORACLE) if self.prompt in ("hybrid_short", "hybrid_long") else (OWN,)


ROWS = {
    BASELINE: Row("short"),
    "hybrid_medium": Row("hybrid_medium"),
    "hybrid_short-gold": Row("hybrid_short", "gold"),
    "hybrid_short-robust": Row("hybrid_short", "predicted"),
    "hybrid_long-gold": Row("hybrid_long", "gold"),
    "hybrid_long-robust": Row("hybrid_long", "predicted"),
    "long": Row("long", "gold"),
}
MEMBERS = (BASELINE, "hybrid_medium", "hybrid_short-robust", "hybrid_long-robust")


class Bench:
    """Corpus, names and a linker whose model and prompt change from row to row."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.work: Path = args.work / args.corpus
        self.work.mkdir(parents=True, exist_ok=True)
        task, data = TASKS[args.corpus], Path(args.data)
        self.train = task.documents(data, "train")[: args.train_documents]
        self.test = task.documents(data, args.split)[: args.test_documents]
        self.nlp = spacy.blank("en")
        self.kb = self._names(task.kb, data)

    def _names(self, make: Any, data: Path) -> KnowledgeBase:
        """The terminology, from disk, so that its trie is cached."""
        path = self.work / "kb"
        if not path.exists():
            make(data).to_disk(path)
        return KnowledgeBase.from_disk(path)

    def linker(self, prompt: str, *, num_beams: int = 5) -> LongBELLinker:
        """A linker that starts with MODEL."""
        size = None if prompt == "long" else self.args.memory_size
        memory: dict[str, Any] = {
            "memory": "recent",
            "memory_size": size,
            "memory_repeats": False,
        }
        linker = LongBELLinker(
            self.nlp,
            kb=self.kb,
            model=self.args.model,
            prompt=prompt,
            num_beams=num_beams,
            spans_key=MENTIONS,
            batch_size=self.args.batch_size,
            **(memory if size else {}),
        )
        linker.prepare()
        return linker

    def models(self, prompt: str, minutes: float, *, num_beams: int = 5) -> FoldModels:
        """What trains and links with a prompt format."""
        linker = self.linker(prompt, num_beams=num_beams)
        targets = make_targets("tfidf", self.kb)
        settings = self.settings(minutes)
        return FoldModels(
            self.nlp, linker, self.args.model, targets, settings, progress=logger.info
        )

    def settings(self, minutes: float) -> TrainingSettings:
        """How every model is trained."""
        args = self.args
        steps = args.tokens and max(1, round(args.tokens / args.batch_tokens))
        return TrainingSettings(
            learning_rate=args.lr,
            minutes=None if steps else minutes,
            max_steps=steps or None,
            batch_tokens=args.batch_tokens,
            dtype=args.dtype,
            warmup=0.05,
            weight_decay=0.01,
            checkpoint_every=200,
            seed=args.seed,
        )

    def mixed(self, examples: list[TrainingExample], prompt: str) -> list[TrainingExample]:
        """Examples of the corpus, and as many of names if that is wanted."""
        if not self.args.names:
            return examples
        # Several times, so that other names come with the same mentions.
        teaches = sum(len(example.turns) for example in examples)
        names = name_examples(self.kb, prompt, self.args.seed)
        made = [next(names) for _ in range(self.args.names * teaches)]
        return examples * self.args.names + made


def name_examples(kb: KnowledgeBase, prompt: str, seed: int) -> Iterator[TrainingExample]:
    """Endless examples whose mention is a name of the terminology, mostly a disturbed one.

    The context holds nothing but the mention, and there is no memory. In half of them the name that
    the mention was made from is no target, so that other names of the concept are learned.
    """
    rng, chosen = random.Random(seed), get_prompt(prompt)
    targets = make_targets("tfidf", kb)
    owners: dict[str, set[str]] = {}
    for code in kb:
        for name in kb[code].names:
            owners.setdefault(fold(name), set()).add(code)
    pairs = [(code, name) for code in kb for name in kb[code].names]
    groups = {code: JOINT.join(kb[code].groups) for code in kb}
    while True:
        rng.shuffle(pairs)
        for start in range(0, len(pairs), 1000):
            rows = []
            for code, name in pairs[start : start + 1000]:
                names, mention = kb[code].names, fold(name)
                if len(names) > 1 and rng.random() < 0.5:
                    others = tuple(n for n in names if fold(n) != fold(name))
                    names = others or names
                if rng.random() < 0.6:
                    noisy = disturb(name, rng)
                    clash = owners.get(noisy, set()) - {code}
                    mention = noisy if noisy and not clash else mention
                rows.append((code, mention, names))
            found = targets.choose([m for _, m, _ in rows], [n for _, _, n in rows])
            for (code, mention, names), choice in zip(rows, found, strict=True):
                span = Mention(0, len(mention), mention, groups[code], kb[code].groups)
                text = chosen.assemble(f"[{mention}]", (), span)
                yield TrainingExample((Turn(text, (names[choice[0]],)),), "")


def make_folds(bench: Bench) -> None:
    """Link the training documents out of fold, and keep the result."""
    args, path = bench.args, bench.work / "memory.spacy"
    if path.exists():
        return
    models = bench.models(args.fold_prompt, args.fold_minutes or args.minutes, num_beams=1)
    robust = RobustMemory(
        models.train,
        models.predict,
        bench.work / "folds",
        folds=args.folds,
        seed=args.seed,
        about=models.about(),
        progress=logger.info,
    )
    linked, _ = robust.link(bench.train)
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        write_docbin(linked, stream, bench.nlp)
    part.replace(path)
    bare = [replace(d, annotations=[replace(a, codes=[]) for a in d.annotations]) for d in linked]
    score = evaluate(bare, bench.train, kb=bench.kb, policies=POLICIES).estimates((1,))
    logger.info("recall@1 of the memory: %.1f", 100 * score["recall@1"].value)


def run_row(bench: Bench, name: str) -> None:
    """Train a row's model and keep what it links."""
    row, place = ROWS[name], bench.work / name
    place.mkdir(exist_ok=True)
    models = bench.models(row.prompt, bench.args.minutes)
    linker, model_path = models.linker, place / "model"
    if not (place / "training.json").exists():
        documents = bench.train
        if row.memory == "predicted":
            path = bench.work / "memory.spacy"
            if not path.exists():
                raise SystemExit(f"{path} is missing: run --row folds first.")
            documents = list(read_documents(path))
        builder = models.builder(row.memory)  # type: ignore[arg-type]
        examples = list(builder.stream(golden(documents, bench.nlp, linker.mapping)))
        for line in builder.report.lines():
            logger.info(line)
        mixed = bench.mixed(examples, row.prompt)
        model = resolve_model(bench.args.model)
        begun = time.process_time()
        report = train(model, linker.prompt, mixed, models.settings, model_path)
        about = {
            "examples": len(examples),
            "mixed": report.examples.sequences,
            "epochs": report.epochs,
            "steps": report.steps,
            "minutes": report.seconds / 60,
            "processor_minutes": (time.process_time() - begun) / 60,
            "examples_seen": round(report.epochs * report.examples.sequences),
            "tokens_seen": round(report.epochs * report.examples.tokens),
            "loss": report.history[-1]["loss"],
        }
        write(place / "training.json", [json.dumps(about)])
    linker.set_model(model_path)
    golds = [gold for _, gold in golden(bench.test, bench.nlp, linker.mapping)]
    for mode in row.modes:
        path = place / f"{mode}-{bench.args.split}.jsonl"
        if path.exists():
            continue
        begun = time.process_time()
        links = list(linked_by(models, golds, mode))
        seconds = time.process_time() - begun
        mentions = sum(len(gold.document.mentions) for gold in golds)
        logger.info("%s, %s: %.1f mentions/s", name, mode, mentions / seconds)
        rows = [json.dumps({"mentions": mentions, "seconds": seconds})]
        for gold, found in zip(golds, links, strict=True):
            spans = [(m.start, m.end) for m in gold.document.mentions]
            rows.append(json.dumps([[*s, c] for s, c in zip(spans, found, strict=True)]))
        write(path, rows)


def linked_by(
    models: FoldModels, golds: Sequence[GoldDocument], mode: str
) -> Iterator[list[list[Candidate]]]:
    """Candidates of all mentions of each document."""
    linker = models.linker
    engine = linker.single_engine("the benchmark")
    if mode == EMPTY:
        engine = linker._make_engine(
            linker.language_model, linker.prompt, accept=lambda candidate: False
        )
    if mode != ORACLE:
        yield from links_of(engine, (gold.document for gold in golds))
        return
    names_of = models.builder()._names
    for gold in golds:
        names = names_of.of(gold)
        alone = links_of(engine, behind_gold(gold.document, names))
        yield [links[-1] for links in alone]


def behind_gold(document: Document, names: Sequence[Any]) -> Iterator[Document]:
    """For each mention the document with it as the last one, behind the gold names of others."""
    before: list[Mention] = []
    for mention, name in zip(document.mentions, names, strict=True):
        yield replace(document, mentions=(*before, mention))
        if isinstance(name, tuple):
            before.append(replace(mention, pinned=Candidate("", JOINT.join(name), 1.0)))


def links_of(engine: Engine, documents: Any) -> Iterator[list[list[Candidate]]]:
    """Links of documents; raises what went wrong."""
    for links in engine.link(documents):
        if isinstance(links, Exception):
            raise links
        yield links


def write(path: Path, lines: Sequence[str]) -> None:
    """Write lines whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    part.replace(path)


# The table


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
        figures[name] = {
            "mentions": run.mentions,
            **subset_figures(run, evaluations.get(BASELINE), parts),
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
    print("| row | R@1 | R@5 | first R@1 | repeated R@1 | all - short | first - short |"
          " repeated - short | echo | mentions/s | examples | tokens |")  # fmt: skip
    print("|---" * 12 + "|")
    for name, row in figures.items():
        echoed, training = row["echo"], row["training"] or {}
        cells = [
            name,
            interval(row["all"]["recall@1"]),
            f"{100 * row['all']['recall@5'][0]:.1f}",
            interval(row[FIRST]["recall@1"]),
            interval(row[REPEATED]["recall@1"]),
            *(interval(row[part].get("difference"), "+") for part in ("all", FIRST, REPEATED)),
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
