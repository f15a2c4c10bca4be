"""Going through all rows in blocks and keeping what can still be among the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from spacy_bel.retriever.vectors.base import RowFilter

#: Rows whose vectors and scores stay in the cache of a core.
BLOCK = 2048
# Below this share of allowed rows it pays to pick them instead of scoring all.
_PICK_BELOW = 0.25

Rows = slice | Tensor
Score = Callable[[Rows], Tensor]
Slack = Callable[[int, float], float]


def scan(
    score: Score,
    n_rows: int,
    n_queries: int,
    wanted: int,
    slack: Slack,
    filters: Sequence[RowFilter],
) -> list[np.ndarray]:
    """For each query the rows (int64, ascending) that its best ``wanted`` are certainly among.

    score: approximate scores (float32) of some rows, shape (queries, rows).
    slack: from a query and the approximate score of its last wanted row to how much lower a row
        may score and still have to be kept: twice the error, and what counts as a tie.
    """
    best = _Best(n_queries, wanted, slack)
    allowed = _Allowed(filters, n_rows)
    compact_at = 1
    for number, rows in enumerate(allowed.blocks(), 1):
        scores = score(rows)
        forbidden = allowed.forbidden(rows)
        if forbidden is not None:
            scores.masked_fill_(forbidden, -torch.inf)
        best.add(rows, scores)
        if number >= compact_at or best.crowded:
            best.compact()
            compact_at = 2 * number  # each time about as many rows are new
    best.compact()
    return best.rows


class _Best:
    """For each query the rows above its threshold, which rises as more of them are seen."""

    def __init__(self, n_queries: int, wanted: int, slack: Slack) -> None:
        self.rows = [np.zeros(0, np.int64) for _ in range(n_queries)]
        self._scores = [np.zeros(0, np.float32) for _ in range(n_queries)]
        self._thresholds = np.full(n_queries, -np.inf, np.float32)
        self._wanted, self._slack = wanted, slack
        self._new: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._n_new = 0

    @property
    def crowded(self) -> bool:
        return self._n_new > 4 * len(self.rows) * max(self._wanted, 256)

    def add(self, rows: Rows, scores: Tensor) -> None:
        promising = np.flatnonzero(scores.amax(1).numpy() > self._thresholds)
        if not len(promising):
            return
        some = scores.numpy()[promising]
        # In one dimension, which numpy does several times as fast as in two.
        flat = np.flatnonzero(some > self._thresholds[promising, None])
        queries, columns = np.divmod(flat, some.shape[1])
        found = columns + rows.start if isinstance(rows, slice) else rows.numpy()[columns]
        self._new.append((promising[queries], found, some.ravel()[flat]))
        self._n_new += len(found)

    def compact(self) -> None:
        if not self._new:
            return
        queries, rows, scores = (np.concatenate(parts) for parts in zip(*self._new, strict=True))
        order = np.argsort(queries, kind="stable")
        ends = np.searchsorted(queries[order], np.arange(len(self.rows) + 1))
        for query in np.unique(queries).tolist():
            new = order[ends[query] : ends[query + 1]]
            all_rows = np.concatenate((self.rows[query], rows[new]))
            all_scores = np.concatenate((self._scores[query], scores[new]))
            if len(all_rows) > self._wanted:
                last = float(np.partition(all_scores, -self._wanted)[-self._wanted])
                threshold = np.float32(last - self._slack(query, last))
                # One step below, so that ">" keeps what equals it.
                self._thresholds[query] = np.nextafter(threshold, np.float32(-np.inf))
                kept = all_scores > self._thresholds[query]
                all_rows, all_scores = all_rows[kept], all_scores[kept]
            self.rows[query], self._scores[query] = all_rows, all_scores
        self._new, self._n_new = [], 0


class _Allowed:
    """The rows to go through, and which of them a query may not find."""

    def __init__(self, filters: Sequence[RowFilter], n_rows: int) -> None:
        distinct = {id(f): f for f in filters}
        self._n_rows = n_rows
        self._filters = list(distinct.values())
        place = {key: i for i, key in enumerate(distinct)}
        self._of_query = np.array([place[id(f)] for f in filters], np.int64)
        self._none = all(f is None for f in self._filters)
        self._picked: np.ndarray | None = None
        if all(f is not None for f in self._filters) and self._filters:
            union = np.logical_or.reduce(np.stack([f for f in self._filters if f is not None]))
            if np.count_nonzero(union) < _PICK_BELOW * n_rows:
                self._picked = np.flatnonzero(union)

    def blocks(self) -> list[Rows]:
        if self._picked is not None:
            rows = torch.from_numpy(self._picked)
            return list(rows.split(BLOCK)) if len(rows) else []
        starts = range(0, self._n_rows, BLOCK)
        return [slice(start, min(start + BLOCK, self._n_rows)) for start in starts]

    def forbidden(self, rows: Rows) -> Tensor | None:
        if self._none or (self._picked is not None and len(self._filters) == 1):
            return None
        at = rows if isinstance(rows, slice) else rows.numpy()
        size = at.stop - at.start if isinstance(at, slice) else len(at)
        parts = [np.zeros(size, bool) if f is None else ~f[at] for f in self._filters]
        return torch.from_numpy(np.stack(parts)[self._of_query])
