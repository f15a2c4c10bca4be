"""Candidates for the gold mentions of a corpus, such as a re-ranker is trained with.

Where training mentions are names of the knowledge base, a training mention would find itself by its
own string, and a re-ranker would learn that the first candidate is always right. `cross_fit` keeps
that from happening.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.folds import assign_folds, without_copies
from spacy_bel.corpora.training_mentions import add_training_mentions
from spacy_bel.expansion import expand
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.retriever.index import CandidateIndex, Retriever

PROVENANCE = "candidates"
"""Key of ``CorpusDocument.meta`` that says which candidates those of the document are."""

Groups = Callable[[str], Sequence[str] | None]
"""From the label of a mention to the semantic groups to search, or None to search for nothing."""

_DOCS_AT_ONCE = 32


@dataclass(frozen=True)
class Proposals:
    """How candidates are found: as `bel_retriever` with the same settings finds them.

    retriever: how names are compared. groups: where to look for mentions of each label.
    k: candidates kept of each mention. abbreviations, composites: widen queries.
    """

    retriever: Retriever
    groups: Groups
    k: int = 10
    abbreviations: bool = True
    composites: bool = True

    def propose(
        self, kb: KnowledgeBase, documents: Iterable[CorpusDocument], **about: Any
    ) -> Iterator[CorpusDocument]:
        """Each document with the k best concepts of each mention as its links.

        kb: what to search; it must not have names that come from these documents.
        about: what else to say of the candidates in ``meta["candidates"]``, beside retriever,
            knowledge base and settings.

        Links that annotations had are replaced. Mentions whose label is not searched for, or
        without a letter or digit, get none.
        """
        index = self.retriever.build(kb, progress=True)
        about = {**self._settings(kb), **about}
        stream = iter(documents)
        while batch := list(islice(stream, _DOCS_AT_ONCE)):
            found = iter(self._search(index, batch))
            for document in batch:
                annotations = [replace(a, links=next(found)) for a in document.annotations]
                meta = {**document.meta, PROVENANCE: about}
                yield replace(document, annotations=annotations, meta=meta)

    def cross_fit(
        self,
        kb: KnowledgeBase,
        documents: Sequence[CorpusDocument],
        *,
        folds: int = 5,
        others: Sequence[CorpusDocument] = (),
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> list[CorpusDocument]:
        """Each document with candidates by a knowledge base that has the mentions of the others.

        kb: the terminology. folds: into how many parts the documents are drawn; the names of those
        of one part are those of ``kb`` and the mentions of all other parts. others: further
        documents whose mentions are names for every part; those with the text of one of
        ``documents`` are left out. progress: told what is done next.

        Documents of equal text or id are put into the same part, so that no copy of a document
        betrays it. The order of the documents stays. Raises SettingsError if there are fewer
        documents than folds.
        """
        part_of = assign_folds(documents, folds, seed)
        results: list[CorpusDocument | None] = [None] * len(documents)
        for fold in range(folds):
            if progress:
                progress(f"Fold {fold + 1} of {folds}")
            mine = [i for i, part in enumerate(part_of) if part == fold]
            rest = [d for d, part in zip(documents, part_of, strict=True) if part != fold]
            names = add_training_mentions(kb, [*rest, *without_copies(others, documents)])
            found = self.propose(names, [documents[i] for i in mine], fold=fold, folds=folds)
            for i, document in zip(mine, found, strict=True):
                results[i] = document
        return [document for document in results if document is not None]

    def _search(
        self, index: CandidateIndex, documents: Sequence[CorpusDocument]
    ) -> list[list[Candidate]]:
        """Candidates of all mentions of some documents, in order."""
        queries, masks, searched = [], [], []
        for document in documents:
            expanded = expand(
                document.text,
                [(a.start, a.end) for a in document.annotations],
                abbreviations=self.abbreviations,
                composites=self.composites,
            )
            for annotation, alternatives in zip(document.annotations, expanded, strict=True):
                groups = self.groups(annotation.type)
                text = document.text[annotation.start : annotation.end]
                wanted = groups is not None and any(map(str.isalnum, text))
                searched.append(wanted)
                if wanted:
                    queries.append(alternatives)
                    masks.append(index.kb.group_mask(groups or ()))
        if not queries:
            return [[] for _ in searched]
        found = iter(index.search_queries(queries, np.stack(masks), self.k))
        return [[Candidate(*hit) for hit in next(found)] if some else [] for some in searched]

    def _settings(self, kb: KnowledgeBase) -> dict[str, Any]:
        return {
            "retriever": repr(self.retriever),
            "kb": kb.meta.name,
            "kb_fingerprint": kb.meta.fingerprint,
            "k": self.k,
            "abbreviations": self.abbreviations,
            "composites": self.composites,
        }
