"""Indexes of vectors: which rows have the largest inner product with a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from spacy_bel.errors import KnowledgeBaseError, SettingsError
from spacy_bel.retriever.vectors.base import Neighbours, RowFilter, VectorIndex
from spacy_bel.retriever.vectors.faiss import FaissVectors, import_faiss
from spacy_bel.retriever.vectors.matrix import HalfDtype, HalfMatrix

__all__ = [
    "HalfDtype",
    "HalfMatrix",
    "IndexKind",
    "Neighbours",
    "RowFilter",
    "VectorIndex",
    "check_kind",
    "index_vectors",
]

IndexKind = Literal["exact", "int8", "faiss-flat", "faiss-hnsw", "faiss-ivfpq"]


def check_kind(kind: str) -> None:
    """Raise SettingsError for an unknown kind of index, MissingExtraError for faiss without it."""
    if kind not in get_args(IndexKind):
        known = ", ".join(get_args(IndexKind))
        raise SettingsError(f"There is no index {kind!r}: use one of {known}.")
    if kind.startswith("faiss"):
        import_faiss()


def index_vectors(
    matrix: HalfMatrix, kind: IndexKind, arrays: Mapping[str, np.ndarray] | None = None
) -> VectorIndex:
    """An index of the rows of a matrix.

    arrays: what ``VectorIndex.arrays`` gave for them; made anew if None.
    Raises the errors of `check_kind`, and KnowledgeBaseError if the arrays are not of this kind.
    """
    from spacy_bel.retriever.vectors.exact import ExactVectors
    from spacy_bel.retriever.vectors.int8 import Int8Vectors

    check_kind(kind)
    try:
        if kind == "exact":
            return ExactVectors(matrix, None if arrays is None else arrays["bounds"])
        if kind == "int8":
            return Int8Vectors(matrix, arrays)
        return FaissVectors(matrix, kind, None if arrays is None else arrays["faiss_index"])
    except KeyError as error:
        raise KnowledgeBaseError(f"The index lacks {error}: build it again.") from error
