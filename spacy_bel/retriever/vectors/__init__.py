"""Indexes of vectors: which rows have the largest inner product with a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from spacy_bel.errors import KnowledgeBaseError, ModelError
from spacy_bel.retriever.vectors.base import Neighbours, RowFilter, VectorIndex
from spacy_bel.retriever.vectors.matrix import HalfDtype, HalfMatrix

__all__ = [
    "HalfDtype",
    "HalfMatrix",
    "IndexKind",
    "Neighbours",
    "RowFilter",
    "VectorIndex",
    "index_vectors",
]

IndexKind = Literal["exact", "int8", "faiss-flat", "faiss-hnsw", "faiss-ivfpq"]


def index_vectors(
    matrix: HalfMatrix, kind: IndexKind, arrays: Mapping[str, np.ndarray] | None = None
) -> VectorIndex:
    """An index of the rows of a matrix.

    arrays: what ``VectorIndex.arrays`` gave for them; made anew if None.
    Raises ModelError for an unknown kind, MissingExtraError for faiss where it is not installed,
    KnowledgeBaseError if the arrays are not those of this kind.
    """
    from spacy_bel.retriever.vectors.exact import ExactVectors
    from spacy_bel.retriever.vectors.faiss import FaissVectors
    from spacy_bel.retriever.vectors.int8 import Int8Vectors

    try:
        if kind == "exact":
            return ExactVectors(matrix, None if arrays is None else arrays["bounds"])
        if kind == "int8":
            return Int8Vectors(matrix, arrays)
        if kind in get_args(IndexKind):
            return FaissVectors(matrix, kind, None if arrays is None else arrays["faiss_index"])
    except KeyError as error:
        raise KnowledgeBaseError(f"The index lacks {error}: build it again.") from error
    raise ModelError(f"There is no index {kind!r}: use one of {', '.join(get_args(IndexKind))}.")
