from __future__ import annotations

import pytest

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.snomed import read_snomed
from tests.kb.reader_fixtures import write_source


@pytest.fixture
def edition(tmp_path):
    return write_source(tmp_path, "snomed")


def test_active_concepts(edition):
    builder = read_snomed(edition)
    assert (builder.release, builder.skipped) == ("20240101", 0)
    kb = builder.build()
    assert sorted(kb) == ["10", "20"]
    # Both synonyms are preferred in one dialect; their order is that of the file.
    assert kb["10"].names == ("Fit", 'Seizure "grand"', "Seizure")
    assert kb["10"].parents == ("20",)
    assert kb["20"].parents == ()
    assert kb.groups == ("finding",)


def test_one_dialect_decides(edition):
    assert read_snomed(edition, refsets=["508"]).build().preferred_name("10") == 'Seizure "grand"'
    assert read_snomed(edition, refsets=["509"]).build().preferred_name("10") == "Fit"


def test_languages(edition):
    kb = read_snomed(edition, languages=["es", "en"]).build()
    assert kb["10"].names[:2] == ("Convulsión", "Fit")
    kb = read_snomed(edition, languages=["es"]).build()
    assert {code: kb[code].names for code in kb} == {"10": ("Convulsión",)}
    assert kb["10"].groups == ("finding",)  # from the English name


def test_inactive_concepts_are_retired(edition):
    kb = read_snomed(edition).build()
    assert kb.resolve("30") == "10"  # the same as
    assert kb.resolve("40") is None  # refers to, which is not the same
    assert kb.find("Old seizure") == []


def test_wrong_files(edition, tmp_path):
    with pytest.raises(ReadError, match="has no sct2_Concept_Snapshot"):
        read_snomed(tmp_path / "elsewhere")
    concepts = next(edition.rglob("sct2_Concept_Snapshot*"))
    text = concepts.read_text()
    concepts.write_text(text + "50\t20240101\t1\n")
    with pytest.raises(ReadError, match=r"sct2_Concept.*line 6: 3 columns instead of the 5"):
        read_snomed(edition)
    concepts.write_text(text.replace("active", "alive"))
    with pytest.raises(ReadError, match="line 1: no column active"):
        read_snomed(edition)
