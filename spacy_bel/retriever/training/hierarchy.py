"""Broader concepts, by generation."""

from __future__ import annotations

from itertools import chain

import numpy as np
import scipy.sparse as sp

from spacy_bel.kb.knowledge_base import KnowledgeBase


def ancestors_of(kb: KnowledgeBase, kept: np.ndarray, generations: int) -> np.ndarray:
    """Pairs of a concept id and that of a broader concept: int64, shape (pairs, 2), in order.

    kept: bool, one per concept: whose ancestors to give. generations: 1 for parents, 2 to add
        their parents, and so on. Parents that the knowledge base does not have are passed over,
        and no concept is its own ancestor.
    """
    if generations < 1:
        return np.zeros((0, 2), np.int64)
    parents = _parents(kb)
    level = sp.eye(len(kb), format="csr", dtype=bool)
    found = sp.csr_matrix(parents.shape, dtype=bool)
    for _ in range(generations):
        level = (level @ parents).astype(bool)
        found = found + level
    pairs = np.stack(sp.csr_matrix(found).nonzero(), axis=1).astype(np.int64)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & kept[pairs[:, 0]]]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _parents(kb: KnowledgeBase) -> sp.csr_matrix:
    """Which concept is a parent of which: bool, shape (concepts, concepts)."""
    codes = [[c for c in kb[code].parents if kb.resolve(c)] for code in kb]
    rows = np.repeat(np.arange(len(kb)), [len(of_concept) for of_concept in codes])
    columns = np.array([kb.concept_id(c) for c in chain.from_iterable(codes)], np.int64)
    ones = np.ones(len(rows), bool)
    return sp.csr_matrix((ones, (rows, columns)), shape=(len(kb), len(kb)))
