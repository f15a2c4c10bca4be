"""The layouts of the cross-encoder beside each other: mentions per second, memory, tokens read.

    python -m benchmarks.crossencoder --candidates test.spacy --kb DIR --encoder DIR [--json FILE]

test.spacy is a DocBin whose mentions carry candidates, and whose documents have sentences; DIR is
the terminology that the candidates are of. Weights of the head are random: speed does not depend on
them. Each layout is measured in a process of its own, on one thread, all with the same budget of
tokens for each forward pass; the processes take turns, and the median of the rounds counts. Seconds
are those of the processor, so that other programs on the machine matter little.

1. Inference, and training (forward, backward, AdamW) of all layouts: as published (full attention,
   mention before each candidate), and with block attention (mention once, inputs of 4096 tokens).
   "ratio": mentions per second over those of "base" as published, which is read without padding and
   never twice. "of tokens": the share of the ratio that the numbers of tokens would allow.
2. Inference as published: two inputs at once, layouts as published.
3. The same pairs, one an input, through `CrossEncoder.predict` of sentence-transformers (if
   installed) with its defaults, in float32, and how far its scores are from ours.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from rich.console import Console
from rich.table import Table
from spacy.tokens import DocBin

from benchmarks.pair_predictor import PairPredictor
from spacy_bel.candidates import get_candidates
from spacy_bel.crossencoder.document import Document, Mention
from spacy_bel.crossencoder.inputs import Batch, by_length
from spacy_bel.crossencoder.inputs import batches as cut
from spacy_bel.crossencoder.layouts import Layout, units
from spacy_bel.crossencoder.scorer import CrossEncoder
from spacy_bel.kb import KnowledgeBase

NAMES = ("base", "parallel", "multi", "passage", "document")
PUBLISHED = {name: Layout(name=name) for name in NAMES}  # type: ignore[arg-type]
BLOCK = {
    f"{name}, block": Layout(
        name=name,  # type: ignore[arg-type]
        attention="block",
        repeat_mention=False,
        input_tokens=4096,
    )
    for name in NAMES[1:]
}


def read_documents(file: Path, kb: KnowledgeBase, most: int, k: int) -> list[Document]:
    """Every n-th document of a DocBin, at most so many, with k candidates for each mention."""
    stored = list(DocBin().from_disk(file).get_docs(spacy.blank("en").vocab))
    documents = []
    for doc in stored[:: max(1, len(stored) // most)][:most]:
        mentions = tuple(
            Mention(
                span.start_char,
                span.end_char,
                span.text,
                span.label_,
                tuple(kb[c.code].names[0] for c in get_candidates(span)[:k]),
            )
            for span in doc.spans.get("mentions", doc.ents)
        )
        spans = (doc.sents if doc.has_annotation("SENT_START") else ()), doc.spans.get("passages")
        sentences, passages = (tuple((s.start_char, s.end_char) for s in s or ()) for s in spans)
        documents.append(Document(doc.text, mentions, sentences, passages))
    return documents


class Worker:
    """One layout in a process of its own; methods are called by name, one at a time."""

    def __init__(self, layout: Layout, documents: list[Document], args: argparse.Namespace) -> None:
        torch.set_num_threads(1)
        logging.getLogger("transformers").setLevel(logging.ERROR)
        self.args = args
        self.documents = documents
        self.encoder = CrossEncoder.from_pretrained(
            args.encoder, layout, device="cpu", tokens_at_once=args.tokens, dtype=args.dtype
        )
        self.inputs, self.report = self.encoder.pack(documents)
        self.encoder.score(documents[:1])  # the first pass is slower than those that follow

    def counts(self) -> dict[str, Any]:
        """What is read; `shared`: pairs whose score is read together with another's."""
        shared = sum(len(item.masks) - len(set(item.masks.tolist())) for item in self.inputs)
        tokens = self.report.tokens_per_mention
        return {**asdict(self.report), "shared": shared, "tokens_per_mention": tokens}

    def memory(self) -> float:
        """The most memory that the process has held so far, in MiB."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def inference(self) -> float:
        """Seconds of scoring everything, texts to logits."""
        start = time.process_time()
        self.encoder.score(self.documents)
        return time.process_time() - start

    def two(self) -> float:
        """Seconds of the forward passes with two inputs at once, in the order of the texts."""
        start = time.process_time()
        for at in range(0, len(self.inputs), 2):
            self.encoder._infer(self.encoder.collate(self.inputs[at : at + 2]))
        return time.process_time() - start

    def training(self) -> float:
        """Seconds of an epoch: forward, backward and step for each batch."""
        model = self.encoder.model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        # The first step, in which the optimizer allocates its state, does not count.
        self._step(optimizer, next(self._batches()))
        start = time.process_time()
        for batch in self._batches():
            self._step(optimizer, batch)
        return time.process_time() - start

    def _step(self, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        logits = self.encoder.forward(batch)
        labels = torch.from_numpy((batch.pairs[:, 2] == 0).astype(np.int64))
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    def _batches(self) -> Iterator[Batch]:
        for together in cut(by_length(self.inputs), self.args.tokens):
            yield self.encoder.collate(together)

    def predict(self) -> tuple[float, float]:
        """Seconds of sentence-transformers for the same pairs, and the largest difference."""
        peer = PairPredictor(self.encoder)
        ours = self.encoder.score(self.documents).logits
        pairs: list[tuple[str, str, str]] = []
        expected: list[np.ndarray[Any, Any]] = []
        for document, found in zip(self.documents, ours, strict=True):
            for unit in units(document, self.encoder.layout):
                for m in unit.mentions:
                    mention = document.mentions[m]
                    sentence = document.text[unit.start : unit.end]
                    pairs += [(sentence, mention.text, name) for name in mention.candidates]
                    expected.extend(found[m])
        start = time.process_time()
        theirs = peer.predict(pairs)
        seconds = time.process_time() - start
        return seconds, float(np.abs(theirs - np.stack(expected)).max())


def _serve(connection: Any, *what: Any) -> None:
    worker = Worker(*what)
    connection.send(None)
    while (name := connection.recv()) is not None:
        connection.send(getattr(worker, name)())


class Remote:
    """A worker seen from outside."""

    def __init__(self, *what: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, *what), daemon=True)
        self._process.start()
        self._connection.recv()

    def __call__(self, name: str) -> Any:
        """What the method of this name returns."""
        self._connection.send(name)
        return self._connection.recv()

    def close(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.join()


def measure(documents: list[Document], args: argparse.Namespace) -> dict[str, Any]:
    """Figures of every layout, and of sentence-transformers."""
    linked = sum(bool(m.candidates) for d in documents for m in d.mentions)
    layouts = PUBLISHED | BLOCK
    if args.layout:
        layouts = {name: layouts[name] for name in ("base", *args.layout)}
    workers = {name: Remote(layout, documents, args) for name, layout in layouts.items()}
    found: dict[str, Any] = {}
    for name, worker in workers.items():
        found[name] = {**worker("counts"), "loaded_mib": worker("memory")}
    tasks = {"inference": args.rounds, "training": args.training_rounds}
    seconds: dict[tuple[str, str], list[float]] = {}
    for task, rounds in tasks.items():
        for _ in range(rounds):
            for name, worker in workers.items():
                seconds.setdefault((name, task), []).append(worker(task))
        for name, worker in workers.items():
            found[name][f"{task}_mib"] = worker("memory")
    for name in PUBLISHED if args.two else ():
        if name in workers:
            seconds[name, "two"] = [workers[name]("two")]
    for (name, task), times in seconds.items():
        rate = linked / statistics.median(times)
        base = linked / statistics.median(seconds["base", task])
        allowed = found["base"]["tokens"] / found[name]["tokens"]
        found[name][task] = {
            "seconds": times,
            "mentions_per_second": rate,
            "ratio": rate / base,
            "of_tokens": rate / base / allowed,
        }
    result: dict[str, Any] = {"mentions": linked, "layouts": found}
    if args.dtype == "float32" and PairPredictor.installed():
        runs = [workers["base"]("predict") for _ in range(args.peer_rounds)]
        median = statistics.median(run[0] for run in runs) if runs else 0.0
        result["sentence_transformers"] = {
            "version": PairPredictor.version(),
            "mentions_per_second": linked / median if runs else None,
            "ours_over_theirs": median / statistics.median(seconds["base", "inference"]),
            "largest_difference": max((run[1] for run in runs), default=None),
        }
    for worker in workers.values():
        worker.close()
    return result


def show(result: dict[str, Any], args: argparse.Namespace) -> None:
    """Print the tables."""
    title = f"{result['mentions']} mentions, {args.tokens} tokens at once, {args.dtype}, one thread"
    table = Table(title=title, title_justify="left")
    for column in ("layout", "tokens", "inference", "ratio", "of tokens", "MiB", "training",
                   "ratio", "of tokens", "MiB", "two inputs", "ratio"):  # fmt: skip
        table.add_column(column, justify="left" if column == "layout" else "right")
    for name, row in result["layouts"].items():
        cells = [name, f"{row['tokens_per_mention']:.1f}"]
        for task in ("inference", "training"):
            if task in row:
                part = row[task]
                cells += [
                    f"{part['mentions_per_second']:.2f}/s",
                    f"{part['ratio']:.2f}",
                    f"{part['of_tokens']:.0%}",
                    f"{row[f'{task}_mib']:.0f}",
                ]
            else:
                cells += [""] * 4
        if "two" in row:
            two = row["two"]
            cells += [f"{two['mentions_per_second']:.2f}/s", f"{two['ratio']:.2f}"]
        table.add_row(*cells)
    console = Console(width=130)
    console.print(table)
    peer = result.get("sentence_transformers")
    if peer and peer["mentions_per_second"]:
        console.print(
            f"sentence-transformers {peer['version']}, base: {peer['mentions_per_second']:.2f} "
            f"mentions/s; ours over theirs {peer['ours_over_theirs']:.2f}; scores differ by at "
            f"most {peer['largest_difference']:.1e}"
        )
    elif args.dtype == "float32" and not PairPredictor.installed():
        console.print("sentence-transformers is not installed: pip install sentence-transformers.")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--candidates", type=Path, required=True, help="DocBin with candidates")
    parser.add_argument("--kb", type=Path, required=True, help="terminology of the candidates")
    parser.add_argument("--encoder", required=True, help="directory or hub id, such as MiniLM")
    parser.add_argument("--documents", type=int, default=8, help="how many, evenly spread")
    parser.add_argument("-k", type=int, default=10, help="candidates of a mention")
    parser.add_argument("--tokens", type=int, default=4096, help="budget of a forward pass")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--layout", choices=[*PUBLISHED, *BLOCK], action="append", help="or all")
    parser.add_argument("--rounds", type=int, default=3, help="of inference")
    parser.add_argument("--training-rounds", type=int, default=1)
    parser.add_argument("--peer-rounds", type=int, default=1, help="of sentence-transformers")
    parser.add_argument("--two", action="store_true", help="also two inputs at once")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    args = parser.parse_args()
    documents = read_documents(
        args.candidates, KnowledgeBase.from_disk(args.kb), args.documents, args.k
    )
    result = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "arguments": {name: str(value) for name, value in vars(args).items()},
        **measure(documents, args),
    }
    show(result, args)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
