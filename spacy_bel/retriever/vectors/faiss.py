"""Indexes of faiss (Johnson et al. 2021, doi 10.1109/TBDATA.2019.2921572), by the extra `faiss`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from spacy_bel.errors import KnowledgeBaseError, MissingExtraError
from spacy_bel.retriever.vectors.base import RowFilter, VectorIndex
from spacy_bel.retriever.vectors.matrix import HalfMatrix

FaissKind = Literal["faiss-flat", "faiss-hnsw", "faiss-ivfpq"]

#: Approximate indexes are asked for so many times the rows that are wanted.
_OVERFETCH = 4
_HNSW_LINKS, _HNSW_BUILD, _HNSW_SEARCH = 32, 100, 128
_IVF_PROBED = 32
_TRAINED_PER_LIST = 64


class FaissVectors(VectorIndex):
    """Rows proposed by an index of faiss, scored again from the stored vectors.

    kind: "faiss-flat" compares all rows in float32; "faiss-hnsw" walks a graph of neighbours
        (Malkov and Yashunin 2020); "faiss-ivfpq" compares compressed rows of the nearest cells
        (Jégou et al. 2011). The last two may miss rows, and more of them where a filter lets few
        rows pass.
    content: what ``arrays`` gave; built from the matrix if None.
    Raises MissingExtraError if faiss is not installed.
    """

    def __init__(
        self, matrix: HalfMatrix, kind: FaissKind, content: np.ndarray | None = None
    ) -> None:
        super().__init__(matrix)
        self._faiss = import_faiss()
        self.kind = kind  # type: ignore[misc]
        self.exact = kind == "faiss-flat"  # type: ignore[misc]
        if content is None:
            self._index = _build(self._faiss, matrix, kind)
        else:
            try:
                self._index = self._faiss.deserialize_index(np.ascontiguousarray(content))
            except RuntimeError as error:
                raise KnowledgeBaseError(
                    f"The stored index of faiss cannot be read ({error}). Build it again."
                ) from error
        if self._index.ntotal != len(matrix) or self._index.d != matrix.width:
            raise KnowledgeBaseError(
                f"The stored index of faiss has {self._index.ntotal} vectors instead of "
                f"{len(matrix)}. Build it again."
            )

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The index as bytes."""
        return {"faiss_index": self._faiss.serialize_index(self._index)}

    def _propose(
        self, queries: np.ndarray, wanted: int, filters: Sequence[RowFilter]
    ) -> list[np.ndarray]:
        proposed = [np.zeros(0, np.int64) for _ in queries]
        by_filter: dict[int, list[int]] = {}
        for i, allowed in enumerate(filters):
            by_filter.setdefault(id(allowed), []).append(i)
        for members in by_filter.values():
            allowed = filters[members[0]]
            for i, rows in zip(
                members, self._search(queries[members], wanted, allowed), strict=True
            ):
                proposed[i] = rows
        return proposed

    def _search(self, queries: np.ndarray, wanted: int, allowed: RowFilter) -> list[np.ndarray]:
        possible = len(self.matrix) if allowed is None else int(np.count_nonzero(allowed))
        n = min(_OVERFETCH * wanted, possible)
        if not n:
            return [np.zeros(0, np.int64) for _ in queries]
        selector = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")  # must outlive the search
            selector = self._faiss.IDSelectorBitmap(bits)
        parameters = self._parameters(n, selector)
        while True:
            scores, rows = self._index.search(queries, n, params=parameters)
            # The flat index is exact: fetch until the ties of the last wanted row are complete.
            cut = self.exact and n < possible and wanted <= n
            if not cut or bool((scores[:, wanted - 1] > scores[:, -1] + 1e-4).all()):
                return [found[found >= 0] for found in rows]
            n = min(4 * n, possible)

    def _parameters(self, n: int, selector: Any) -> Any:
        if self.kind == "faiss-hnsw":
            return self._faiss.SearchParametersHNSW(sel=selector, efSearch=max(_HNSW_SEARCH, n))
        if self.kind == "faiss-ivfpq":
            return self._faiss.SearchParametersIVF(sel=selector, nprobe=_IVF_PROBED)
        return self._faiss.SearchParameters(sel=selector)


def import_faiss() -> Any:
    """The module; raises MissingExtraError if it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError(
            "Indexes of faiss need the package faiss: pip install 'spacy-bel[faiss]', or use "
            'index="exact".'
        ) from error
    return faiss


def _build(faiss: Any, matrix: HalfMatrix, kind: FaissKind) -> Any:
    width = matrix.width
    if kind == "faiss-hnsw":
        index = faiss.IndexHNSWFlat(width, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _HNSW_BUILD
    elif kind == "faiss-ivfpq":
        index = _ivfpq(faiss, matrix)
    else:
        index = faiss.IndexFlatIP(width)
    for block in matrix.blocks():
        index.add(matrix.float32(block))
    return index


def _ivfpq(faiss: Any, matrix: HalfMatrix) -> Any:
    """Cells and codebooks learned from a sample of the rows, as many as it can support."""
    lists = int(max(1, min(4 * len(matrix) ** 0.5, len(matrix) / 39)))
    bits = 8 if len(matrix) >= 39 * 256 else 4
    parts = next(m for m in (48, 32, 16, 8, 4, 2, 1) if matrix.width % m == 0)
    quantizer = faiss.IndexFlatIP(matrix.width)
    index = faiss.IndexIVFPQ(
        quantizer, matrix.width, lists, parts, bits, faiss.METRIC_INNER_PRODUCT
    )
    size = min(len(matrix), max(_TRAINED_PER_LIST * lists, 64 * 256))
    rows = np.sort(np.random.default_rng(0).permutation(len(matrix))[:size])
    index.train(np.concatenate([matrix.float32(slice(row, row + 1)) for row in rows.tolist()]))
    return index
