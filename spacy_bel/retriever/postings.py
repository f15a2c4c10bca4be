"""Dot products of sparse vectors with those of all names, by the names of every n-gram."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import scipy.sparse as sp

try:
    # Adds a column times a number to an array that is there, for which scipy has no public way: a
    # product by its classes first copies the columns, and takes three times as long.
    from scipy.sparse._sparsetools import csc_matvec
except ImportError:
    csc_matvec = None


class Postings:
    """The vectors of all names, one row per n-gram: a mention touches only names that share some.

    arrays: ``from_vectors`` makes them. count: number of names.
    """

    #: Names of the arrays to store with an index.
    COLUMNS = ("weight_offsets", "weight_names", "weights")

    def __init__(self, arrays: Mapping[str, np.ndarray], count: int) -> None:
        self.arrays = {name: arrays[name] for name in self.COLUMNS}
        starts, names, weights = self.arrays.values()
        shape = (len(starts) - 1, count)
        # Its offsets and names are integers of the same size, as the products need them.
        self._rows = sp.csr_matrix((weights, names, starts), shape=shape, copy=False)

    @classmethod
    def from_vectors(cls, vectors: sp.csr_matrix) -> Postings:
        """vectors: float32, one row per name."""
        rows = vectors.T.tocsr()
        rows.sort_indices()
        arrays = rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data
        return cls(dict(zip(cls.COLUMNS, arrays, strict=True)), vectors.shape[0])

    def scores(self, vectors: sp.csr_matrix) -> Iterator[np.ndarray]:
        """Dot products, float32, one per name, with each of the vectors (float32) of mentions.

        Each array is overwritten by the next: take from it what is needed before going on.
        """
        starts, names, weights = self._rows.indptr, self._rows.indices, self._rows.data
        count = self._rows.shape[1]
        # Small enough to stay in the processor's cache for terminologies of usual size.
        scores = np.zeros(count, np.float32)
        ends = vectors.indptr.tolist()
        for start, end in zip(ends[:-1], ends[1:], strict=True):
            ngrams, factors = vectors.indices[start:end], vectors.data[start:end]
            if csc_matvec is None:
                yield self._rows[ngrams].T @ factors
                continue
            scores.fill(0)
            for i, ngram in enumerate(ngrams.tolist()):
                offsets, factor = starts[ngram : ngram + 2], factors[i : i + 1]
                csc_matvec(count, 1, offsets, names, weights, factor, scores)
            yield scores
