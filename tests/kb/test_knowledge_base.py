from __future__ import annotations

import pickle

import numpy as np
import pytest

from spacy_bel.errors import KnowledgeBaseError, UnknownGroupError
from spacy_bel.kb import Concept, KnowledgeBase, KnowledgeBaseBuilder


@pytest.fixture(params=["memory", "disk", "bytes", "pickled", "pickled from disk"])
def kb(request, builder, tmp_path) -> KnowledgeBase:
    """The same knowledge base, however it came here."""
    if request.param == "memory":
        return builder.build()
    if request.param == "disk":
        return builder.write(tmp_path / "kb")
    if request.param == "bytes":
        return KnowledgeBase.from_bytes(builder.build().to_bytes())
    if request.param == "pickled":
        return pickle.loads(pickle.dumps(builder.build()))
    return pickle.loads(pickle.dumps(builder.write(tmp_path / "kb")))


def test_other_codes_are_listed_with_what_they_stand_for(builder):
    assert sorted(builder.build().other_codes()) == [
        ("GONE:1", "T:2"),
        ("GONE:2", None),
        ("OLD:1", "T:1"),
        ("OLD:11", "T:1"),
    ]


def test_concepts_come_back(kb, concepts):
    assert sorted(kb) == ["T:1", "T:2", "T:3", "T:4"]
    assert len(kb) == 4
    for code in ("T:1", "T:2", "T:4"):
        assert kb[code] == next(c for c in concepts if c.code == code)


def test_meta(kb):
    meta = kb.meta
    assert (meta.name, meta.source, meta.release, meta.licence) == ("toy", "made up", "1.0", "CC0")
    assert (meta.concepts, meta.names, meta.aliases) == (4, 8, 8)
    assert meta.groups == {"Disorder": 3, "Drug": 1, "Finding": 1}
    assert kb.groups == ("Disorder", "Drug", "Finding")


@pytest.mark.parametrize(
    ("code", "main"),
    [
        ("T:1", "T:1"),
        ("OLD:11", "T:1"),
        (" T:1 ", "T:1"),
        ("GONE:1", "T:2"),
        ("GONE:2", None),
        ("T:", None),
        ("", None),
        ("\ud800", None),
        ("T:1\x00", "T:1"),
    ],
)
def test_codes_resolve(kb, code, main):
    assert kb.resolve(code) == main
    assert (code in kb) == (main is not None)
    if main is None:
        with pytest.raises(KnowledgeBaseError, match="has no concept"):
            kb[code]
    else:
        assert kb[code].code == main


def test_something_else_than_a_string_is_no_code(kb):
    assert 1 not in kb and None not in kb


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("heart  ATTACK ", ["T:1"]),
        ("Mi", ["T:1", "T:2"]),
        ("MALADIE CARDIAQUE É", ["T:4"]),
        ("心臓病", ["T:4"]),
        ("heart", []),
        ("", []),
        (" ", []),
        ("\udfff", []),
    ],
)
def test_find_ignores_case_and_whitespace(kb, name, codes):
    assert kb.find(name) == codes


def test_preferred_name_and_cross_references(kb):
    assert kb.preferred_name("OLD:1") == "Heart attack"
    assert kb.cross_references("T:1") == ("UMLS:C0000001", "MESH:D000001", "UMLS:C0000002")
    assert kb.cross_references("T:1", "umls") == ("UMLS:C0000001", "UMLS:C0000002")
    assert kb.cross_references("T:1", "U") == ()
    assert kb.cross_references("T:2") == ()


def test_columns_agree_with_concepts(kb):
    names = list(kb.names())
    assert len(names) == kb.n_names == len(set(names))
    assert names == [kb.name(i) for i in range(kb.n_names)]
    assert kb.alias_names.dtype == kb.alias_concepts.dtype == np.int32
    pairs = [(kb.code(c), names[n]) for n, c in zip(kb.alias_names, kb.alias_concepts, strict=True)]
    by_code = {code: tuple(n for c, n in pairs if c == code) for code in kb}
    assert by_code == {code: kb[code].names for code in kb}
    # rows of a concept stand together
    assert np.all(np.diff(kb.alias_concepts) >= 0)
    for name_id, name in enumerate(names):
        expected = sorted(kb.concept_id(code) for code in kb if name in kb[code].names)
        assert kb.concepts_of_name(name_id).tolist() == expected
    for concept_id, code in enumerate(kb):
        assert kb.code(concept_id) == code and kb.concept_id(code) == concept_id


def test_group_masks(kb):
    drugs = (kb.concept_group_masks & kb.group_mask(["Drug", "Finding"])).any(axis=1)
    assert {kb.code(c) for c in np.flatnonzero(drugs)} == {"T:2", "T:3"}
    assert not kb.group_mask([]).any()
    with pytest.raises(UnknownGroupError, match="'Drugs'.*Disorder, Drug, Finding"):
        kb.group_mask(["Drug", "Drugs"])


def test_columns_are_memory_mapped_and_read_only(builder, tmp_path):
    kb = builder.write(tmp_path / "kb")
    assert isinstance(kb.alias_names, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        kb.alias_names[0] = 1


def test_pickle_from_disk_holds_the_path_only(tmp_path):
    builder = KnowledgeBaseBuilder("big")
    for i in range(2000):
        builder.add(Concept(f"C{i}", (f"a long name of the concept {i}",), ("g",)))
    kb = builder.write(tmp_path / "kb")
    assert len(pickle.dumps(kb)) < 1000


def test_a_replaced_directory_is_not_mistaken_for_the_old_one(builder, tmp_path):
    pickled = pickle.dumps(builder.write(tmp_path / "kb"))
    builder.add(Concept("T:5", ("new",), ("Drug",)))
    builder.write(tmp_path / "kb", force=True)
    with pytest.raises(KnowledgeBaseError, match="replaced"):
        pickle.loads(pickled)
