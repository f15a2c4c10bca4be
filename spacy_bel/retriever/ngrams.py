"""Exact search over character n-grams of all names of a knowledge base.

Names and mentions become TF-IDF vectors of their character n-grams (Salton and Buckley 1988,
doi 10.1016/0306-4573(88)90021-0), compared by their dot product; every name is scored, nothing is
approximated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb import storage
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold
from spacy_bel.retriever.distinct import search_keys
from spacy_bel.retriever.index import DECIMALS, CandidateIndex, Hit, Mixture, Retriever
from spacy_bel.retriever.name_table import Allowed, NameTable
from spacy_bel.retriever.ngram_vectors import CharSide, NgramOptions, NgramVectors
from spacy_bel.retriever.postings import Postings
from spacy_bel.retriever.stored import (
    REBUILD,
    check_made_from,
    check_setting,
    described,
    made_from,
    open_index,
    write_index,
)

_KIND = "n-gram index"
# Scores at which the search for the best names starts; lower ones where these find too few.
_FLOORS = (0.2, 0.1, 0.0)
_NAMES_PER_CONCEPT = 4
_AT_ONCE = 256

_Parts = tuple[tuple[str, float], ...]
_Key = tuple[_Parts, bytes]


class NgramIndex(CandidateIndex):
    """Finds the concepts whose names share most n-grams with a mention.

    kb: the knowledge base to search.
    options: those of `NgramOptions`; n-grams within words of two to four characters by default.

    Scores are in [0, 1]: cosines, or with ``char_side`` "separate" the mean of two cosines, or
    with "together" a dot product of vectors that may be shorter than 1.
    """

    def __init__(self, kb: KnowledgeBase, **options: Any) -> None:
        chosen = NgramOptions(**options)
        strings = kb.folded_names()
        try:
            vectors = NgramVectors.fit(chosen, strings)
        except ValueError as error:
            raise KnowledgeBaseError(
                f"No n-gram of the names of {kb.meta.name!r} is left ({error}): "
                "lower min_df or use shorter n-grams."
            ) from error
        arrays = {
            **vectors.arrays(),
            **Postings.from_vectors(vectors(strings)).arrays,
            **NameTable(kb).arrays,
        }
        columns = storage.Columns(arrays, {})
        meta = made_from(_KIND, kb, options=asdict(chosen))
        self._attach(kb, described(meta, columns), columns)

    def _attach(self, kb: KnowledgeBase, meta: Mapping[str, Any], columns: storage.Columns) -> None:
        check_made_from(meta, _KIND, kb)
        # Plain views of mapped files: a memmap object costs microseconds each time it is indexed.
        arrays = {name: np.asarray(array) for name, array in columns.arrays.items()}
        self.kb = kb
        self._meta, self._columns = meta, columns
        try:
            self.options = NgramOptions(**meta["options"])
            self._vectors = NgramVectors.from_arrays(self.options, arrays)
            self.names = NameTable(kb, arrays={name: arrays[name] for name in NameTable.COLUMNS})
            self._postings = Postings(arrays, len(self.names))
        except (KeyError, TypeError) as error:
            raise KnowledgeBaseError(
                f"The {_KIND} was written by another version of spacy-bel (it lacks or has too "
                f"much: {error}): {REBUILD}."
            ) from error

    def __len__(self) -> int:
        """Number of distinct folded names."""
        return len(self.names)

    def search(
        self, mentions: Sequence[str], group_masks: np.ndarray | None = None, k: int = 25
    ) -> list[list[Hit]]:
        """The k best concepts of each mention as (code, name, score), best first.

        As in `CandidateIndex.search`; concepts that share no n-gram with a mention are not found.
        """
        return self.search_mixtures([Mixture(((m, 1.0),)) for m in mentions], group_masks, k)

    def search_mixtures(
        self,
        mixtures: Sequence[Mixture],
        group_masks: np.ndarray | None = None,
        k: int = 25,
    ) -> list[list[Hit]]:
        """The k best concepts by the sums of vectors; see ``CandidateIndex.search_mixtures``.

        Scores are the sums of shares times scores.
        """
        masks = search_keys([mixture.text for mixture in mixtures], group_masks, k, str)
        parts = [tuple((fold(text), share) for text, share in m.parts) for m in mixtures]
        keys = [(some, mask) for some, (_, mask) in zip(parts, masks, strict=True)]
        distinct = list(dict.fromkeys(keys))
        found: dict[_Key, list[Hit]] = {}
        for start in range(0, len(distinct), _AT_ONCE):
            block = distinct[start : start + _AT_ONCE]
            found.update(zip(block, self._search(block, k), strict=True))
        return [list(found[key]) for key in keys]

    def _search(self, keys: Sequence[_Key], k: int) -> list[list[Hit]]:
        surfaces = [parts[0][0] for parts, _ in keys]
        allowed = [self.names.allowed(mask) if mask else None for _, mask in keys]
        vectors = self._mixed_vectors([parts for parts, _ in keys])
        found: list[list[Hit]] = [[] for _ in keys]
        todo, wanted = list(range(len(keys))), _NAMES_PER_CONCEPT * k
        while todo:
            best = [
                _best_names(scores, allowed[row], wanted)
                for row, scores in zip(todo, self._postings.scores(vectors[todo]), strict=True)
            ]
            results = self.names.ranked_together(
                [surfaces[row] for row in todo], best, [allowed[row] for row in todo], k
            )
            again = []
            for row, (names, _), hits in zip(todo, best, results, strict=True):
                found[row] = hits
                if len(hits) < k and len(names) >= wanted:  # too many names of the same concepts
                    again.append(row)
            todo, wanted = again, 4 * wanted
        return found

    def _mixed_vectors(self, mixtures: Sequence[_Parts]) -> sp.csr_matrix:
        """Sums of the vectors of strings by their shares, one row for each mixture."""
        parts = [part for mixture in mixtures for part in mixture]
        vectors = self._vectors([text for text, _ in parts])
        if len(parts) == len(mixtures):
            return vectors
        starts = np.cumsum([0, *map(len, mixtures)])
        shares = np.array([share for _, share in parts], np.float32)
        sums = sp.csr_matrix((shares, np.arange(len(parts)), starts)) @ vectors
        sums.sort_indices()  # added up in one order, whatever a mention is searched with
        return sums

    def to_disk(self, path: str | Path, *, force: bool = False) -> None:
        """Write a directory of plain arrays; ``force`` replaces an index that is there."""
        write_index(path, self._meta, self._columns, force=force)

    @classmethod
    def from_disk(
        cls, path: str | Path, kb: KnowledgeBase, *, verify: bool | None = None
    ) -> NgramIndex:
        """Open a directory by memory map.

        Raises FingerprintMismatchError if it was made from another knowledge base than ``kb``,
        KnowledgeBaseError if it is missing or damaged; ``verify`` is that of KnowledgeBase.
        """
        index = cls.__new__(cls)
        index._attach(kb, *open_index(path, _KIND, verify=verify))
        return index

    def to_bytes(self) -> bytes:
        """The index, without its knowledge base, as one msgpack message."""
        return storage.to_bytes(self._meta, self._columns)

    @classmethod
    def from_bytes(cls, data: bytes, kb: KnowledgeBase) -> NgramIndex:
        """Read what ``to_bytes`` gave; raises the errors of ``from_disk``."""
        index = cls.__new__(cls)
        index._attach(kb, *storage.from_bytes(data))
        return index


def _best_names(
    scores: np.ndarray, allowed: Allowed | None, wanted: int
) -> tuple[np.ndarray, np.ndarray]:
    """At least so many of the best names and all their ties, or all that score above 0.

    scores: one per name. Returns ids of names, and their scores rounded to ``DECIMALS``.
    """
    names = np.zeros(0, np.int64)
    for floor in _FLOORS:
        names = np.flatnonzero(scores > np.float32(floor))
        if allowed is not None:
            names = names[allowed.names[names]]
        if len(names) > wanted:
            # Compared after rounding, or a tie could be cut in two.
            rounded = scores[names].astype(np.float64).round(DECIMALS)
            last = np.partition(rounded, -wanted)[-wanted]
            if last > floor:
                kept = rounded >= last
                return names[kept], rounded[kept]
    rounded = scores[names].astype(np.float64).round(DECIMALS)
    return names[rounded > 0], rounded[rounded > 0]


@dataclass(frozen=True)
class NgramRetriever(NgramOptions, Retriever):
    """Character n-grams; the settings are those of `NgramOptions`."""

    @classmethod
    def published(cls, char_side: CharSide = "none", char_count: int = 16) -> NgramRetriever:
        """The settings of Sanz-Cruzado and Lever, BioNLP 2025; they tuned side and count."""
        return cls(
            ngram_range=(3, 3),
            analyzer="char",
            min_df=50,
            max_features=50_000,
            sublinear=False,
            char_side=char_side,
            char_count=char_count,
        )

    def build(self, kb: KnowledgeBase, *, progress: bool = False) -> NgramIndex:
        """Index all names; it takes seconds per 100,000 names, no progress is shown."""
        return NgramIndex(kb, **asdict(self))

    def from_disk(self, path: str | Path, kb: KnowledgeBase) -> NgramIndex:
        """Open what ``NgramIndex.to_disk`` wrote."""
        return self._checked(NgramIndex.from_disk(path, kb))

    def from_bytes(self, data: bytes, kb: KnowledgeBase) -> NgramIndex:
        """Read what ``NgramIndex.to_bytes`` gave."""
        return self._checked(NgramIndex.from_bytes(data, kb))

    def _checked(self, index: NgramIndex) -> NgramIndex:
        for field in fields(NgramOptions):
            stored, wanted = getattr(index.options, field.name), getattr(self, field.name)
            check_setting(_KIND, field.name, stored, wanted)
        return index
