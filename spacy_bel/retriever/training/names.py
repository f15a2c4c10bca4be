"""What a bi-encoder learns from: strings, and the concepts that each of them names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import scipy.sparse as sp

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb.arrays import offsets
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold
from spacy_bel.retriever.training.hierarchy import ancestors_of
from spacy_bel.retriever.training.name_pool import NamePool

_BLOCKS_AT_ONCE = 1 << 14


class TrainingNames:
    """Distinct strings of some terminologies, and pairs of them that name one concept.

    Add knowledge bases, then mentions, then call ``pair``. Strings and concepts are known by
    number, as texts and labels. Concepts of several knowledge bases are the same if their codes
    are.

    texts: the strings, folded; names of concepts that are left out are among them.
    codes: of the concepts.
    synonyms: int32, shape (pairs, 3): a label and two texts, of that concept, or the second the
        preferred name of a broader one.
    mentions: int32, shape (pairs, 2): a label and the text of a training mention.
    """

    def __init__(self) -> None:
        self._pool = NamePool()
        self.texts: Sequence[str] = self._pool.texts
        self.codes: Sequence[str] = self._pool.codes
        self.synonyms = np.zeros((0, 3), np.int32)
        self.mentions = np.zeros((0, 2), np.int32)
        self._fingerprints: list[str] = []
        self._rows = [np.zeros((0, 2), np.int32)]  # label and text, preferred names first
        self._broader = [np.zeros((0, 3), np.int32)]  # label, broader label, its preferred name
        self._used: list[tuple[int, int]] = []  # label and text of mentions
        self._names = np.zeros(0, np.int32)
        self._name_offsets = np.zeros(1, np.int64)
        self._labels_of_text = sp.csr_matrix((1, 1), dtype=np.float32)
        self._is_broader: sp.csr_matrix | None = None

    def add_kb(
        self, kb: KnowledgeBase, groups: Sequence[str] | None = None, *, ancestors: int = 0
    ) -> None:
        """Add the names of a knowledge base, of some groups only if given.

        ancestors: how many generations of broader concepts give further positives, the preferred
            name of each beside that of the concept: 1 for parents, 2 with grandparents, as in
            ClinLinker-KB (Gallego et al. 2024, doi 10.1007/978-3-031-63775-9_19). Names of a
            concept and of these are then never negatives of each other.

        Raises UnknownGroupError for a group that the knowledge base does not have.
        """
        kept = np.ones(len(kb), bool)
        if groups is not None:
            kept = (kb.concept_group_masks & kb.group_mask(groups)).any(axis=1)
        pairs = ancestors_of(kb, kept, ancestors)
        labelled = kept.copy()
        labelled[pairs[:, 1]] = True
        texts, labels = self._pool.add_kb(kb, labelled)
        rows = kept[kb.alias_concepts]
        concepts, names = kb.alias_concepts[rows], kb.alias_names[rows]
        self._rows.append(np.stack([labels[concepts], texts[names]], axis=1))
        preferred = np.array([kb.names_of_concept(c)[0] for c in pairs[:, 1].tolist()], np.int64)
        self._broader.append(np.column_stack([labels[pairs], texts[preferred]]))
        self._fingerprints.append(kb.fingerprint)

    def add_mentions(self, mentions: Iterable[tuple[str, str]]) -> None:
        """Add strings that documents use for a concept, as (string, main code), once for each use.

        Concepts that the knowledge bases do not have are passed over.
        """
        for mention, code in mentions:
            label, folded = self._pool.label(code), fold(mention)
            if label >= 0 and folded:
                self._used.append((label, self._pool.add_text(folded)))

    def pair(self, pairs_per_concept: int, seed: int) -> None:
        """Make the pairs, of synonyms at most so many of each concept, chosen at random.

        SapBERT has 50; ClinLinker 15, or 45 with grandparents. Mentions are not limited. Raises
        KnowledgeBaseError if there is nothing to learn from.
        """
        used = np.array(self._used, np.int32).reshape(-1, 2)
        broader = np.unique(np.concatenate(self._broader), axis=0)
        self._arrange(used, broader)
        self.synonyms = self._synonyms(broader, pairs_per_concept, seed)
        # A mention that is the only name of its concept has no other name to be like.
        names = [self.names_of(label) for label in used[:, 0].tolist()]
        useful = [
            len(of_label) > 1 or (len(of_label) == 1 and of_label[0] != text)
            for of_label, text in zip(names, used[:, 1].tolist(), strict=True)
        ]
        self.mentions = used[np.array(useful, bool)]
        if not len(self.synonyms) and not len(self.mentions):
            raise KnowledgeBaseError(
                "No concept has two names, so there is nothing to learn from: give a terminology "
                "with synonyms, ancestors, or training mentions."
            )

    def names_of(self, label: int) -> np.ndarray:
        """The texts of a concept (int32), the preferred name first."""
        return self._names[self._name_offsets[label] : self._name_offsets[label + 1]]

    @property
    def name_counts(self) -> np.ndarray:
        """How many names each concept has (int64), by label."""
        return np.diff(self._name_offsets)

    def share_concept(self, texts: np.ndarray) -> np.ndarray:
        """Which of some texts name a concept together: bool, shape (texts, texts).

        Or, with ancestors, a concept and a broader one.
        """
        labels = self._labels_of_text[texts]
        together = labels @ labels.T
        if self._is_broader is not None:
            above = labels @ self._is_broader @ labels.T
            together = together + above + above.T
        return together.toarray() > 0

    @property
    def fingerprint(self) -> str:
        """The sha256 of all that there is to learn from, pairs included."""
        digest = hashlib.sha256("\n".join(self._fingerprints).encode("ascii"))
        further = [self.texts[text] for text in np.unique(self.mentions[:, 1]).tolist()]
        digest.update("\n".join(further).encode("utf-8"))
        for array in (self._names, self._name_offsets, self.synonyms, self.mentions):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def _arrange(self, used: np.ndarray, broader: np.ndarray) -> None:
        """Make tables from label to texts and from text to labels."""
        rows = np.concatenate(self._rows)
        keys = rows[:, 0].astype(np.int64) * len(self.texts) + rows[:, 1]
        _, first = np.unique(keys, return_index=True)
        first = first[np.lexsort((first, rows[first, 0]))]
        rows = rows[first]
        self._names = rows[:, 1].copy()
        self._name_offsets = offsets(np.bincount(rows[:, 0], minlength=len(self.codes)))
        rows = np.concatenate([rows, used, broader[:, 1:]])
        shape = (len(self.texts), len(self.codes))
        ones = np.ones(len(rows), np.float32)
        self._labels_of_text = sp.csr_matrix((ones, (rows[:, 1], rows[:, 0])), shape=shape)
        self._is_broader = None
        if len(broader):
            ones = np.ones(len(broader), np.float32)
            places = (broader[:, 0], broader[:, 1])
            self._is_broader = sp.csr_matrix((ones, places), shape=(shape[1], shape[1]))

    def _synonyms(self, broader: np.ndarray, limit: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        starts = np.searchsorted(broader[:, 0], np.arange(len(self.codes) + 1))
        done, blocks = [], [np.zeros((0, 3), np.int32)]
        for label in range(len(self.codes)):
            texts = self.names_of(label)
            of_label = broader[starts[label] : starts[label + 1], 2]
            if len(texts) and len(texts) + len(of_label) > 1:
                related = of_label[~np.isin(of_label, texts)]
                blocks.append(_pairs(label, texts, related, limit, rng))
            if len(blocks) >= _BLOCKS_AT_ONCE:
                done.append(np.concatenate(blocks))
                blocks.clear()
        return np.concatenate([*done, *blocks])


def _pairs(
    label: int, texts: np.ndarray, related: np.ndarray, limit: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of a label and two texts: of all pairs of its names, then of the first and a related."""
    count = len(texts)
    of_names = count * (count - 1) // 2
    total = of_names + len(related)
    chosen = rng.choice(total, limit, replace=False) if total > limit else np.arange(total)
    places = chosen[chosen < of_names]
    # Pairs in the order (0, 1), (0, 2), …, (1, 2), …: where those that begin with each name start.
    starts = np.cumsum(np.arange(count, 0, -1)) - count
    rows = np.full((len(chosen), 3), label, np.int32)
    rows[:, 1] = texts[0]
    first = np.searchsorted(starts, places, "right") - 1
    is_names = chosen < of_names
    rows[is_names, 1] = texts[first]
    rows[is_names, 2] = texts[places - starts[first] + first + 1]
    rows[~is_names, 2] = related[chosen[~is_names] - of_names]
    return rows
