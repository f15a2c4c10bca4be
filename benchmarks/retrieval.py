"""Recall and speed of candidate retrieval on gold mentions, from terminology names alone.

    python -m benchmarks.retrieval --data DIR [--json FILE]

DIR holds ``corpora/ncbi-disease`` (PubTator) and ``kb/medic``; it defaults to the environment
variable SPACY_BEL_DATA. Every mention of the NCBI Disease test set counts; a hit is any gold code
among the k best, alternative codes resolved. Intervals: 1000 draws of documents, 95 %.
Speed counts distinct mentions, from strings to ranked codes; set OMP_NUM_THREADS=1 for one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from spacy_bel.corpora.pubtator import read_pubtator
from spacy_bel.evaluation.recall import gold_codes, rank_of_gold, recall_at_k
from spacy_bel.kb import KnowledgeBase
from spacy_bel.kb.readers import read
from spacy_bel.kb.text import fold
from spacy_bel.retriever.ngrams import NgramIndex

KS = (1, 5, 25)
Search = Callable[[list[str]], list[list[str]]]  # mentions -> their codes, best first


def exact(kb: KnowledgeBase) -> Search:
    """Codes with an equal name, preferred names first."""

    def codes(mention: str) -> list[str]:
        surface = fold(mention)
        found = kb.find(mention)
        return sorted(found, key=lambda code: (fold(kb.preferred_name(code)) != surface, code))

    return lambda mentions: [codes(mention) for mention in mentions]


def ngrams(kb: KnowledgeBase, **options: Any) -> Search:
    """Codes by cosine of character n-grams."""
    index = NgramIndex(kb, **options)
    return lambda mentions: [
        [code for code, _, _ in found] for found in index.search(mentions, k=max(KS))
    ]


SYSTEMS: dict[str, Callable[[KnowledgeBase], Search]] = {
    "exact match": exact,
    "n-grams 2-4": ngrams,
    "n-grams 3-3": lambda kb: ngrams(kb, ngram_range=(3, 3)),
}


def measure(kb: KnowledgeBase, documents: list[list[tuple[str, set[str]]]], system: str) -> dict:
    """Recall at each k, distinct mentions per second (best of three) and seconds to build."""
    start = time.perf_counter()
    search = SYSTEMS[system](kb)
    build = time.perf_counter() - start
    mentions = [mention for document in documents for mention, _ in document]
    distinct = list(dict.fromkeys(map(fold, mentions)))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        search(distinct)
        seconds.append(time.perf_counter() - start)
    found = iter(search(mentions))
    ranks = [[rank_of_gold(next(found), gold) for _, gold in document] for document in documents]
    recall = {f"recall@{k}": recall_at_k(ranks, k)._asdict() for k in KS}
    return {
        "system": system,
        **recall,
        "mentions_per_second": len(distinct) / min(seconds),
        "build_seconds": build,
    }


def main() -> None:
    """Measure every system and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SPACY_BEL_DATA"))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data DIR or set SPACY_BEL_DATA")
    kb = read(args.data / "kb" / "medic" / "medic_06Jul2012.txt.gz", "medic").build()
    corpus = args.data / "corpora" / "ncbi-disease" / "NCBItestset_corpus.txt"
    documents = [
        [(a.text, gold_codes(a.codes, kb.resolve)) for a in document.annotations]
        for document in read_pubtator(corpus)
    ]
    results = [measure(kb, documents, system) for system in SYSTEMS]

    mentions = sum(map(len, documents))
    table = Table(title=f"NCBI Disease test, {mentions} gold mentions; MEDIC, {len(kb)} concepts")
    for column in ("system", *(f"recall@{k}" for k in KS), "mentions/s", "build s"):
        table.add_column(column, justify="left" if column == "system" else "right")
    for result in results:
        recalls = [result[f"recall@{k}"] for k in KS]
        table.add_row(
            result["system"],
            *("{value:.1%} [{low:.1%}, {high:.1%}]".format(**recall) for recall in recalls),
            f"{result['mentions_per_second']:,.0f}",
            f"{result['build_seconds']:.1f}",
        )
    Console(width=120).print(table)
    if args.json:
        report = {"python": platform.python_version(), "results": results}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
