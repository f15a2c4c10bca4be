"""From scored names to ranked concepts: every alias is searched, every concept answers once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from spacy_bel.kb.arrays import offsets, runs
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.retriever.index import DECIMALS, Hit

_CACHED_MASKS = 64


class Allowed(NamedTuple):
    """What the groups of a mention let through: bool per distinct name, bool per concept."""

    names: np.ndarray
    concepts: np.ndarray


class Entries(NamedTuple):
    """(name, concept) pairs: ids of distinct names, their scores, rows of ``alias_concepts``."""

    names: np.ndarray
    scores: np.ndarray
    rows: np.ndarray


class NameTable:
    """The distinct names of a knowledge base, as they are searched, and the concepts of each.

    folded: names that differ only in case and whitespace are one, numbered as ``folded_names()``;
        otherwise names are numbered as ``names()``.
    """

    def __init__(
        self,
        kb: KnowledgeBase,
        *,
        folded: bool = True,
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.kb = kb
        self.folded = folded
        self.arrays = dict(_arrays(kb, folded) if arrays is None else arrays)
        # Plain views of mapped files: a memmap object costs microseconds each time it is indexed.
        self._row_offsets, self._rows, self._row_ranks, self._concepts = map(
            np.asarray, (*(self.arrays[name] for name in self.COLUMNS), kb.alias_concepts)
        )
        self._allowed: dict[bytes, Allowed | None] = {}

    #: Names of the arrays to store with an index.
    COLUMNS = ("row_offsets", "rows", "row_ranks")

    def __len__(self) -> int:
        """Number of distinct names."""
        return len(self._row_offsets) - 1

    def texts(self) -> Iterator[str]:
        """The distinct names, in the order of their ids."""
        return iter(self.kb.folded_names()) if self.folded else self.kb.names()

    def allowed(self, mask: bytes) -> Allowed | None:
        """What the bytes of a row of group bits let through; None for everything."""
        try:
            return self._allowed[mask]
        except KeyError:
            pass
        groups = np.frombuffer(mask, np.uint64)
        concepts = (self.kb.concept_group_masks & groups).any(axis=1)
        of_rows = concepts[self._concepts[self._rows]]
        names = np.logical_or.reduceat(of_rows, self._row_offsets[:-1])
        allowed = None if concepts.all() else Allowed(names, concepts)
        # Another thread may empty this at any time.
        if len(self._allowed) >= _CACHED_MASKS:
            self._allowed.clear()
        self._allowed[mask] = allowed
        return allowed

    def entries(self, names: np.ndarray, scores: np.ndarray, allowed: Allowed | None) -> Entries:
        """The allowed concepts of some names."""
        starts = self._row_offsets[names]
        counts = self._row_offsets[names + 1] - starts
        rows = self._rows[runs(starts, counts)]
        names, scores = np.repeat(names, counts), np.repeat(scores, counts)
        if allowed is None:
            return Entries(names, scores, rows)
        kept = allowed.concepts[self._concepts[rows]]
        return Entries(names[kept], scores[kept], rows[kept])

    def concepts(self, entries: Entries) -> int:
        """How many distinct concepts they have."""
        return len(np.unique(self._concepts[entries.rows]))

    def ranked(self, surface: str, entries: Entries, k: int) -> list[Hit]:
        """The k best concepts, each by its best name.

        surface: the mention. Scores are compared as they are: round them before. Among equals, the
            name that equals the mention comes first, then the concept that is mentioned more often
            in training (if the knowledge base knows), preferred names, and codes in their order.
        """
        names, scores, rows = entries
        order = np.lexsort((self._row_ranks[rows], names != self._exact(surface), -scores))
        _, first = np.unique(self._concepts[rows[order]], return_index=True)
        first.sort()
        best = order[first[:k]]
        return self._hits(rows[best], scores[best])

    def ranked_together(
        self,
        surfaces: Sequence[str],
        found: Sequence[tuple[np.ndarray, np.ndarray]],
        allowed: Sequence[Allowed | None],
        k: int,
    ) -> list[list[Hit]]:
        """As ``entries`` and ``ranked``, for at most 1024 mentions at once, but faster.

        found: for each mention the ids of distinct names and their scores, from 0 to 1 and rounded
            to ``DECIMALS``.
        """
        mentions = np.repeat(np.arange(len(found)), [len(names) for names, _ in found])
        names = np.concatenate([names for names, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        exact = np.array([self._exact(surface) for surface in surfaces])
        # One integer has all that decides: 10 bits of mention, 21 of score, 1 of match, 31 of rank.
        scale = 10**DECIMALS
        values = scale + (1 << 19) - np.rint(scores * scale).astype(np.int64)
        keys = (mentions << 53) + (values << 32)
        keys += (names != exact[mentions]).astype(np.int64) << 31
        starts = self._row_offsets[names]
        counts = self._row_offsets[names + 1] - starts
        rows = self._rows[runs(starts, counts)]
        keys, mentions, scores = (np.repeat(a, counts) for a in (keys, mentions, scores))
        keys += self._row_ranks[rows]
        order = self._let_through(mentions, rows, allowed)
        order = order[np.argsort(keys[order])]
        pairs = mentions[order] * len(self.kb) + self._concepts[rows[order]]
        _, first = np.unique(pairs, return_index=True)
        best = order[np.sort(first)]
        ends = np.searchsorted(mentions[best], np.arange(len(found) + 1))
        places = np.arange(len(best)) - ends[mentions[best]]
        best = best[places < k]
        hits = iter(self._hits(rows[best], scores[best]))
        return [list(islice(hits, min(count, k))) for count in np.diff(ends).tolist()]

    def _let_through(
        self, mentions: np.ndarray, rows: np.ndarray, allowed: Sequence[Allowed | None]
    ) -> np.ndarray:
        """Which rows have a concept of the groups of their mention; mentions ascend."""
        kept = np.ones(len(rows), bool)
        ends = np.searchsorted(mentions, np.arange(len(allowed) + 1)).tolist()
        for start, end, of_mention in zip(ends[:-1], ends[1:], allowed, strict=True):
            if of_mention is not None:
                kept[start:end] = of_mention.concepts[self._concepts[rows[start:end]]]
        return np.flatnonzero(kept)

    def _hits(self, rows: np.ndarray, scores: np.ndarray) -> list[Hit]:
        """Codes, names and scores of some rows; each string is decoded once."""
        concepts, names = self._concepts[rows].tolist(), self.kb.alias_names[rows].tolist()
        code_of = {concept: self.kb.code(concept) for concept in set(concepts)}
        name_of = {name: self.kb.name(name) for name in set(names)}
        strings = map(code_of.__getitem__, concepts), map(name_of.__getitem__, names)
        return list(zip(*strings, scores.tolist(), strict=True))

    def _exact(self, surface: str) -> int:
        """The id of the name that equals a mention, -1 if there is none."""
        if self.folded:
            return self.kb.folded_id(surface)
        return self.kb.name_id(surface)


def _arrays(kb: KnowledgeBase, folded: bool) -> dict[str, np.ndarray]:
    """Offsets per distinct name; for each of its concepts the first row of an alias of that form;
    and for every row its rank among equal scores: frequent in training, preferred, by code."""
    names = kb.folded_ids()[kb.alias_names] if folded else kb.alias_names
    pairs = names.astype(np.int64) * len(kb) + kb.alias_concepts
    pairs, rows = np.unique(pairs, return_index=True)
    counts = np.bincount(pairs // len(kb), minlength=int(names.max(initial=-1)) + 1)
    every, concepts = np.arange(len(names)), np.asarray(kb.alias_concepts)
    mentioned = (
        np.zeros(len(kb), np.int32) if kb.training_mentions is None else kb.training_mentions
    )
    code_ranks = np.argsort(np.argsort(list(kb)))
    order = np.lexsort(
        # Among equal names of a concept the earlier one.
        (every, code_ranks[concepts], ~kb.is_preferred(every), -mentioned[concepts])
    )
    ranks = np.empty(len(names), np.int32)
    ranks[order] = every
    return {"row_offsets": offsets(counts), "rows": rows.astype(np.int32), "row_ranks": ranks}
