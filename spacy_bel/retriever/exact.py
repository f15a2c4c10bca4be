"""Concepts that have the mention as a name, up to case and whitespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spacy_bel.kb import storage
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.retriever.distinct import search_keys
from spacy_bel.retriever.index import CandidateIndex, Hit, Retriever
from spacy_bel.retriever.name_table import NameTable
from spacy_bel.retriever.stored import (
    check_made_from,
    described,
    made_from,
    open_index,
    write_index,
)

_KIND = "exact-match index"


class ExactIndex(CandidateIndex):
    """Finds concepts by equal names; every score is 1.

    Concepts of which the mention is the preferred name come first, then codes ascend.
    """

    def __init__(self, kb: KnowledgeBase) -> None:
        columns = storage.Columns(NameTable(kb).arrays, {})
        self._attach(kb, described(made_from(_KIND, kb), columns), columns)

    def _attach(self, kb: KnowledgeBase, meta: Mapping[str, Any], columns: storage.Columns) -> None:
        check_made_from(meta, _KIND, kb)
        self.kb = kb
        self._meta, self._columns = meta, columns
        self.names = NameTable(kb, arrays=columns.arrays)

    def search(
        self, mentions: Sequence[str], group_masks: np.ndarray | None = None, k: int = 25
    ) -> list[list[Hit]]:
        """The k first concepts with a name equal to each mention; as in `CandidateIndex.search`."""
        keys = search_keys(mentions, group_masks, k)
        found = {}
        for surface, mask in dict.fromkeys(keys):
            name = self.kb.folded_id(surface)
            names = np.array([name] if name >= 0 else [], np.int64)
            allowed = self.names.allowed(mask) if mask else None
            entries = self.names.entries(names, np.ones(len(names)), allowed)
            found[surface, mask] = self.names.ranked(surface, entries, k)
        return [list(found[key]) for key in keys]

    def to_disk(self, path: str | Path, *, force: bool = False) -> None:
        """Write a directory of plain arrays; ``force`` replaces an index that is there."""
        write_index(path, self._meta, self._columns, force=force)

    def to_bytes(self) -> bytes:
        """The index, without its knowledge base, as one msgpack message."""
        return storage.to_bytes(self._meta, self._columns)

    @classmethod
    def from_disk(cls, path: str | Path, kb: KnowledgeBase) -> ExactIndex:
        """Open a directory by memory map.

        Raises FingerprintMismatchError if it was made from another knowledge base than ``kb``,
        KnowledgeBaseError if it is missing or damaged.
        """
        index = cls.__new__(cls)
        index._attach(kb, *open_index(path, _KIND))
        return index

    @classmethod
    def from_bytes(cls, data: bytes, kb: KnowledgeBase) -> ExactIndex:
        """Read what ``to_bytes`` gave; raises the errors of ``from_disk``."""
        index = cls.__new__(cls)
        index._attach(kb, *storage.from_bytes(data))
        return index


@dataclass(frozen=True)
class ExactRetriever(Retriever):
    """Exact match; it has no settings."""

    def build(self, kb: KnowledgeBase, *, progress: bool = False) -> ExactIndex:
        """Index all names; no progress is shown, since it takes no time."""
        return ExactIndex(kb)

    def from_disk(self, path: str | Path, kb: KnowledgeBase) -> ExactIndex:
        """Open what ``ExactIndex.to_disk`` wrote."""
        return ExactIndex.from_disk(path, kb)

    def from_bytes(self, data: bytes, kb: KnowledgeBase) -> ExactIndex:
        """Read what ``ExactIndex.to_bytes`` gave."""
        return ExactIndex.from_bytes(data, kb)
