"""Exact search over character n-grams of all names of a knowledge base.

Names and mentions become TF-IDF vectors of their character n-grams (Salton and Buckley 1988,
doi 10.1016/0306-4573(88)90021-0), compared by cosine; every name is
scored, nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError
from spacy_bel.kb import storage
from spacy_bel.kb.arrays import offsets, runs
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold

_KIND = "n-gram index"
# Weights are float32: scores that agree in six decimals count as equal.
_DECIMALS = 6
# Scores at which the search for the best names starts; lower ones only where these find too few.
_FLOORS = (0.4, 0.2, 0.1, 0.0)
_CACHED_MASKS = 64


class NgramIndex:
    """Finds the concepts whose names share most n-grams with a mention.

    kb: the knowledge base to search.
    ngram_range: shortest and longest n-gram, in characters.
    analyzer: "char_wb" for n-grams within words, "char" also across them.
    min_df: drop n-grams of fewer names than this.
    max_features: keep only so many of the most frequent n-grams.
    sublinear: count repeated n-grams logarithmically.
    """

    def __init__(
        self,
        kb: KnowledgeBase,
        *,
        ngram_range: tuple[int, int] = (2, 4),
        analyzer: Literal["char_wb", "char"] = "char_wb",
        min_df: int = 1,
        max_features: int | None = None,
        sublinear: bool = True,
    ) -> None:
        options: dict[str, Any] = {
            "ngram_range": list(ngram_range),
            "analyzer": analyzer,
            "min_df": min_df,
            "max_features": max_features,
            "sublinear": sublinear,
        }
        vectorizer = _vectorizer(options)
        try:
            weights = vectorizer.fit_transform(kb.folded_names()).T.tocsr()
        except ValueError as error:
            raise KnowledgeBaseError(
                f"No n-gram of the names of {kb.meta.name!r} is left ({error}): "
                "lower min_df or use shorter n-grams."
            ) from error
        weights.sort_indices()
        ngrams = "\n".join(vectorizer.get_feature_names_out())
        row_offsets, rows = _rows_by_folded_name(kb)
        arrays = {
            "ngrams_text": np.frombuffer(ngrams.encode("utf-8"), np.uint8),
            "idf": vectorizer.idf_.astype(np.float64),
            "weight_offsets": weights.indptr.astype(np.int64),
            "weight_names": weights.indices.astype(np.int32),
            "weights": weights.data,
            "row_offsets": row_offsets,
            "rows": rows,
            "code_ranks": np.argsort(np.argsort(list(kb))).astype(np.int32),
        }
        columns = storage.Columns(arrays, {})
        files = storage.describe(columns)
        meta = {
            "format_version": storage.FORMAT_VERSION,
            "kind": _KIND,
            "options": options,
            "kb_name": kb.meta.name,
            "kb_fingerprint": kb.fingerprint,
            "files": files,
            "fingerprint": storage.fingerprint(files, []),
        }
        self._attach(kb, meta, columns)

    def _attach(self, kb: KnowledgeBase, meta: Mapping[str, Any], columns: storage.Columns) -> None:
        if meta.get("kind") != _KIND:
            raise KnowledgeBaseError(f"This is no {_KIND}: give what NgramIndex.to_disk wrote.")
        if meta["kb_fingerprint"] != kb.fingerprint:
            raise FingerprintMismatchError(
                f"The {_KIND} was made from another knowledge base ({meta['kb_name']!r}) than "
                f"{kb.meta.name!r} ({kb.release}): build it again with NgramIndex(kb)."
            )
        arrays = columns.arrays
        self.kb = kb
        self.options: Mapping[str, Any] = meta["options"]
        self._meta, self._columns = meta, columns
        self._allowed_by_mask: dict[bytes, _Allowed | None] = {}
        ngrams = arrays["ngrams_text"].tobytes().decode("utf-8").split("\n")
        self._vectorizer = _vectorizer(meta["options"], vocabulary=ngrams)
        self._vectorizer.idf_ = np.asarray(arrays["idf"])
        self._row_offsets, self._rows = arrays["row_offsets"], arrays["rows"]
        self._code_ranks = arrays["code_ranks"]
        # One row per n-gram, so that a mention touches only the names that share n-grams with it.
        self._weights = sp.csr_matrix(
            (arrays["weights"], arrays["weight_names"], arrays["weight_offsets"]),
            shape=(len(ngrams), len(self._row_offsets) - 1),
            copy=False,
        )

    def __len__(self) -> int:
        """Number of distinct folded names."""
        return self._weights.shape[1]

    def search(
        self, mentions: Sequence[str], group_masks: np.ndarray | None = None, k: int = 25
    ) -> list[list[tuple[str, str, float]]]:
        """The k best concepts of each mention as (code, name, cosine), best first.

        group_masks: uint64, shape (mentions, words), from ``KnowledgeBase.group_mask``; concepts
            outside the groups of a mention are left out before the best are chosen.

        A mention gets fewer than k concepts if no more share an n-gram with it. Ties are broken by
        exact surface match, preferred name, then code; the result for a mention does not depend on
        the other mentions.
        """
        if group_masks is not None and len(group_masks) != len(mentions):
            raise ValueError(f"{len(mentions)} mentions need as many rows of group_masks.")
        if k < 1:
            raise ValueError(f"k is {k}: ask for at least one concept.")
        if not len(mentions):
            return []
        folded = [fold(mention) for mention in mentions]
        masks = (
            [b""] * len(folded) if group_masks is None else [row.tobytes() for row in group_masks]
        )
        distinct = dict.fromkeys(zip(folded, masks, strict=True))
        surfaces = list(dict.fromkeys(folded))
        vectors = self._vectorizer.transform(surfaces)
        row_of = {surface: row for row, surface in enumerate(surfaces)}
        found = {}
        for surface, mask in distinct:
            allowed = self._allowed(mask) if mask else None
            start, end = vectors.indptr[row_of[surface] : row_of[surface] + 2]
            ngrams, weights = vectors.indices[start:end], vectors.data[start:end]
            found[surface, mask] = self._search_one(surface, ngrams, weights, allowed, k)
        return [list(found[key]) for key in zip(folded, masks, strict=True)]

    def to_disk(self, path: str | Path, *, force: bool = False) -> None:
        """Write a directory of plain arrays; ``force`` replaces an index that is there."""
        storage.write_directory(Path(path).absolute(), self._meta, self._columns, force=force)

    @classmethod
    def from_disk(
        cls, path: str | Path, kb: KnowledgeBase, *, verify: bool | None = None
    ) -> NgramIndex:
        """Open a directory by memory map.

        Raises FingerprintMismatchError if it was made from another knowledge base than ``kb``,
        KnowledgeBaseError if it is missing or damaged; ``verify`` is that of KnowledgeBase.
        """
        index = cls.__new__(cls)
        index._attach(kb, *storage.open_directory(Path(path).resolve(), verify=verify))
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

    def _search_one(
        self,
        surface: str,
        ngrams: np.ndarray,
        weights: np.ndarray,
        allowed: _Allowed | None,
        k: int,
    ) -> list[tuple[str, str, float]]:
        if not len(ngrams):
            return []
        scores = self._weights[ngrams].T @ weights  # one per folded name
        if allowed is not None:
            scores *= allowed.names
        names, name_scores, rows = self._best_names(scores, allowed, k)
        kb = self.kb
        concepts = kb.alias_concepts[rows]
        order = np.lexsort(
            (
                rows,  # among equal names of a concept the earlier one
                self._code_ranks[concepts],
                ~kb.is_preferred(rows),
                names != kb.folded_id(surface),
                -name_scores,
            )
        )
        _, first = np.unique(concepts[order], return_index=True)
        best = order[np.sort(first)[:k]]
        return [
            (kb.code(concepts[i]), kb.name(kb.alias_names[rows[i]]), float(name_scores[i]))
            for i in best
        ]

    def _best_names(
        self, scores: np.ndarray, allowed: _Allowed | None, k: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Names that hold the k best concepts and all their ties, one entry per (name, concept).

        Returns folded name ids, rounded scores and rows of ``alias_concepts``.
        """
        entries = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int32)
        for floor in _FLOORS:
            # Everything is compared after rounding, or a tie could be cut in two.
            names = np.flatnonzero(scores > floor - 10.0**-_DECIMALS)
            values = scores[names].astype(np.float64).round(_DECIMALS)
            names, values = names[values > floor], values[values > floor]
            wanted = 4 * k  # several names of a concept may be among the best
            while len(names):
                chosen = slice(None)
                if wanted < len(names):
                    chosen = values >= np.partition(values, -wanted)[-wanted]
                entries = self._entries(names[chosen], values[chosen], allowed)
                if len(np.unique(self.kb.alias_concepts[entries[2]])) >= k:
                    return entries
                if wanted >= len(names):
                    break
                wanted *= 4
        return entries

    def _entries(
        self, names: np.ndarray, values: np.ndarray, allowed: _Allowed | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        starts = self._row_offsets[names]
        counts = self._row_offsets[names + 1] - starts
        rows = self._rows[runs(starts, counts)]
        names, values = np.repeat(names, counts), np.repeat(values, counts)
        if allowed is None:
            return names, values, rows
        kept = allowed.concepts[self.kb.alias_concepts[rows]]
        return names[kept], values[kept], rows[kept]

    def _allowed(self, mask: bytes) -> _Allowed | None:
        """What a row of group bits lets through, None for everything."""
        if mask not in self._allowed_by_mask:
            groups = np.frombuffer(mask, np.uint64)
            concepts = (self.kb.concept_group_masks & groups).any(axis=1)
            of_rows = concepts[self.kb.alias_concepts[self._rows]]
            names = np.logical_or.reduceat(of_rows, self._row_offsets[:-1])
            if len(self._allowed_by_mask) >= _CACHED_MASKS:
                self._allowed_by_mask.clear()
            self._allowed_by_mask[mask] = None if concepts.all() else _Allowed(names, concepts)
        return self._allowed_by_mask[mask]


class _Allowed(NamedTuple):
    """names: bool per folded name; concepts: bool per concept."""

    names: np.ndarray
    concepts: np.ndarray


def _vectorizer(
    options: Mapping[str, Any], vocabulary: Sequence[str] | None = None
) -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer=options["analyzer"],
        ngram_range=tuple(options["ngram_range"]),
        min_df=options["min_df"] if vocabulary is None else 1,
        max_features=options["max_features"] if vocabulary is None else None,
        sublinear_tf=options["sublinear"],
        vocabulary=vocabulary,
        lowercase=False,  # names and mentions are folded before
        dtype=np.float32,
    )


def _rows_by_folded_name(kb: KnowledgeBase) -> tuple[np.ndarray, np.ndarray]:
    """Offsets per folded name, and for each of its concepts the first row of an alias so folded."""
    folded = kb.folded_ids()[kb.alias_names].astype(np.int64)
    pairs = folded * len(kb) + kb.alias_concepts
    pairs, rows = np.unique(pairs, return_index=True)
    counts = np.bincount(pairs // len(kb), minlength=int(folded.max()) + 1)
    return offsets(counts), rows.astype(np.int32)
