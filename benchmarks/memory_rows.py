"""What the rows of the memory ablation are, how they are trained, and what they link."""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import spacy

from benchmarks.retrieval_tasks import TASKS
from spacy_bel.candidates import Candidate
from spacy_bel.corpora.docbin import write_docbin
from spacy_bel.corpora.docs import MENTIONS
from spacy_bel.corpora.reading import read_documents
from spacy_bel.evaluation.evaluation import evaluate
from spacy_bel.evaluation.policies import Policies
from spacy_bel.kb import KnowledgeBase
from spacy_bel.longbel.calibrating import GoldDocument
from spacy_bel.longbel.component import LongBELLinker
from spacy_bel.longbel.document import JOINT, Document, Mention
from spacy_bel.longbel.engine import Engine
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
