"""Comparing a query with all vectors, in the fastest arithmetic whose error can be bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from spacy_bel.retriever.index import DECIMALS
from spacy_bel.retriever.vectors.base import RowFilter, VectorIndex
from spacy_bel.retriever.vectors.matrix import HalfMatrix
from spacy_bel.retriever.vectors.scan import Rows, scan

#: Largest relative error of rounding to bfloat16 and to float32.
_BFLOAT16, _FLOAT32 = 2.0**-8, 2.0**-24
TIE = 2 * 10.0**-DECIMALS


class ExactVectors(VectorIndex):
    """All rows are compared; the result is that of float64 arithmetic on the stored values.

    Where the processor multiplies bfloat16, all rows are first scored in it, and those that its
    rounding error leaves in question are compared again; elsewhere in float32.
    """

    kind = "exact"
    exact = True

    def __init__(self, matrix: HalfMatrix, bounds: np.ndarray | None = None) -> None:
        super().__init__(matrix)
        self._bounds = row_bounds(matrix) if bounds is None else bounds
        self._rows = matrix.tensor()
        self.bfloat16 = has_bfloat16()

    def arrays(self) -> Mapping[str, np.ndarray]:
        """How long rows are, and how much rounding to bfloat16 changes them."""
        return {"bounds": self._bounds}

    def _propose(
        self, queries: np.ndarray, wanted: int, filters: Sequence[RowFilter]
    ) -> list[np.ndarray]:
        longest, rounding = (float(bound) for bound in self._bounds)
        vectors = torch.from_numpy(queries)
        norms = np.linalg.norm(queries.astype(np.float64), axis=1)
        # Cauchy and Schwarz: an inner product errs by no more than the norms allow.
        error = 4 * queries.shape[1] * _FLOAT32 * norms * longest
        output = 0.0
        if self.bfloat16:
            vectors = vectors.to(torch.bfloat16)
            changed = queries.astype(np.float64) - vectors.double().numpy()
            error += np.linalg.norm(changed, axis=1) * longest + 1.01 * norms * rounding
            output = _BFLOAT16  # scores are rounded as well

        def score(rows: Rows) -> torch.Tensor:
            return (vectors @ self._rows[rows].float().to(vectors.dtype).T).float()

        def score_bfloat16(rows: Rows) -> torch.Tensor:
            return (vectors @ self._rows[rows].T).float()

        def slack(query: int, last: float) -> float:
            return 2 * error[query] + 2 * output * (abs(last) + 2 * error[query]) + TIE

        ready = self.bfloat16 and self._rows.dtype == torch.bfloat16
        chosen = score_bfloat16 if ready else score
        return scan(chosen, len(self.matrix), len(queries), wanted, slack, filters)


def row_bounds(matrix: HalfMatrix) -> np.ndarray:
    """The largest norm of a row, and of its change by rounding to bfloat16 (float64)."""
    bounds = np.zeros(2)
    for block in matrix.blocks():
        rows = torch.from_numpy(matrix.float32(block))
        change = rows - rows.bfloat16().float()
        norms = [part.double().norm(dim=1).max().item() for part in (rows, change)]
        bounds = np.maximum(bounds, norms)
    return bounds


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; otherwise it would be slow."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    tests = [getattr(torch.cpu, name, None) for name in names]
    return any(bool(test()) for test in tests if test is not None)
