"""Recall of candidates before and after a cross-encoder has re-ordered them.

    python -m benchmarks.reranking models/model-best --dev dev.spacy --test test.spacy

The corpora are DocBins of `python -m spacy bel candidates`. Every pair is read once; the order is
then judged three times: that of the retriever, of the cross-encoder alone, and of both, weighted by
`calibrate` on the development documents. With --shuffle candidates are read once more, in random
order. A composite mention counts if one of its parts is found. Differences from the retriever are
paired, with intervals from drawing documents anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy.training import Example

from spacy_bel.corpora.docs import examples
from spacy_bel.corpora.reading import read_documents
from spacy_bel.crossencoder.component import CrossEncoderPipe
from spacy_bel.evaluation.evaluation import Evaluation
from spacy_bel.evaluation.gold import Judge
from spacy_bel.evaluation.policies import Policies
from spacy_bel.evaluation.scorer import scored_documents

DOCS_AT_ONCE = 32
KS = (1, 5, 10)
ALONE = {"retriever_weight": 0.0, "bias": 0.0}


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pipeline", help="directory of a pipeline with bel_crossencoder")
    parser.add_argument("--dev", type=Path, required=True, help="development documents")
    parser.add_argument("--test", type=Path, required=True, help="documents to be judged")
    parser.add_argument("--dev-documents", type=int, default=60, help="how many to calibrate with")
    parser.add_argument("--documents", type=int, help="a sample of test documents")
    parser.add_argument("--candidates", type=int, default=10, help="how many are read")
    parser.add_argument("--component", default="bel_crossencoder")
    parser.add_argument("--shuffle", action="store_true", help="read in random order, too")
    parser.add_argument("--output", type=Path, help="write all figures as JSON")
    args = parser.parse_args()

    nlp = spacy.load(args.pipeline)
    pipe = nlp.get_pipe(args.component)
    assert isinstance(pipe, CrossEncoderPipe)
    pipe.candidates = args.candidates
    before = dict(pipe.cfg)
    fitted = pipe.calibrate(read(nlp, args.dev, args.dev_documents))

    def rows() -> list[Example]:
        return read(nlp, args.test, args.documents)

    retriever = judged(pipe, rows())
    start = time.perf_counter()
    logits = scored(pipe, rows())
    seconds = time.perf_counter() - start
    runs = {"retriever": retriever}
    for name, settings in (("alone", {**before, **ALONE}), ("calibrated", {**before, **fitted})):
        runs[name] = judged(pipe, reordered(pipe, rows(), logits, settings))
    if args.shuffle:
        pipe.shuffle = "always"
        again = scored(pipe, rows())
        runs["calibrated, shuffled"] = judged(
            pipe, reordered(pipe, rows(), again, {**before, **fitted})
        )
    report: dict[str, Any] = {
        "documents": len(retriever.documents),
        "mentions": retriever.mentions,
        "mentions_per_second": retriever.mentions / seconds,
        "calibration": dict(fitted),
    }
    print(f"{report['documents']} documents, {report['mentions']} mentions")
    for name, run in runs.items():
        estimates = run.estimates(KS)
        difference = run.estimates((1,), baseline=retriever)["recall@1"]
        report[name] = {key: list(value) for key, value in estimates.items()}
        report[name]["difference@1"] = list(difference)
        recalls = " / ".join(f"{100 * estimates[f'recall@{k}'][0]:.1f}" for k in KS)
        low, high = (100 * bound for bound in difference[1:])
        print(f"{name:22} {recalls}  {100 * difference[0]:+.2f} [{low:+.2f}, {high:+.2f}]")
    print(f"{report['mentions_per_second']:.1f} mentions/s")
    if args.output:
        args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def read(nlp: Language, path: Path, documents: int | None) -> list[Example]:
    """Examples of a corpus, or of a sample of it that is always the same."""
    found = list(examples(read_documents(path), nlp))
    if documents is None or len(found) <= documents:
        return found
    chosen = np.random.default_rng(0).choice(len(found), documents, replace=False)
    return [found[i] for i in sorted(chosen)]


def judged(pipe: CrossEncoderPipe, rows: Sequence[Example]) -> Evaluation:
    """Where the gold codes stand among the candidates."""
    evaluation = Evaluation(Judge(Policies(composite="any"), pipe.kb))
    for example in rows:
        evaluation.add(*scored_documents(example, pipe.spans_key))
    return evaluation


def scored(pipe: CrossEncoderPipe, rows: Sequence[Example]) -> list[Any]:
    """The logits of all pairs, batch by batch."""
    pipe.prepare()
    return [pipe.score_pairs([pipe.mark(e.predicted) for e in some]) for some in batches(rows)]


def reordered(
    pipe: CrossEncoderPipe,
    rows: Sequence[Example],
    logits: Sequence[Any],
    settings: Mapping[str, float],
) -> Sequence[Example]:
    """Examples whose predicted candidates are in the order of logits."""
    pipe.cfg.update(settings)
    for some, found in zip(batches(rows), logits, strict=True):
        marked = [pipe.mark(example.predicted) for example in some]
        for doc, links in zip(marked, pipe.rank(marked, found), strict=True):
            pipe.annotate(doc, links)
    return rows


def batches(rows: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """So many examples as are read at once."""
    for start in range(0, len(rows), DOCS_AT_ONCE):
        yield rows[start : start + DOCS_AT_ONCE]


if __name__ == "__main__":
    main()
