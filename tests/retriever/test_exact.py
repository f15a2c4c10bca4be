from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.kb.text import fold
from spacy_bel.retriever.exact import ExactIndex, ExactRetriever

ROWS = [
    ("C3", ["Cold", "common cold"], ["A"]),
    ("C1", ["Low temperature", "COLD"], ["B"]),
    ("C2", ["cold"], ["B"]),
    ("C4", ["Chronic lung disease", "cold ", "Cold"], ["A", "B"]),
]


def make_kb(rows):
    builder = KnowledgeBaseBuilder("toy")
    for code, names, groups in rows:
        builder.add(Concept(code, tuple(names), tuple(groups)))
    return builder.build()


@pytest.fixture(scope="module")
def kb():
    return make_kb(ROWS)


def test_preferred_names_come_first_then_codes(kb):
    (found,) = ExactIndex(kb).search([" cOLd\t"])
    assert [(code, score) for code, _, score in found] == [
        *(("C2", 1.0), ("C3", 1.0), ("C1", 1.0), ("C4", 1.0)),
    ]
    assert [name for _, name, _ in found][:3] == ["cold", "Cold", "COLD"]
    assert ExactIndex(kb).search(["cold"], k=2) == [found[:2]]


def test_groups_filter_before_the_best_are_chosen(kb):
    masks = np.stack([kb.group_mask([group]) for group in ("A", "B", "A")])
    found = ExactIndex(kb).search(["cold", "cold", "low temperature"], masks, k=2)
    assert [[code for code, *_ in hits] for hits in found] == [["C3", "C4"], ["C2", "C1"], []]
    nothing = ExactIndex(kb).search(["cold"], kb.group_mask([])[None])
    assert nothing == [[]]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.text("aB ß", min_size=1, max_size=3), min_size=1), min_size=1, max_size=5),
    st.text("abBs ß", max_size=3),
)
def test_equals_a_look_through_all_names(names, mention):
    try:
        kb = make_kb([(f"C{i}", of_concept, ["g"]) for i, of_concept in enumerate(names)])
    except KnowledgeBaseError:  # nothing but whitespace
        return
    expected = [
        (fold(kb[code].names[0]) != fold(mention), code)
        for code in kb
        if fold(mention) in map(fold, kb[code].names)
    ]
    (found,) = ExactIndex(kb).search([mention])
    assert [code for code, *_ in found] == [code for _, code in sorted(expected)]
    assert sorted(kb.find(mention)) == sorted(code for code, *_ in found)
    assert all(fold(name) == fold(mention) for _, name, _ in found)


def test_odd_mentions(kb):
    assert ExactIndex(kb).search(["", " ", "x" * 5000, "\ud800", "心"]) == [[]] * 5
    assert ExactIndex(kb).search([]) == []
    with pytest.raises(ValueError, match="at least one"):
        ExactIndex(kb).search(["cold"], k=0)
    with pytest.raises(ValueError, match="2 mentions"):
        ExactIndex(kb).search(["cold", "x"], kb.group_mask(["A"])[None])


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_saving(kb, tmp_path, way):
    retriever = pickle.loads(pickle.dumps(ExactRetriever()))
    assert retriever == ExactRetriever()
    index = retriever.build(kb)
    index.to_disk(tmp_path / "index")
    other = make_kb(ROWS[:2])

    def read(kb):
        if way == "disk":
            return retriever.from_disk(tmp_path / "index", kb)
        return retriever.from_bytes(index.to_bytes(), kb)

    assert read(kb).search(["cold", "x"]) == index.search(["cold", "x"])
    with pytest.raises(FingerprintMismatchError, match=r"another knowledge base.*build it again"):
        read(other)


def test_foreign_directories(kb, tmp_path):
    kb.to_disk(tmp_path / "kb")
    with pytest.raises(KnowledgeBaseError, match="no exact-match index"):
        ExactRetriever().from_disk(tmp_path / "kb", kb)
