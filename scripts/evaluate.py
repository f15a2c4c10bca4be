"""Evaluates the default pipeline and the n-gram baseline on an annotated corpus.

    python scripts/evaluate.py hpo_notes [--split test] [--pipeline DIR] [--output metrics]

Both systems get the gold mentions and rank concepts for them. Prints recall and mean reciprocal
rank with document-bootstrap intervals, and the paired difference; leaves them in
``<output>/<corpus>.json`` and the ranked links in ``<output>/<corpus>-<system>.jsonl``, which
``python -m spacy bel evaluate`` compares with other runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import spacy
from rich.console import Console
from spacy.language import Language
from tqdm import tqdm

from spacy_bel.cli.output import to_record
from spacy_bel.cli.pipeline import link_records, load_pipeline, mention_key
from spacy_bel.cli.scores import counts_text, scores_table
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.reading import read_documents
from spacy_bel.errors import BelError
from spacy_bel.evaluation.evaluation import KS, Evaluation, evaluate
from spacy_bel.evaluation.policies import Policies
from spacy_bel.kb import KnowledgeBase, load_default_kb

ASSETS = Path(__file__).parent.parent / "assets"
DEFAULT, NGRAMS = "default pipeline", "n-grams"


@dataclass(frozen=True)
class Corpus:
    """Where a corpus lies under ``assets``, and what its codes are.

    kb: directory of the knowledge base; None for the one that comes along.
    made_by: project command that unpacks it.
    labels: mentions of other labels are left out; None for all.
    policies: what differs from the defaults.
    """

    splits: dict[str, str]
    kb: str | None = None
    labels: tuple[str, ...] | None = None
    made_by: str = ""
    policies: dict[str, str] = field(default_factory=dict)


CORPORA = {
    "hpo_notes": Corpus({"dev": "hpo_notes/dev.jsonl", "test": "hpo_notes/test.jsonl"}),
    "ncbi-disease": Corpus(
        {
            "dev": "ncbi-disease/NCBIdevelopset_corpus.txt",
            "test": "ncbi-disease/NCBItestset_corpus.txt",
        },
        kb="kb/ctd-diseases",
        made_by="corpus-ncbi-disease",
    ),
    "bc5cdr-disease": Corpus(
        {
            "dev": "bc5cdr/CDR_Data/CDR.Corpus.v010516/CDR_DevelopmentSet.PubTator.txt",
            "test": "bc5cdr/CDR_Data/CDR.Corpus.v010516/CDR_TestSet.PubTator.txt",
        },
        kb="kb/ctd-diseases",
        labels=("Disease",),
        made_by="corpus-bc5cdr",
    ),
}


def gold(corpus: Corpus, split: str, assets: Path) -> list[CorpusDocument]:
    """Documents of a split with the mentions that are asked for."""
    how = f"`spacy project assets --extra` and `spacy project run {corpus.made_by}`"
    documents = read_documents(_there(assets / corpus.splits[split], how))
    return [
        replace(
            document,
            annotations=[
                a for a in document.annotations if corpus.labels is None or a.type in corpus.labels
            ],
        )
        for document in documents
    ]


def systems(kb: Path | None, pipeline: str | None) -> Iterator[tuple[str, Language]]:
    """The pipelines to compare, over the same knowledge base, the default one if None."""
    yield DEFAULT, load_pipeline(pipeline, kb)
    nlp = spacy.blank("en")
    config = {"kb": None if kb is None else str(kb), "unmapped_labels": "all"}
    nlp.add_pipe("bel_retriever", config=config)
    yield NGRAMS, nlp


def link(
    nlp: Language, documents: list[CorpusDocument], name: str, output: Path
) -> list[CorpusDocument]:
    """Links of one system; also written to a file."""
    records: list[dict[str, Any]] = []
    linked = link_records(nlp, documents, batch_size=64, on_failure=_fail)
    for record, doc in tqdm(linked, name, total=len(documents), unit="doc", disable=None):
        records.append(to_record(record, doc, mention_key(nlp, record), max(KS)))
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    output.write_text(lines, encoding="utf-8", newline="\n")
    return list(read_documents(output, "jsonl"))


def _fail(document: str, error: Exception) -> None:
    raise error


def _there(path: Path, how: str) -> Path:
    if not path.exists():
        raise SystemExit(f"{path} is not there. Get it with {how}, then run this again.")
    return path


def main() -> None:
    """Link, evaluate, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("--split", default="all", help="dev, test or all")
    parser.add_argument("--pipeline", help="pipeline to evaluate; else the default")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="where corpora lie")
    parser.add_argument("--kb", type=Path, help="knowledge base to link to instead")
    parser.add_argument("--output", type=Path, default=Path("metrics"))
    args = parser.parse_args()
    corpus = CORPORA[args.corpus]
    splits = list(corpus.splits) if args.split == "all" else [args.split]
    if not set(splits) <= set(corpus.splits):
        parser.error(f"{args.corpus} has the splits {', '.join(corpus.splits)}")
    documents = {split: gold(corpus, split, args.assets) for split in splits}
    everything = [document for split in splits for document in documents[split]]
    path = args.kb
    if path is None and corpus.kb is not None:
        made = f"`spacy project run kb-{Path(corpus.kb).name}`"
        path = _there(args.assets / corpus.kb, made)
    kb = load_default_kb() if path is None else KnowledgeBase.from_disk(path)
    args.output.mkdir(parents=True, exist_ok=True)
    console = Console()
    runs: dict[str, dict[str, Evaluation]] = {}
    for name, nlp in systems(path, args.pipeline):
        file = args.output / f"{args.corpus}-{name.replace(' ', '-')}.jsonl"
        links = link(nlp, everything, name, file)
        parts = {**documents, **({"all": everything} if len(splits) > 1 else {})}
        runs[name] = {
            split: evaluate(_only(links, part), part, kb=kb, policies=Policies(**corpus.policies))
            for split, part in parts.items()
        }
    reports = {
        split: {
            name: runs[name][split].report(
                KS, baseline=runs[NGRAMS][split] if name == DEFAULT else None
            )
            for name in runs
        }
        for split in runs[DEFAULT]
    }
    for split, report in reports.items():
        title = f"{args.corpus}, {split}: {report[DEFAULT]['documents']} documents, {kb.meta.name}"
        rows = [(name, report[name]["scores"]) for name in runs]
        console.print(scores_table(rows, title=title))
        difference = [("difference", report[DEFAULT]["difference"])]
        console.print(scores_table(difference, signed=True))
    console.print(counts_text(report[DEFAULT]), markup=False, highlight=False)
    result = {
        "corpus": args.corpus,
        "kb": {"name": kb.meta.name, "release": kb.release, "fingerprint": kb.fingerprint},
        "splits": reports,
    }
    target = args.output / f"{args.corpus}.json"
    target.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    console.print(f"Figures in {target}, links beside it.", highlight=False)


def _only(links: list[CorpusDocument], part: list[CorpusDocument]) -> list[CorpusDocument]:
    ids = {document.id for document in part}
    return [document for document in links if document.id in ids]


if __name__ == "__main__":
    try:
        main()
    except BelError as error:
        sys.exit(f"Error: {error}")
