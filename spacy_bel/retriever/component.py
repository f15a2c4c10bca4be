"""`bel_retriever`: the concepts whose names are most like the mention's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language

from ..candidates import Candidate
from ..kb.reference import KBReference
from ..linking_pipe import LinkingPipe, Links, MarkedDoc
from .ngrams import NgramIndex

#: Documents whose mentions are searched together, so that repeated mentions are searched once.
_DOCS_AT_ONCE = 32


class Retriever(LinkingPipe):
    """Ranks concepts by the cosine of character n-gram TF-IDF vectors, over all their names.

    The search is exact; semantic groups are filtered before the best are chosen. Scores are
    cosines, in [0, 1]. ngram_range: shortest and longest n-gram, within words. The other arguments
    are those of `LinkingPipe`.
    """

    def __init__(
        self,
        nlp: Language,
        name: str = "bel_retriever",
        *,
        kb: KBReference = None,
        ngram_range: tuple[int, int] = (2, 4),
        max_candidates: int = 25,
        **settings: Any,
    ) -> None:
        super().__init__(nlp, name, kb=kb, max_candidates=max_candidates, **settings)
        self.ngram_range = ngram_range
        self._index: NgramIndex | None = None
        self._index_directory: Path | None = None

    @property
    def index(self) -> NgramIndex:
        """The index of all names, built or opened on first use."""
        if self._index is None:
            if self._index_directory is not None:
                self._index = NgramIndex.from_disk(self._index_directory, self.kb)
            else:
                self._index = NgramIndex(self.kb, ngram_range=self.ngram_range)
        return self._index

    def prepare(self) -> None:
        """Open knowledge base and index."""
        super().prepare()
        _ = self.index

    def link(self, docs: Iterator[MarkedDoc]) -> Iterator[Links | Exception]:
        """Candidates of every mention, document by document."""
        while batch := list(islice(docs, _DOCS_AT_ONCE)):
            found = iter(self._search(batch))
            for marked in batch:
                linkable = {mention.index for mention in self.linkable(marked.mentions)}
                yield [next(found) if m.index in linkable else [] for m in marked.mentions]

    def _search(self, batch: list[MarkedDoc]) -> Links:
        mentions = [mention for marked in batch for mention in self.linkable(marked.mentions)]
        if not mentions:
            return []
        masks = {groups: self.kb.group_mask(groups) for groups in {m.groups for m in mentions}}
        rows = self.index.search(
            [mention.span.text for mention in mentions],
            np.stack([masks[mention.groups] for mention in mentions]),
            self.max_candidates,
        )
        return [[Candidate(*row) for row in candidates] for candidates in rows]

    def _kb_changed(self) -> None:
        super()._kb_changed()
        self._index = self._index_directory = None

    def _disk_writers(self) -> dict[str, Callable[[Path], None]]:
        return {"index": self._index_to_disk}

    def _disk_readers(self) -> dict[str, Callable[[Path], None]]:
        return {"index": self._index_from_disk}

    def _index_to_disk(self, path: Path) -> None:
        if self.store_kb and self._index_directory != path.resolve():
            self.index.to_disk(path, force=path.exists())

    def _index_from_disk(self, path: Path) -> None:
        if path.is_dir():
            self._index_directory = path.resolve()
            self._index = None

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "_index": None}
