"""How often beam search misses the best name, and what exact search takes.

    python -m benchmarks.exact_search [--documents 30] [--beams 1 5] [--length-penalty 1.0]

The default model, which is trained, links NCBI Disease test mentions to MEDIC names, by beam search
and by exact search, which proves its best name unless it says otherwise. Data: the directory that
SPACY_BEL_DATA or --data names.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.decoding import CORPORA, TIE, to_document
from spacy_bel.corpora.reading import read_documents
from spacy_bel.kb.readers import read
from spacy_bel.longbel.document import Document
from spacy_bel.longbel.engine import Engine
from spacy_bel.longbel.models.loading import resolve_model
from spacy_bel.longbel.name_trie import NameTrie
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.search import Hypothesis
from spacy_bel.longbel.tokenization import PromptTokenizer


def link(engine: Engine, documents: list[Document]) -> tuple[list[list[Hypothesis]], float]:
    """Generated names of every mention, and mentions per second."""
    start = time.perf_counter()
    found = [mention for document in engine.generate(documents) for mention in document]
    return found, len(found) / (time.perf_counter() - start)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Both searches for each number of beams."""
    documents_path, kb_path, kb_format = CORPORA["ncbi"]
    data = Path(args.data)
    kb = read(next(data.glob(kb_path)), kb_format).build()
    records = read_documents(str(data / documents_path))
    documents = [to_document(r, kb.groups) for r, _ in zip(records, range(args.documents))]  # noqa: B905
    model = resolve_model(None)
    prompt = get_prompt(getattr(model, "prompt", None) or "mention")
    trie = NameTrie.build(kb, PromptTokenizer(model.tokenizer, prompt))
    rows = []
    for beams in args.beams:
        settings = {"num_beams": beams, "length_penalty": args.length_penalty}
        searched, beam_rate = link(Engine(model, trie, prompt, **settings), documents)
        exact = Engine(model, trie, prompt, decoding="exact", **settings)
        proven, exact_rate = link(exact, documents)
        pairs = list(zip(searched, proven, strict=True))
        missed = sum(b[0].log_score > a[0].log_score + TIE for a, b in pairs)
        worse = sum(a[0].log_score > b[0].log_score + TIE for a, b in pairs)
        rows.append(
            {
                "beams": beams,
                "mentions": len(pairs),
                "missed": missed,
                "exact_worse": worse,
                "unproven": exact.report.unproven,
                "beam_mentions_per_second": beam_rate,
                "exact_mentions_per_second": exact_rate,
                "exact_tokens": exact.report.beam_tokens / len(pairs),
            }
        )
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("SPACY_BEL_DATA"), help="data directory")
    parser.add_argument("--documents", type=int, default=30)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--length-penalty", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    if not args.data:
        parser.error("give --data, or set SPACY_BEL_DATA")
    rows = measure(args)
    table = Table(title=f"{rows[0]['mentions']} mentions, length penalty {args.length_penalty}")
    columns = ("beams", "missed by beams", "unproven", "beam search /s", "exact /s", "exact tokens")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row["beams"]),
            str(row["missed"]),
            str(row["unproven"]),
            f"{row['beam_mentions_per_second']:.1f}",
            f"{row['exact_mentions_per_second']:.1f}",
            f"{row['exact_tokens']:.0f}",
        )
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
