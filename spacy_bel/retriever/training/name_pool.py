"""Strings and codes of several terminologies under common numbers, without a copy of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold


class _Blocks(Sequence[str]):
    """Strings by number; each block of numbers has its own way to get them."""

    def __init__(self) -> None:
        self._starts = [0]
        self._read: list[Callable[[int], str]] = []

    def append(self, count: int, read: Callable[[int], str]) -> int:
        """Add a block of ``count`` strings; returns its first number."""
        start = self._starts[-1]
        self._starts.append(start + count)
        self._read.append(read)
        return start

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        if not 0 <= number < len(self):
            raise IndexError(number)
        block = bisect_right(self._starts, number) - 1
        return self._read[block](number - self._starts[block])


class NamePool:
    """Distinct folded names (texts) and distinct codes (labels) of some knowledge bases.

    Millions of names would take gigabytes as Python strings, so they stay in their knowledge bases
    and are read from there.

    texts, codes: by number.
    """

    def __init__(self) -> None:
        self.texts = _Blocks()
        self.codes = _Blocks()
        self._kbs: list[KnowledgeBase] = []
        self._texts_of_forms: list[np.ndarray] = []
        self._labels_of_concepts: list[np.ndarray] = []
        self._further: dict[str, int] = {}

    def add_kb(self, kb: KnowledgeBase, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number the names of a knowledge base, and those concepts that are kept.

        kept: bool, one per concept.
        Returns, as int32, the text of each name id and the label of each concept id, -1 if the
        concept is not kept. Names and codes that are there already keep their numbers.
        """
        forms = kb.folded_ids()
        _, names = np.unique(forms, return_index=True)  # some name of each form stands for it
        known = self._known(self.text, (fold(kb.name(name)) for name in names.tolist()), len(names))
        texts = _numbered(self.texts, known, names, lambda name: fold(kb.name(name)))
        concepts = np.flatnonzero(kept)
        known = self._known(self.label, map(kb.code, concepts.tolist()), len(concepts))
        labels = np.full(len(kb), -1, np.int32)
        labels[concepts] = _numbered(self.codes, known, concepts, kb.code)
        self._kbs.append(kb)
        self._texts_of_forms.append(texts)
        self._labels_of_concepts.append(labels)
        return texts[forms], labels

    def add_text(self, folded: str) -> int:
        """The number of a folded string, a new one if need be."""
        number = self.text(folded)
        if number < 0:
            number = self._further[folded] = self.texts.append(1, lambda _: folded)
        return number

    def text(self, folded: str) -> int:
        """The number of a folded string, -1 if it has none."""
        for kb, texts in zip(self._kbs, self._texts_of_forms, strict=True):
            form = kb.folded_id(folded)
            if form >= 0:
                return int(texts[form])
        return self._further.get(folded, -1)

    def label(self, code: str) -> int:
        """The number of a main code, -1 if it has none."""
        for kb, labels in zip(self._kbs, self._labels_of_concepts, strict=True):
            if kb.resolve(code) == code and (label := labels[kb.concept_id(code)]) >= 0:
                return int(label)
        return -1

    def _known(self, find: Callable[[str], int], strings: Iterator[str], count: int) -> np.ndarray:
        if not self._kbs and not self._further:
            return np.full(count, -1, np.int32)
        return np.fromiter(map(find, strings), np.int32, count)


def _numbered(
    blocks: _Blocks, known: np.ndarray, ids: np.ndarray, read: Callable[[int], str]
) -> np.ndarray:
    """Numbers of strings that ``read`` gives for ``ids``: those known, new ones for the others."""
    new = np.flatnonzero(known < 0)
    new_ids = ids[new].astype(np.int32)
    start = blocks.append(len(new), lambda place: read(int(new_ids[place])))
    known[new] = np.arange(start, start + len(new))
    return known
