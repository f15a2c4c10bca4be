"""What has to be embedded of a terminology: each sequence of tokens once, the shortest first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from spacy_bel.kb.arrays import offsets
from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.known_vectors import digest
from spacy_bel.retriever.name_table import NameTable

_NAMES_AT_ONCE = 10_000


class EmbeddingPlan:
    """The distinct token sequences of all names, in order of length, and who has each."""

    def __init__(self, names: NameTable, encoder: Encoder) -> None:
        self._names = names
        parts: list[np.ndarray] = []
        counts: list[int] = []
        texts = iter(names.texts())
        while some := list(islice(texts, _NAMES_AT_ONCE)):
            tokens = encoder.tokenize(some)
            parts.extend(np.array(ids, np.int32) for ids in tokens)
            counts.extend(map(len, tokens))
        flat = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        del parts
        of_name = np.array(counts, np.int64)
        starts = offsets(of_name)
        item_of_name = np.empty(len(of_name), np.int64)
        self._groups: list[tuple[int, np.ndarray]] = []  # first item, its and all equally long
        n_items = 0
        for length in np.unique(of_name).tolist():
            members = np.flatnonzero(of_name == length)
            ids = flat[starts[members][:, None] + np.arange(length)]
            distinct, inverse = np.unique(ids, axis=0, return_inverse=True)
            item_of_name[members] = n_items + inverse.reshape(-1)
            self._groups.append((n_items, distinct))
            n_items += len(distinct)
        self.lengths = np.concatenate(
            [np.full(len(ids), ids.shape[1]) for _, ids in self._groups] or [np.zeros(0, np.int64)]
        )
        self._order = np.argsort(item_of_name, kind="stable")
        self._items = item_of_name[self._order]

    def tokens(self, start: int, end: int) -> list[list[int]]:
        """The token ids of some items."""
        found: list[list[int]] = []
        for first, ids in self._groups:
            found.extend(ids[max(start - first, 0) : max(end - first, 0)].tolist())
        return found

    def digests(self) -> np.ndarray:
        """What tells the items apart, uint64."""
        found = (digest(ids) for _, group in self._groups for ids in group)
        return np.fromiter(found, np.uint64, len(self.lengths))

    def of_names(self, items: np.ndarray) -> np.ndarray:
        """Something of every item as something of every name."""
        names = np.empty(len(self._order), items.dtype)
        names[self._order] = items[self._items]
        return names

    def rows(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The names of some items: (row of the name, item)."""
        first, last = np.searchsorted(self._items, [start, end])
        picked = slice(first, last)
        return zip(self._order[picked].tolist(), self._items[picked].tolist(), strict=True)

    def text(self, item: int) -> str:
        """A name of an item."""
        name = int(self._order[np.searchsorted(self._items, item)])
        return next(islice(iter(self._names.texts()), name, None))
