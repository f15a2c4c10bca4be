from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder

texts = st.text(st.characters(), max_size=12)  # all of Unicode, lone surrogates too


def concept(code: str = "X", names=("x",), groups=("g",), **others) -> Concept:
    return Concept(code=code, names=tuple(names), groups=tuple(groups), **others)


def test_names_are_cleaned_and_distinct(builder):
    assert builder.build()["T:3"].names == ("Aspirin",)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (concept(code=" "), "empty code"),
        (concept(names=("", " \x00")), "'X' has no usable name"),
        (concept(groups=()), "'X' has no semantic group"),
    ],
)
def test_unusable_concepts_are_named(bad, message):
    with pytest.raises(KnowledgeBaseError, match=message):
        KnowledgeBaseBuilder("b").add(bad)


def test_a_code_occurs_once(builder):
    with pytest.raises(KnowledgeBaseError, match=r"'T:1' occurs twice"):
        builder.add(concept(code=" T:1"))


def test_a_refused_concept_leaves_no_trace(builder):
    before = builder.build().fingerprint
    for bad in (concept(names=()), concept(groups=()), concept(code="T:1")):
        with pytest.raises(KnowledgeBaseError):
            builder.add(bad)
    assert builder.build().fingerprint == before


def test_an_empty_terminology_is_refused():
    with pytest.raises(KnowledgeBaseError, match="has no concept"):
        KnowledgeBaseBuilder("nothing").build()


def test_main_code_goes_before_alternative_and_alternative_before_retired():
    builder = KnowledgeBaseBuilder("b")
    builder.add(concept("A", alternative_codes=("B", "C")))
    builder.add(concept("B", names=("b",)))
    builder.retire("C", "B")
    builder.retire("B", "A")
    kb = builder.build()
    assert (kb.resolve("B"), kb.resolve("C")) == ("B", "A")


def test_replacements_are_followed_and_cycles_end():
    builder = KnowledgeBaseBuilder("b")
    builder.add(concept("A", alternative_codes=("A2",)))
    chain = {"R1": "R2", "R2": "A2", "L1": "L2", "L2": "L1", "L3": "L1", "U": "unknown"}
    for code, replacement in chain.items():
        builder.retire(code, replacement)
    kb = builder.build()
    assert {code: kb.resolve(code) for code in chain} == {
        **{"R1": "A", "R2": "A"},
        **dict.fromkeys(["L1", "L2", "L3", "U"]),
    }


def test_fingerprint_ignores_labels_and_order_but_no_content(builder):
    def fingerprint(concepts, name="b", release=""):
        other = KnowledgeBaseBuilder(name, release=release)
        for one in concepts:
            other.add(one)
        return other.build().fingerprint

    concepts = [
        concept(f"C{i}", names=(f"n{i % 7}", f"m{i}"), groups=(f"g{i % 3}",)) for i in range(40)
    ]
    reference = fingerprint(concepts)
    shuffled = random.Random(1).sample(concepts, len(concepts))
    assert fingerprint(shuffled, name="other", release="2") == reference
    for change in (
        {"names": ("other",)},
        {"names": ("m0", "n0")},
        {"groups": ("g1",)},
        {"groups": ("g9",)},
        {"definition": "d"},
        {"cross_references": ("U:1",)},
        {"parents": ("C1",)},
        {"alternative_codes": ("Z",)},
    ):
        changed = concept("C0", **{"names": ("n0", "m0"), "groups": ("g0",), **change})
        assert fingerprint([changed, *concepts[1:]]) != reference, change


def test_more_than_64_groups():
    builder = KnowledgeBaseBuilder("many")
    for i in range(130):
        builder.add(
            concept(f"C{i}", names=(f"n{i}",), groups=(f"g{i:03}", f"g{(i + 64) % 130:03}"))
        )
    kb = builder.build()
    assert kb.concept_group_masks.shape == (130, 3)
    for i in (0, 63, 64, 127, 128, 129):
        mask = kb.group_mask([f"g{i:03}"])
        carried = np.flatnonzero((kb.concept_group_masks & mask).any(axis=1))
        assert {kb.code(c) for c in carried} == {f"C{i}", f"C{(i - 64) % 130}"}
        assert kb[f"C{i}"].groups == tuple(sorted((f"g{i:03}", f"g{(i + 64) % 130:03}")))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(texts, st.lists(texts, max_size=4), texts, st.lists(texts, max_size=2)),
        min_size=1,
        max_size=8,
    )
)
def test_any_text_comes_back_cleaned(rows):
    builder = KnowledgeBaseBuilder("any")
    kept = {}
    for code, names, definition, parents in rows:
        try:
            builder.add(concept(code, names, definition=definition, parents=tuple(parents)))
        except KnowledgeBaseError:
            continue
        kept[code] = names
    if not kept:
        return
    kb = builder.build()
    assert len(kb) == len(kept)
    for code, names in kept.items():
        found = kb[code]
        assert found.code == kb.resolve(code)
        assert found.names == tuple(dict.fromkeys(found.names)) and found.names
        for name in names:
            folded = [other.casefold().split() for other in found.names]
            if kb.find(name):
                assert found.code in kb.find(name)
            else:  # nothing was left of it
                assert not name.strip() or name.casefold().split() not in folded
