from __future__ import annotations

import gzip
import logging

import pytest

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.obo import read_obo

HEADER = """format-version: 1.2
data-version: toy/releases/2024-05-06
ontology: toy.obo
property_value: dc:title "Toy ontology" xsd:string
property_value: terms:license https://example.org/licence
"""

TERMS = r"""
[Term]
id: T:0
name: Everything

[Term]
id: T:1 ! the first branch
name: Finding \(clinical\) {source="x"} ! Finding
def: "Says \"so\",\nin two lines." [ref:1, bad ref]
synonym: "related" RELATED []
synonym: "without scope" []
synonym: "broad" BROAD layperson [x y]
synonym: "exact" EXACT plural_form [] {a="b"}
synonym: "narrow" NARROW []
xref: UMLS:C0000001 "with text"
xref: http\://example.org/a\:b
xref: UMLS:C0000001
is_a: T:0 ! Everything
alt_id: T:100
relationship: part_of T:2

[Term]
id: T:2
name: Disorder
is_a: T:0 {source="x"} ! Everything

[Term]
id: T:3
name: Both
is_a: T:1
is_a: T:2
is_a: X:404 ! not in this file

[Term]
id: OTHER:7
name: stranger

[Term]
id: T:8
name: obsolete thing
is_obsolete: true
alt_id: T:80
xref: UMLS:C0000008
replaced_by: T:2

[Term]
id: T:9
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="toy.obo", encoding="utf-8"):
        path = tmp_path / name
        data = text if isinstance(text, bytes) else text.encode(encoding)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.mark.parametrize("form", ["plain", "gzip", "windows"])
def test_terms_and_header(write, form):
    text = HEADER + TERMS
    if form == "windows":
        path = write(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    else:
        path = write(text, "toy.obo.gz" if form == "gzip" else "toy.obo")
    kb = read_obo(path).build()
    assert (kb.meta.name, kb.release) == ("Toy ontology", "2024-05-06")
    assert kb.meta.licence == "https://example.org/licence"
    assert sorted(kb) == ["OTHER:7", "T:0", "T:1", "T:2", "T:3"]
    first = kb["T:1"]
    assert first.names == (
        *("Finding (clinical)", "exact", "narrow", "broad", "related", "without scope"),
    )
    assert first.definition == 'Says "so", in two lines.'
    assert first.cross_references == ("UMLS:C0000001", "http://example.org/a:b")
    assert first.parents == ("T:0",)
    assert first.alternative_codes == ("T:100",)


def test_groups_are_the_branches_below_the_roots(write):
    kb = read_obo(write(HEADER + TERMS)).build()
    assert {code: kb[code].groups for code in kb} == {
        "T:0": ("Everything",),
        "T:1": ("Finding (clinical)",),
        "T:2": ("Disorder",),
        "T:3": ("Disorder", "Finding (clinical)"),
        "OTHER:7": ("stranger",),
    }


def test_one_group_for_all(write):
    assert read_obo(write(TERMS), group="Disease").build().groups == ("Disease",)


def test_terms_in_a_cycle_still_have_a_group(write):
    loop = "[Term]\nid: A\nname: a\nis_a: B\n[Term]\nid: B\nname: b\nis_a: A\n"
    kb = read_obo(write("ontology: loop\n" + loop)).build()
    assert kb["A"].groups == kb["B"].groups == ("loop",)


def test_obsolete_terms_are_retired_codes(write):
    kb = read_obo(write(HEADER + TERMS)).build()
    assert kb.resolve("T:8") == kb.resolve("T:80") == "T:2"
    assert kb.resolve("T:9") is None
    assert kb.find("obsolete thing") == []
    assert kb.cross_references("T:2", "UMLS") == ("UMLS:C0000008",)


def test_options_override_the_header(write):
    builder = read_obo(write(HEADER + TERMS), name="mine", release="7")
    assert (builder.name, builder.release) == ("mine", "7")
    assert read_obo(write(TERMS, "plain.obo.gz")).name == "plain"


BROKEN = {
    "[Term]\nname: no id\n": "line 9: the term has no id",
    "[Term]\nid: T:5\n": "line 9: the term 'T:5' has no name",
    "[Term]\nid: T:5\nname: \x01\n": "line 9: The concept 'T:5' has no usable name",
    "[Term]\nid: T:0\nname: again\n": "line 9: the term 'T:0' occurs twice",
    '[Term]\nid: T:5\nname: x\nsynonym: "open\n': "line 12: the synonym has no text",
    "[Term]\nid: T:5\nname: x\ndef: bare\n": "line 12: the def has no text in double quotes",
    "[Trem]\nid: T:5\n": r"line 9: unknown stanza \[Trem\]",
}


@pytest.mark.parametrize(("stanza", "message"), BROKEN.items())
def test_broken_stanzas_raise_or_are_skipped(write, caplog, stanza, message):
    path = write(f"{HEADER}[Term]\nid: T:0\nname: root\n{stanza}\n[Term]\nid: T:6\nname: good\n")
    with pytest.raises(ReadError, match=rf"toy\.obo, {message}.*skip"):
        read_obo(path)
    with caplog.at_level(logging.WARNING):
        builder = read_obo(path, on_error="skip")
    assert builder.skipped == 1
    assert f"toy.obo, line {message.split()[1]}" in caplog.text
    kb = builder.build()
    assert sorted(kb) == ["T:0", "T:6"]
    assert kb["T:0"].names == ("root",)


def test_files_that_cannot_be_read(write, tmp_path):
    with pytest.raises(ReadError, match=r"nowhere\.obo cannot be read"):
        read_obo(tmp_path / "nowhere.obo")
    with pytest.raises(ReadError, match=r"line 2: not UTF-8"):
        read_obo(write("[Term]\nname: caf\xe9\n", encoding="latin-1"))
    whole = write(HEADER + TERMS * 50, "toy.obo.gz").read_bytes()
    damaged = tmp_path / "damaged.obo.gz"
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match="archive is damaged"):
        read_obo(damaged)


def test_header_is_optional_and_an_empty_file_has_no_concepts(write):
    assert len(read_obo(write("[Term]\nid: A\nname: a\n"))) == 1
    assert len(read_obo(write(""))) == 0


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "terms"),
    [("UBERON.obo.gz", 13_080), ("CL.obo.gz", 2_068), ("HumanDO_2016-09.obo.gz", 6_574)],
)
def test_released_ontologies_are_read_whole(data, file, terms):
    path = data / "kb" / "obo" / file
    builder = read_obo(path)
    assert (len(builder), builder.skipped) == (terms, 0)
    kb = builder.build()
    # Obsolete terms are codes, not concepts, unless a current term has them as its alternative.
    stanzas = gzip.decompress(path.read_bytes()).decode().split("\n\n[")
    obsolete = {
        stanza.split("id: ")[1].split("\n")[0]
        for stanza in stanzas
        if stanza.startswith("Term]") and "\nis_obsolete: true" in stanza
    }
    assert obsolete.isdisjoint(kb)
    known = {code for code, _ in kb.other_codes()}
    assert len(obsolete & known) == len(obsolete) <= kb.meta.retired + kb.meta.alternatives
