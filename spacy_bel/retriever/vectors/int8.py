"""Comparing a query with vectors of 8-bit integers, then with the stored vectors of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from spacy_bel.retriever.vectors.base import RowFilter, VectorIndex
from spacy_bel.retriever.vectors.exact import TIE
from spacy_bel.retriever.vectors.matrix import HalfMatrix, shared_tensor
from spacy_bel.retriever.vectors.scan import Rows, scan

_LEVELS = 127


class Int8Vectors(VectorIndex):
    """Half the memory of `ExactVectors`, with the same result.

    Each row, less the mean of all, is a scale times integers in [-127, 127]; only these are held in
    memory. How far a score can be off follows from the lengths of what rounding left over, so that
    all rows that may be among the best are scored again from the stored vectors, which are read
    from their file.
    """

    kind = "int8"
    exact = True
    reads_rows = True

    def __init__(self, matrix: HalfMatrix, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        super().__init__(matrix)
        self._arrays = dict(_quantized(matrix) if arrays is None else arrays)
        self._codes = shared_tensor(self._arrays["int8_codes"])
        self._scales = shared_tensor(self._arrays["int8_scales"])

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Integers, scales, what rounding left over of each row, and the mean."""
        return self._arrays

    def _propose(
        self, queries: np.ndarray, wanted: int, filters: Sequence[RowFilter]
    ) -> list[np.ndarray]:
        longest = float(self._arrays["int8_longest"][0])
        most_left_over = float(self._arrays["int8_left_over"].max(initial=0))
        center = np.array(self._arrays["int8_center"], np.float64)
        codes, scales = _round(torch.from_numpy(queries))
        exact = queries.astype(np.float64)
        changed = exact - codes.double().numpy() * scales.double().numpy()[:, None]
        norms = np.linalg.norm(exact, axis=1)
        offsets = torch.from_numpy((exact @ center).astype(np.float32))
        # Cauchy and Schwarz, and float32 arithmetic.
        rounding = 2.0**-20 * (norms * longest + np.abs(offsets.numpy()))
        error = norms * most_left_over + np.linalg.norm(changed, axis=1) * longest + rounding

        def score(rows: Rows) -> torch.Tensor:
            products = _multiply(codes, self._codes[rows])
            scores = torch.mul(products, self._scales[rows])
            return scores.mul_(scales[:, None]).add_(offsets[:, None])

        def slack(query: int, last: float) -> float:
            return 2 * error[query] + TIE

        found = scan(score, len(self.matrix), len(queries), wanted, slack, filters)
        return [
            self._narrow(query, rows, wanted, norm, norm * longest)
            for query, rows, norm in zip(exact, found, norms, strict=True)
        ]

    def _narrow(
        self, query: np.ndarray, rows: np.ndarray, wanted: int, norm: float, largest: float
    ) -> np.ndarray:
        """The rows still in question when the query is not rounded, and each row's error known.

        Fewer are left to be read from the file of vectors.
        """
        if len(rows) <= wanted:
            return rows
        picked = torch.from_numpy(rows)
        vector = torch.from_numpy(query.astype(np.float32))
        scores = (self._codes[picked].float() @ vector * self._scales[picked]).double().numpy()
        error = norm * np.asarray(self._arrays["int8_left_over"][rows], np.float64)
        error += len(query) * 2.0**-23 * largest  # a sum of so many products in float32
        certain = np.partition(scores - error, -wanted)[-wanted]
        return rows[scores + error >= certain - TIE]


def _quantized(matrix: HalfMatrix) -> dict[str, np.ndarray]:
    mean = np.zeros(matrix.width)
    for block in matrix.blocks():
        mean += matrix.float32(block).sum(axis=0, dtype=np.float64)
    center = torch.from_numpy((mean / max(len(matrix), 1)).astype(np.float32))
    codes = np.empty((len(matrix), matrix.width), np.int8)
    scales, left_over = (np.empty(len(matrix), np.float32) for _ in range(2))
    longest = 0.0
    for block in matrix.blocks():
        rows = torch.from_numpy(matrix.float32(block))
        integers, scale = _round(rows - center)
        restored = integers.double() * scale.double()[:, None]
        rest = (rows.double() - center.double() - restored).norm(dim=1)
        codes[block], scales[block] = integers.numpy(), scale.numpy()
        # Rounded up, since these are bounds.
        left_over[block] = np.nextafter(rest.float().numpy(), np.float32(np.inf))
        longest = max(longest, restored.norm(dim=1).max().item())
    return {
        "int8_codes": codes,
        "int8_scales": scales,
        "int8_left_over": left_over,
        "int8_center": center.numpy(),
        "int8_longest": np.array([longest]),
    }


def _round(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scales = rows.abs().amax(1) / _LEVELS
    scales[scales == 0] = 1.0
    return (rows / scales[:, None]).round().clamp(-_LEVELS, _LEVELS).to(torch.int8), scales


def _multiply(queries: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Inner products (int32) of 8-bit integers."""
    if hasattr(torch, "_int_mm") and rows.shape[1] > 1:  # it errs for a width of one
        return torch._int_mm(queries, rows.T)
    return (queries.float() @ rows.float().T).round().int()
