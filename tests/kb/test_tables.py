from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.ctd import read_ctd
from spacy_bel.kb.readers.gazetteer import read_gazetteer
from spacy_bel.kb.readers.table import read_table
from tests.kb.reader_fixtures import GAZETTEER, write_source


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.tsv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_one_line_brings_a_spreadsheet(write):
    kb = read_table(write("code\tname\nX:1\tSeizure\n")).build()
    assert (kb["X:1"].names, kb["X:1"].groups) == (("Seizure",), ("Concept",))


@pytest.mark.parametrize(
    "text",
    [
        "ID;Preferred Term;Synonyms;Category\n1;A, b;c|d;G\n",
        'id,label,aliases,group\n1,"A, b",c | d,G\n',
        "identifier|name|synonyms|group\n1|A, b|c|G\n1|d||G\n",
        '{"cui": "1", "term": "A, b", "aliases": ["c", "d"], "group": "G", "more": 1}\n',
        '{"code": 1, "name": "A, b", "synonyms": "c|d", "group": ["G"]}\n\n',
        'code\tname\tsynonyms\tgroup\tnote\n1\t"A, b"\tc\tG\tx\n1\td\n',
    ],
)
def test_forms_of_the_same_table(write, text):
    kb = read_table(write(text)).build()
    assert [kb[code].names for code in kb] == [("A, b", "c", "d")]
    assert "G" in kb["1"].groups


def test_all_columns(write):
    text = (
        "code,name,synonyms,group,definition,cross_references,parents,alternative_codes\n"
        '1,a,b,G|H,"Two\nlines, ""quoted"".",UMLS:C1|MSH:D1,2|1,01|001\n2,c,,,,,,\n'
    )
    builder = read_table(write(text), name="mine", release="3")
    kb = builder.build()
    first = kb["1"]
    assert first.groups == ("G", "H")
    assert first.definition == 'Two lines, "quoted".'
    assert first.cross_references == ("UMLS:C1", "MSH:D1")
    assert first.parents == ("2", "1")  # a cycle is kept as it is
    assert kb.resolve("001") == "1"
    assert (kb.meta.name, kb.release, builder.entries) == ("mine", "3", 2)


def test_columns_delimiter_separator_and_encoding_can_be_named(write):
    path = write("Schlüssel#Wort#Auch\n1#Übelkeit#Erbrechen;Brechreiz\n", encoding="latin-1")
    columns = {"code": "Schlüssel", "name": "Wort", "synonyms": "Auch"}
    kb = read_table(path, columns=columns, delimiter="#", separator=";", encoding="latin-1").build()
    assert kb["1"].names == ("Übelkeit", "Erbrechen", "Brechreiz")
    utf16 = write("code\tname\n1\tÜbelkeit\n", encoding="utf-16")
    assert read_table(utf16, encoding="utf-16").build()["1"].names == ("Übelkeit",)
    with pytest.raises(ReadError, match="No column colour: use code, name"):
        read_table(path, columns={"colour": "x"})
    with pytest.raises(ReadError, match="no encoding 'klingon'"):
        read_table(path, encoding="klingon")


BROKEN = {
    "code\tname\n1\ta\tb\n": "line 2: 3 columns instead of the 2",
    "code\tname\n\ta\n": "line 2: the row has no code or no name",
    "code\tname\n1\t \n": "line 2: the row has no code or no name",
    'code,name\n1,"a"b\n2,c\n': "line 2: ',' expected after '\"'",
    'code,name\n1,a\n2,"open\n\n': "line 3: unexpected end of data",
    '{"code": "1", "name": "a"}\nno json\n': "line 2: not JSON",
    '{"code": "1", "name": "a"}\n[1]\n': "line 2: not a JSON object",
    '{"code": "1", "name": ["a"]}\n': "line 1: the name is neither text",
    '{"code": "1", "name": "a", "synonyms": [1]}\n': "line 1: the synonyms is neither",
    '{"code": "1", "name": "a", "synonyms": ' + "[" * 5000 + "\n": "line 1: not JSON",
}


@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_broken_rows_raise_or_are_skipped(write, text, message):
    path = write(text)
    with pytest.raises(ReadError, match=rf"mine\.tsv, {message}"):
        read_table(path)
    builder = read_table(path, on_error="skip")
    assert builder.skipped == 1
    assert message.split(":")[0] in builder.damage[0]


def test_a_table_needs_a_header(write):
    with pytest.raises(ReadError, match="line 1: no columns for code and name among X:1, a"):
        read_table(write("X:1\ta\n"))
    assert len(read_table(write(""))) == 0


cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


@settings(deadline=None)
@given(st.dictionaries(cells.map(str.strip).filter(bool), cells, min_size=1, max_size=5))
def test_what_json_lines_say_is_what_is_read(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("json") / "x.jsonl"
    path.write_text("".join(json.dumps({"code": c, "name": n}) + "\n" for c, n in table.items()))
    builder = read_table(path, on_error="skip")
    usable = {code: name.strip() for code, name in table.items() if name.strip()}
    assert builder.skipped == len(table) - len(usable)
    if usable:
        kb = builder.build()
        assert {code: kb[code].names for code in kb} == {c: (n,) for c, n in usable.items()}


def test_gazetteer(tmp_path):
    builder = read_gazetteer(write_source(tmp_path, "gazetteer"))
    assert builder.entries == 4
    kb = builder.build()
    assert kb["10"].names == ("convulsión", "ataque")
    assert kb["20"].names == ('fiebre "alta"', "fiebre")
    assert kb["20"].groups == ("hallazgo", "trastorno")


def test_codes_that_a_spreadsheet_rounded(write):
    path = write(f"{GAZETTEER}1.63E+16\tes\ttos\thallazgo\t1\n")
    with pytest.raises(ReadError, match=r"line 6: a spreadsheet has rounded the code 1\.63E\+16"):
        read_gazetteer(path)
    assert read_gazetteer(path, on_error="skip").skipped == 1


def test_ctd_diseases(tmp_path):
    kb = read_ctd(write_source(tmp_path, "ctd")).build()
    mood = kb["MESH:D000002"]
    assert mood.names == ("Mood, low", "Sad", "Blue")
    assert mood.definition == 'Feeling "down".'
    assert mood.parents == ("MESH:D000001",)
    for other in ("D000002", "DO:DOID:7", "OMIM:600001", "600001"):
        assert kb.resolve(other) == "MESH:D000002"
    assert kb.resolve("600002") == "OMIM:600002"
    assert kb.groups == ("Disease",)


def test_ctd_chemicals_as_tsv(write):
    path = write(
        "# ChemicalName\tChemicalID\tCasRN\tDefinition\tSynonyms\n#\nWater\tMESH:D014867\t"
        "7732-18-5\twet\tIce|Steam\n",
        "CTD_chemicals.tsv",
    )
    kb = read_ctd(path).build()
    assert kb["D014867"].names == ("Water", "Ice", "Steam")
    assert kb.cross_references("D014867", "CAS") == ("CAS:7732-18-5",)
    assert kb.groups == ("Chemical",)


def test_ctd_without_its_comments(write):
    with pytest.raises(ReadError, match="no comment names the columns"):
        read_ctd(write("Mood,MESH:D1\n", "CTD_diseases.csv"))
