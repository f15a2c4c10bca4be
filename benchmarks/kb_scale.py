"""Memory and time of a terminology as large as UMLS, each stage in a process of its own.

    python -m benchmarks.kb_scale [--concepts 4000000] [--names 10000000] [--json FILE]

A made-up metathesaurus (`benchmarks/rrf_fixture.py`) is written, built as format ``umls``, opened,
and asked for random names and codes; a token trie over half of its names is built, opened and
walked, beside nested dictionaries of as many names as fit into ``--nested-cap`` megabytes. Memory
is the resident set, mapped files included: what `top` shows. The tokenizer is a byte-level BPE of
``--vocabulary`` tokens trained on a sample of the names. Needs 5 GB of disk at full size.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from spacy_bel.kb import KnowledgeBase, storage

MB = 1 << 20
LOOKUPS = 10_000
WALKS = 1_000

Figures = dict[str, Any]


def resident() -> dict[str, float]:
    """Megabytes this process holds now: all, its own, and of mapped files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    fields = {"all": "VmRSS", "own": "RssAnon", "files": "RssFile"}
    return {name: int(status[field].split()[0]) / 1024 for name, field in fields.items()}


def peak() -> float:
    """Megabytes this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_fixture(work: Path, options: argparse.Namespace) -> Figures:
    """The files a user would download."""
    from benchmarks.rrf_fixture import write_rrf

    start = time.perf_counter()
    size = write_rrf(work / "META", options.concepts, int(options.names * 1.05))
    return {
        "rows": size.rows,
        "source_mb": size.bytes / MB,
        "seconds": time.perf_counter() - start,
    }


def build(work: Path, options: argparse.Namespace) -> Figures:
    """From RRF to a directory, in one pass."""
    from spacy_bel.kb.readers import read

    start = time.perf_counter()
    builder = read(work / "META", "umls", name="scale")
    reading = time.perf_counter() - start
    read_peak = peak()
    kb = builder.write(work / "kb", force=True)
    return {
        "concepts": len(kb),
        "names": kb.n_names,
        "aliases": kb.meta.aliases,
        "disk_mb": _disk(work / "kb"),
        "reading_seconds": reading,
        "seconds": time.perf_counter() - start,
        "peak_after_reading_mb": read_peak,
        "peak_mb": peak(),
    }


def look_up(work: Path, options: argparse.Namespace) -> Figures:
    """Open, then find random names and read their concepts."""
    before = resident()["all"]
    start = time.perf_counter()
    kb = KnowledgeBase.from_disk(work / "kb")
    opening = time.perf_counter() - start
    names = [kb.name(i) for i in np.random.default_rng(1).integers(0, kb.n_names, LOOKUPS)]
    start = time.perf_counter()
    for name in names:
        for code in kb.find(name):
            kb[code]
    seconds = time.perf_counter() - start
    after = resident()
    return {
        "open_seconds": opening,
        "lookup_microseconds": seconds / LOOKUPS * 1e6,
        "resident_before_mb": before,
        "resident_mb": after["all"],
        "own_mb": after["own"],
        "files_mb": after["files"],
    }


class HalfOfNames:
    """Every second name of a knowledge base, as a name trie sees a knowledge base."""

    def __init__(self, kb: KnowledgeBase, n_names: int) -> None:
        self._kb = kb
        ids = np.random.default_rng(2).permutation(kb.n_names)[:n_names]
        self._ids = np.sort(ids)
        self.n_names = len(ids)
        self.fingerprint = kb.fingerprint
        new_ids = np.full(kb.n_names, -1, np.int32)
        new_ids[self._ids] = np.arange(self.n_names, dtype=np.int32)
        rows = np.flatnonzero(new_ids[kb.alias_names] >= 0)
        names = new_ids[kb.alias_names[rows]]
        order = np.argsort(names, kind="stable")
        arrays = {
            "name_offsets": np.searchsorted(names[order], np.arange(self.n_names + 1)),
            "name_concepts": kb.alias_concepts[rows][order],
        }
        self._columns = storage.Columns(arrays, {})
        self.concept_group_masks = kb.concept_group_masks

    def name(self, name_id: int) -> str:
        """A name by its id among the chosen ones."""
        return self._kb.name(self._ids[name_id])

    def names(self) -> Iterator[str]:
        """All chosen names."""
        return map(self._kb.name, self._ids)


def build_trie(work: Path, options: argparse.Namespace) -> Figures:
    """A token trie over half of the names, as the linker builds it."""
    from benchmarks.decoding import train_tokenizer
    from spacy_bel.longbel.name_trie import NameTrie

    kb = KnowledgeBase.from_disk(work / "kb")
    part: Any = HalfOfNames(kb, options.names // 2)
    sample = [part.name(i) for i in range(0, part.n_names, max(1, part.n_names // 50_000))]
    train_tokenizer(sample, options.vocabulary).save_pretrained(work / "tokenizer")
    tokenizer = _tokenizer(work)
    del sample
    before = peak()
    start = time.perf_counter()
    trie = NameTrie.build(part, tokenizer)
    trie.to_disk(work / "trie", tokenizer)
    return {
        "names": part.n_names,
        "nodes": trie.trie.n_nodes,
        "disk_mb": _disk(work / "trie"),
        "seconds": time.perf_counter() - start,
        "peak_before_mb": before,
        "peak_mb": peak(),
    }


def walk_trie(work: Path, options: argparse.Namespace) -> Figures:
    """Open the trie and walk from its root to random names."""
    from spacy_bel.longbel.name_trie import NameTrie

    kb = KnowledgeBase.from_disk(work / "kb")
    tokenizer = _tokenizer(work)
    every = np.full(kb.concept_group_masks.shape[1], ~np.uint64(0))
    before = resident()
    start = time.perf_counter()
    trie = NameTrie.from_disk(work / "trie", kb, tokenizer).trie
    opening = time.perf_counter() - start
    opened = resident()
    rng = np.random.default_rng(3)
    start = time.perf_counter()
    for _ in range(WALKS):
        node = 0
        while not len(trie.sequences_at(node)):
            _, edges = trie.children(np.array([node]), every)
            node = int(rng.choice(edges)) + 1
    seconds = time.perf_counter() - start
    after = resident()
    return {
        "open_seconds": opening,
        "open_mb": opened["all"] - before["all"],
        "walk_microseconds": seconds / WALKS * 1e6,
        "resident_mb": after["all"] - before["all"],
        "own_mb": after["own"] - before["own"],
        "files_mb": after["files"] - before["files"],
    }


def nest(work: Path, options: argparse.Namespace) -> Figures:
    """Nested dictionaries over as many names as fit, and a token trie over the same names."""
    from spacy_bel.kb.token_trie import TokenTrie

    part = HalfOfNames(KnowledgeBase.from_disk(work / "kb"), options.names // 2)
    tokenizer = _tokenizer(work)
    order = np.random.default_rng(4).permutation(part.n_names)
    root: dict[int, Any] = {}
    pieces, lengths = [], []
    before = resident()["own"]
    held, kept = 0.0, 0.0
    for first in range(0, part.n_names, 10_000):
        names = [part.name(i) for i in order[first : first + 10_000]]
        tokens, offsets = tokenizer.name_sequences(names)
        pieces.append(tokens)
        lengths.append(np.diff(offsets))
        kept += (tokens.nbytes + lengths[-1].nbytes) / MB
        ids, bounds = tokens.tolist(), offsets.tolist()
        for begin, end in zip(bounds, bounds[1:], strict=False):
            node = root
            for token in ids[begin:end]:
                node = node.setdefault(token, {})
        held = resident()["own"] - before - kept
        if held > options.nested_cap:
            break
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    trie = TokenTrie.build(np.concatenate(pieces), bounds, np.ones((len(bounds) - 1, 1), np.uint64))
    arrays = sum(v.nbytes for v in vars(trie).values() if isinstance(v, np.ndarray)) / MB
    n = len(bounds) - 1
    return {
        "names": n,
        "nested_bytes_per_name": held * MB / n,
        "trie_bytes_per_name": arrays * MB / n,
        "times_smaller": held / arrays,
    }


STAGES: dict[str, Callable[[Path, argparse.Namespace], Figures]] = {
    "fixture": write_fixture,
    "build": build,
    "look up": look_up,
    "build trie": build_trie,
    "walk trie": walk_trie,
    "nested dictionaries": nest,
}


def _tokenizer(work: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    from spacy_bel.longbel.prompts import get_prompt
    from spacy_bel.longbel.tokenization import PromptTokenizer

    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
    return PromptTokenizer(tokenizer, get_prompt("short"))


def _disk(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.iterdir()) / MB


def main() -> None:
    """Run the stages one after the other, print what they measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--concepts", type=int, default=4_000_000)
    parser.add_argument("--names", type=int, default=10_000_000)
    parser.add_argument("--vocabulary", type=int, default=32_000, help="tokens of the tokenizer")
    parser.add_argument("--nested-cap", type=int, default=2048, help="MB of nested dictionaries")
    parser.add_argument("--work", type=Path, help="keep the files here; stages found are reused")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=STAGES, nargs="+", help="stages to run (needs --work)")
    parser.add_argument("--json", nargs="?", const="-", help="write the figures as JSON")
    options = parser.parse_args()
    if options.stage:
        json.dump(STAGES[options.stage](options.work, options), sys.stdout)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        figures = {}
        for stage in options.only or STAGES:
            figures[stage] = _run(stage, work, options)
            if options.json != "-":
                _show(stage, figures[stage])
    figures["machine"] = {"python": platform.python_version(), "platform": platform.platform()}
    if options.json == "-":
        print(json.dumps(figures, indent=2))
    elif options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


def _run(stage: str, work: Path, options: argparse.Namespace) -> Figures:
    """A stage in a process of its own, whose memory is only its own."""
    command = [sys.executable, "-m", "benchmarks.kb_scale", "--stage", stage, "--work", str(work)]
    for name in ("concepts", "names", "vocabulary", "nested_cap"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def _show(stage: str, figures: Figures) -> None:
    table = Table(title=stage, show_header=False)
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
        table.add_row(name.replace("_", " "), shown)
    Console().print(table)


if __name__ == "__main__":
    main()
