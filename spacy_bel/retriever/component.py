"""`bel_retriever`: the concepts whose names are most like the mention's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language

from ..candidates import Candidate
from ..errors import ModelError, SettingsError
from ..expansion import Query, expand
from ..kb.reference import KBReference
from ..linking_pipe import LinkingPipe, Links, MarkedDoc, in_batches
from ..sentences import sentence_starts
from .index import CandidateIndex, Mixture, Retriever
from .reformulation.answers import Answers
from .reformulation.base import QueryReformulator, Request, make_requests

#: Documents whose mentions are searched together, so that repeated mentions are searched once.
_DOCS_AT_ONCE = 32

RetrieverReference = Retriever | str | Path | None


class RetrieverPipe(LinkingPipe):
    """Ranks concepts by how like their names are to the mention; candidates carry that name.

    retriever: how names are compared, a `Retriever`; the directory of a bi-encoder; or None for
        character n-grams. Scores are those of the retriever, times the weight of the query (see
        `spacy_bel.expansion`); what scores below `threshold` is no link.
    abbreviations: search for the long forms, too, that the document defines, and for the names of
        elements and salts that are written as formulas.
    composites: search for the parts of composite mentions, too.
    reformulator: a `QueryReformulator`, such as a language model, that is shown each mention in its
        sentence and says its standard name; None for mentions alone. It is no part of a saved
        pipeline, which only names it in its config.
    mention_weight: the share of the mention, from 0 to 1, in what is searched for; the rest
        is that of the standard name, whose vector is added. Holds for each string that the mention
        is searched by; see `CandidateIndex.search_mixtures` for indexes without vectors.
    reformulation_cache: JSON lines in which the reformulator's answers are kept; None to forget
        them with the component.

    The other arguments are those of `LinkingPipe`. Semantic groups are filtered before the best are
    chosen.

    The index is made when it is first needed, or by `nlp.initialize`; do that before
    ``nlp.pipe(n_process=…)``, where otherwise every process would make its own. It is saved and
    loaded with the knowledge base, unless ``store_kb`` is false: then it is made again. A saved
    index of another knowledge base, or of other settings than the config has, raises
    FingerprintMismatchError; `build_index` replaces it.
    """

    def __init__(
        self,
        nlp: Language,
        name: str = "bel_retriever",
        *,
        kb: KBReference = None,
        retriever: RetrieverReference = None,
        abbreviations: bool = True,
        composites: bool = True,
        reformulator: QueryReformulator | None = None,
        mention_weight: float = 0.6,
        reformulation_cache: str | Path | None = None,
        max_candidates: int = 25,
        **settings: Any,
    ) -> None:
        super().__init__(nlp, name, kb=kb, max_candidates=max_candidates, **settings)
        self.retriever = resolve_retriever(retriever)
        self.abbreviations = abbreviations
        self.composites = composites
        if not 0 <= mention_weight <= 1:
            raise SettingsError(
                f"mention_weight is {mention_weight}: give the mention's share, 0 to 1."
            )
        self.mention_weight = mention_weight
        self._answers: Answers | None = None
        if reformulator is not None:
            self._answers = Answers(reformulator, reformulation_cache)
        self._index: CandidateIndex | None = None
        self._saved: Path | bytes | None = None

    @property
    def index(self) -> CandidateIndex:
        """The index of all names, opened or built on first use."""
        if self._index is None:
            if isinstance(self._saved, Path):
                self._index = self.retriever.from_disk(self._saved, self.kb)
            elif self._saved:
                self._index = self.retriever.from_bytes(self._saved, self.kb)
                self._saved = None
            else:
                self.build_index()
        assert self._index is not None
        return self._index

    def build_index(self) -> None:
        """Index the names of the knowledge base, whatever index was loaded."""
        self._index, self._saved = self.retriever.build(self.kb, progress=True), None

    def prepare(self) -> None:
        """Open knowledge base, index and reformulator."""
        super().prepare()
        _ = self.index
        if self._answers is not None:
            self._answers.open()

    def link(self, docs: Iterator[MarkedDoc]) -> Iterator[Links | Exception]:
        """Candidates of every mention, document by document."""
        return in_batches(docs, self._search, _DOCS_AT_ONCE)

    def _search(self, batch: list[MarkedDoc]) -> list[Links]:
        linkable = [{m.index for m in self.linkable(marked.mentions)} for marked in batch]
        queries: list[list[Query]] = []
        groups: list[tuple[str, ...]] = []
        requests: list[Request] = []
        for marked, wanted in zip(batch, linkable, strict=True):
            expanded = expand(
                marked.doc.text,
                [(m.span.start_char, m.span.end_char) for m in marked.mentions],
                abbreviations=self.abbreviations,
                composites=self.composites,
            )
            for mention, alternatives in zip(marked.mentions, expanded, strict=True):
                if mention.index in wanted:
                    queries.append(alternatives)
                    groups.append(mention.groups)
            if self._answers is not None:
                requests += make_requests(
                    marked.doc.text,
                    sentence_starts(marked.doc),
                    [
                        (m.span.start_char, m.span.end_char, m.groups)
                        for m in marked.mentions
                        if m.index in wanted
                    ],
                )
        if not queries:
            return [[[] for _ in marked.mentions] for marked in batch]
        masks = {some: self.kb.group_mask(some) for some in set(groups)}
        found = iter(
            self.index.search_queries(
                self._reformulated(queries, requests),
                np.stack([masks[some] for some in groups]),
                self.max_candidates,
            )
        )
        return [
            [
                [Candidate(*hit) for hit in next(found)] if mention.index in wanted else []
                for mention in marked.mentions
            ]
            for marked, wanted in zip(batch, linkable, strict=True)
        ]

    def _reformulated(
        self, queries: list[list[Query]], requests: list[Request]
    ) -> Sequence[Sequence[Query | Mixture]]:
        """Each query mixed with the standard name of its mention, where there is one."""
        if self._answers is None:
            return queries
        share = 1 - self.mention_weight
        names = self._answers.names(requests)
        return [
            [Mixture.of(query, name, share) for query in alternatives] if name else alternatives
            for alternatives, name in zip(queries, names, strict=True)
        ]

    def _kb_changed(self) -> None:
        super()._kb_changed()
        self._index = self._saved = None

    def _disk_writers(self) -> dict[str, Callable[[Path], None]]:
        return {"index": self._index_to_disk}

    def _disk_readers(self) -> dict[str, Callable[[Path], None]]:
        return {"index": self._index_from_disk}

    def _bytes_writers(self) -> dict[str, Callable[[], Any]]:
        return {"index": lambda: self.index.to_bytes() if self.store_kb else b""}

    def _bytes_readers(self) -> dict[str, Callable[[Any], None]]:
        return {"index": self._index_from_bytes}

    def _index_to_disk(self, path: Path) -> None:
        if self.store_kb and self._saved != path.resolve():
            self.index.to_disk(path, force=path.exists())

    def _index_from_disk(self, path: Path) -> None:
        if path.is_dir():
            self._index, self._saved = None, path.resolve()

    def _index_from_bytes(self, data: Any) -> None:
        if data:
            self._index, self._saved = None, data

    def _state(self) -> dict[str, Any]:
        # Another process opens the same files; an index that is nowhere on disk goes as bytes.
        saved = self._saved
        if saved is None and self._index is not None:
            saved = self._index.to_bytes()
        return {**super()._state(), "_index": None, "_saved": saved}


def resolve_retriever(reference: RetrieverReference) -> Retriever:
    """The retriever that a setting names: itself, a bi-encoder's directory, n-grams for None.

    Raises ModelError if it names none.
    """
    if isinstance(reference, Retriever):
        return reference
    if reference is None:
        from .ngrams import NgramRetriever

        return NgramRetriever()
    if isinstance(reference, (str, Path)):
        from .dense import DenseRetriever

        return DenseRetriever(model=str(reference))
    raise ModelError(
        f"{reference!r} is no retriever: give the directory of a bi-encoder, or a block such as "
        '{"@misc": "spacy_bel.NgramRetriever.v1"}, or nothing for character n-grams.'
    )
