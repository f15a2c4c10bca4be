"""What every index of vectors answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from spacy_bel.retriever.index import DECIMALS
from spacy_bel.retriever.vectors.matrix import HalfMatrix

#: Which rows a query may find (bool per row), None for all; equal filters are one object.
RowFilter = np.ndarray | None


class Neighbours(NamedTuple):
    """Rows (int64) and their inner products with a query (float64, rounded to ``DECIMALS``)."""

    rows: np.ndarray
    scores: np.ndarray


class VectorIndex(ABC):
    """Finds the rows of a matrix with the largest inner product with a query.

    A subclass proposes rows; their scores are always computed anew from the stored vectors in
    float64, so that equal rows tie and scores do not depend on how they were found.
    """

    kind: ClassVar[str]
    #: Whether ``search`` finds what comparing all rows would find.
    exact: ClassVar[bool]
    #: Whether the vectors are read row by row instead of being held in memory.
    reads_rows: ClassVar[bool] = False

    def __init__(self, matrix: HalfMatrix) -> None:
        self.matrix = matrix

    @abstractmethod
    def arrays(self) -> Mapping[str, np.ndarray]:
        """What is to be stored beside the vectors."""

    @abstractmethod
    def _propose(
        self, queries: np.ndarray, wanted: int, filters: Sequence[RowFilter]
    ) -> list[np.ndarray]:
        """For each query rows (int64) that should hold the best ``wanted`` and their ties."""

    def search(
        self, queries: np.ndarray, wanted: int, filters: Sequence[RowFilter] | None = None
    ) -> list[Neighbours]:
        """The best rows of each query and all that tie with the last of them, in no order.

        queries: float32, shape (queries, width). filters: one for each query. Fewer than
        ``wanted`` rows mean that no more can be found.
        """
        filters = [None] * len(queries) if filters is None else filters
        proposed = self._propose(np.ascontiguousarray(queries, np.float32), wanted, filters)
        found = []
        for query, rows in zip(queries, proposed, strict=True):
            scores = self.matrix.inner_products(rows, query, read=self.reads_rows).round(DECIMALS)
            if len(rows) > wanted:
                best = scores >= np.partition(scores, -wanted)[-wanted]
                rows, scores = rows[best], scores[best]
            found.append(Neighbours(rows, scores))
        return found
