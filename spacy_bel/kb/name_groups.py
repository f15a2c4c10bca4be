"""Names that a concept bears in some of its semantic groups only.

As a rule a concept bears all its names in all its groups. In the tables of released checkpoints,
{group: {name: code}}, it need not: there a knowledge base has one array more, `ARRAY`, which says
in which groups each (name, concept) pair stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spacy_bel.kb import storage
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.token_trie import IntArray, MaskArray

#: uint64 (aliases, words), by name and then by concept: rows of `concept_group_masks`, narrowed.
ARRAY = "name_concept_masks"


def restrict_names(
    kb: KnowledgeBase, names: IntArray, concepts: IntArray, groups: IntArray
) -> KnowledgeBase:
    """A knowledge base in which concepts bear their names in certain groups only.

    names, concepts, groups: int64 (n,), name ids, concept ids, and indices into ``kb.groups``: all
    that hold. The knowledge base itself is returned if they leave nothing out.
    """
    keys = _names(kb) * len(kb) + _concepts(kb)
    rows = np.searchsorted(keys, names * len(kb) + concepts)
    masks = np.zeros((len(keys), kb.concept_group_masks.shape[1]), np.uint64)
    words, bits = np.divmod(groups, 64)
    np.bitwise_or.at(masks, (rows, words), np.uint64(1) << bits.astype(np.uint64))
    if np.array_equal(masks, kb.concept_group_masks[_concepts(kb)]):
        return kb
    columns = storage.Columns({**kb._columns.arrays, ARRAY: masks}, kb._columns.tries)
    files = storage.describe(columns)
    meta: dict[str, Any] = {
        **kb._raw_meta,
        "files": files,
        "fingerprint": storage.fingerprint(files, list(kb.groups)),
    }
    return KnowledgeBase(meta, columns)


def name_group_masks(kb: KnowledgeBase) -> MaskArray:
    """The groups in which any concept bears each name, uint64 (names, words)."""
    return np.bitwise_or.reduceat(_masks(kb), kb._columns.arrays["name_offsets"][:-1])


def concepts_within(kb: KnowledgeBase, name_id: int, group_mask: MaskArray) -> npt.NDArray[Any]:
    """Concept ids (ascending) that bear a name in one of some groups."""
    concepts = kb.concepts_of_name(name_id)
    restricted = kb._columns.arrays.get(ARRAY)
    if restricted is None:
        masks = kb.concept_group_masks[concepts]
    else:
        start = int(kb._columns.arrays["name_offsets"][name_id])
        masks = restricted[start : start + len(concepts)]
    return concepts[(masks & group_mask).any(axis=1)]


def _masks(kb: KnowledgeBase) -> npt.NDArray[Any]:
    restricted = kb._columns.arrays.get(ARRAY)
    return kb.concept_group_masks[_concepts(kb)] if restricted is None else restricted


def _names(kb: KnowledgeBase) -> npt.NDArray[np.int64]:
    lengths = np.diff(kb._columns.arrays["name_offsets"])
    return np.repeat(np.arange(kb.n_names, dtype=np.int64), lengths)


def _concepts(kb: KnowledgeBase) -> npt.NDArray[Any]:
    return kb._columns.arrays["name_concepts"]
