from __future__ import annotations

import gzip

import pytest

from spacy_bel.errors import ReadError, UnknownGroupError
from spacy_bel.kb.readers.semantic_groups import (
    GROUP_OF_TYPE,
    GROUPS,
    ST21PV_ROOTS,
    TREE_NUMBERS,
    group_name,
    select_types,
    types_below,
)
from spacy_bel.kb.readers.umls import read_umls
from spacy_bel.kb.readers.umls_titles import longbel_title
from tests.kb.reader_fixtures import MRCONSO, write_source


@pytest.fixture
def meta(tmp_path):
    return write_source(tmp_path / "2023AA", "umls")


def test_concepts_of_a_release(meta):
    builder = read_umls(meta)
    assert (builder.release, builder.entries) == ("2023AA", 8)
    kb = builder.build()
    assert sorted(kb) == ["C0000001", "C0000002", "C0000004"]
    # "Seizures" is a worse form of the same term than the name of a higher rank.
    assert kb["C0000001"].names == ("Seizure", "Convulsion", "Seizures")
    assert kb["C0000001"].groups == ("Disorders",)
    assert kb["C0000001"].definition == "A sudden discharge."
    assert kb["C0000001"].cross_references == ("MSH:D001", "SNOMEDCT_US:10")
    assert kb["C0000001"].parents == ("C0000004", "C0000003")
    assert kb["C0000002"].groups == ("Anatomy",)


def test_retired_codes_follow_synonymy_only(meta):
    kb = read_umls(meta).build()
    assert kb.resolve("C0000090") == "C0000001"
    assert [kb.resolve(code) for code in ("C0000091", "C0000092")] == [None, None]
    assert kb.meta.retired == 3


@pytest.mark.parametrize(
    ("languages", "names"),
    [
        (["SPA"], ("Convulsión",)),
        (["SPA", "ENG"], ("Convulsión", "Seizure", "Convulsion", "Seizures")),
        (["eng", "spa"], ("Seizure", "Convulsion", "Seizures", "Convulsión")),
    ],
)
def test_languages_are_preferred_in_their_order(meta, languages, names):
    kb = read_umls(meta, languages=languages).build()
    assert kb["C0000001"].names == names


def test_all_languages(meta):
    kb = read_umls(meta, languages=()).build()
    assert kb["C0000003"].names == ("Fiebre",)
    assert len(kb) == 4


def test_sources_and_suppressible_names(meta):
    assert read_umls(meta, sources=["SNOMEDCT_US"]).build()["C0000001"].names == ("Convulsion",)
    kb = read_umls(meta, suppressible=True).build()
    assert kb["C0000001"].names[-1] == "Old fit"


@pytest.mark.parametrize(
    ("types", "codes"),
    [
        (["ANAT"], ["C0000002"]),
        (["Disorders", "anat"], ["C0000001", "C0000002"]),
        (["T047"], ["C0000001"]),
        (["st21pv"], ["C0000001", "C0000002"]),
    ],
)
def test_semantic_types_can_be_chosen(meta, types, codes):
    assert sorted(read_umls(meta, semantic_types=types).build()) == codes


@pytest.mark.parametrize(
    ("parents", "codes"),
    [("rel", ("C0000004", "C0000003")), ("hier", ("C0000002",)), ("none", ())],
)
def test_parents(meta, parents, codes):
    assert read_umls(meta, parents=parents).build()["C0000001"].parents == codes


def test_only_names_and_types_are_needed(meta):
    for table in ("MRDEF", "MRREL", "MRHIER", "MRRANK", "MRCUI"):
        (meta / f"{table}.RRF").unlink()
    kb = read_umls(meta).build()
    # Without ranks, better forms of the preferred term come first.
    assert kb["C0000001"].names == ("Seizure", "Seizures", "Convulsion")
    (meta / "MRSTY.RRF").unlink()
    with pytest.raises(ReadError, match=r"no MRSTY\.RRF"):
        read_umls(meta)


def test_gzipped_tables_and_the_path_of_one_table(meta):
    plain = read_umls(meta).build()
    assert read_umls(meta / "MRCONSO.RRF").build().fingerprint == plain.fingerprint
    for file in list(meta.iterdir()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert read_umls(meta).build().fingerprint == plain.fingerprint


def test_tables_must_be_sorted(meta):
    lines = MRCONSO.splitlines(keepends=True)
    (meta / "MRCONSO.RRF").write_text("".join(lines[5:] + lines[:5]))
    with pytest.raises(ReadError, match=r"MRCONSO\.RRF, line 4: C0000001 after C0000004.*sort"):
        read_umls(meta)


def test_wrong_column_counts(meta):
    (meta / "MRSTY.RRF").write_text("C0000001|T047|\nC0000002|T023|A|B|C||\n")
    with pytest.raises(ReadError, match=r"MRSTY\.RRF, line 1: 2 columns instead of the 6"):
        read_umls(meta)
    builder = read_umls(meta, on_error="skip")
    assert builder.skipped == 1
    assert builder.build()["C0000001"].groups == ("Unknown",)


def test_wrong_options(meta):
    with pytest.raises(UnknownGroupError, match="'T999'.*DISO"):
        read_umls(meta, semantic_types=["T999"])
    with pytest.raises(ReadError, match="rel, hier, none"):
        read_umls(meta, parents="up")


def test_127_types_in_15_groups():
    assert (len(GROUP_OF_TYPE), len(GROUPS)) == (127, 15)
    assert set(GROUP_OF_TYPE.values()) == set(GROUPS)
    places = [TREE_NUMBERS[tui] for tui in GROUP_OF_TYPE]
    assert len(set(places)) == 127
    # Each type but the two roots hangs below another.
    assert all(p.rpartition(".")[0] in places for p in places if "." in p)
    counts = {group: 0 for group in GROUPS}
    for group in GROUP_OF_TYPE.values():
        counts[group] += 1
    assert counts == {
        **{"ACTI": 9, "ANAT": 11, "CHEM": 20, "CONC": 12, "DEVI": 3, "DISO": 12, "GENE": 5},
        **{"GEOG": 1, "LIVB": 21, "OBJC": 5, "OCCU": 2, "ORGA": 4, "PHEN": 6, "PHYS": 9},
        "PROC": 7,
    }


def test_st21pv_is_its_21_types_and_what_is_below():
    assert len(set(ST21PV_ROOTS)) == 21
    types = select_types(["st21pv"])
    assert types == types_below(ST21PV_ROOTS)
    # disease below biologic function, human below eukaryote; but no temporal concept, no language
    assert {"T038", "T047", "T191", "T016", "T121"} <= types
    assert not {"T079", "T171", "T071", "T080"} & types


def test_types_of_older_releases_have_groups():
    assert group_name("T110") == "Chemicals & Drugs"
    assert group_name("T009") == "Living Beings"
    assert group_name("T999") is None


def atom(name, *, lat="ENG", ts="P", sab="NCI", tty="PT"):
    row = [""] * 19
    row[1], row[2], row[11], row[12], row[14] = lat, ts, sab, tty, name
    return row


@pytest.mark.parametrize(
    ("atoms", "title"),
    [
        ([atom("x", sab="MTH"), atom("Preferred", tty="PN", sab="MTH")], "Preferred"),
        ([atom("x"), atom("Longest of all", sab="MTH")], "Longest of all"),
        ([atom("fit", sab="MTH"), atom("Fit", sab="MTH"), atom("seizure", sab="MTH")], "Fit"),
        ([atom("Fits"), atom("fit"), atom("a", ts="S"), atom("b", lat="FRE")], "fit"),
        ([atom("crise", lat="FRE"), atom("crisis", lat="SPA")], "crise"),
        ([atom("c1", lat="FRE"), atom("c2", lat="FRE"), atom("crisis", lat="SPA")], "crisis"),
        ([atom("Anfall", lat="GER")], None),
    ],
)
def test_longbel_titles(atoms, title):
    assert longbel_title(atoms) == title


def test_longbel_titles_are_preferred_names(meta):
    text = (meta / "MRCONSO.RRF").read_text()
    (meta / "MRCONSO.RRF").write_text(text.replace("|ET|D001|Seizures", "|PN|D001|Seizures"))
    assert read_umls(meta).build().preferred_name("C0000001") == "Seizure"
    kb = read_umls(meta, titles="longbel").build()
    assert kb["C0000001"].names == ("Seizures", "Seizure", "Convulsion")
    with pytest.raises(ReadError, match="umls, longbel"):
        read_umls(meta, titles="other")
