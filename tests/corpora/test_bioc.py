import gzip

import pytest

from spacy_bel.corpora import read_documents
from spacy_bel.corpora.bioc import read_bioc
from spacy_bel.errors import ReadError

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection><source>written for this test</source><date/><key/>
<infon key="about">nothing</infon>
"""
DOCUMENT = """<document><id>7</id><infon key="licence">CC0</infon>
<passage><infon key="type">title</infon><offset>0</offset><text>Ataxia &amp; tremor</text>
  <annotation id="0"><infon key="type">Disease</infon><infon key="MESH">D001259</infon>
    <location offset="0" length="6"/><text>Ataxia</text></annotation>
</passage>
<passage><infon key="section_type">ABSTRACT</infon><infon key="year">2001</infon>
  <offset>16</offset><text>Left and right ear pits.</text>
  <annotation id="1"><infon key="type">Disease</infon><infon key="MESH">D1|D2</infon>
    <infon key="CompositeRole">CompositeMention</infon>
    <location offset="16" length="4"/><location offset="31" length="8"/>
    <text>Left ear pits</text></annotation>
  <annotation id="2"><infon key="type">Chemical</infon>
    <infon key="identifier">MESH:D3,MESH:D4</infon>
    <location offset="16" length="4"/><text>Left</text></annotation>
  <annotation id="3"><infon key="identifier">-</infon>
    <location offset="25" length="5"/><text>right</text></annotation>
  <annotation id="4"><infon key="type">MeSH_Indexing</infon><infon key="entry_term">Ears</infon>
    <text>Ears</text></annotation>
  <annotation id="5"><location offset="0" length="0"/><text/></annotation>
</passage>
<relation id="R0"><infon key="relation">CID</infon><node refid="0" role="x"/></relation>
</document>
"""
LINKED = """<document><id>8</id><passage><offset>0</offset><text>Fit</text>
<annotation id="0"><infon key="concept_id">A</infon><infon key="concept_score">0.5</infon>
<infon key="all_links">A=0.5|b=c=0.25</infon><location offset="0" length="3"/><text>Fit</text>
</annotation></passage></document>
"""
SENTENCES = """<document><id>9</id><passage><offset>2</offset>
<sentence><offset>2</offset><text>One fit.</text></sentence>
<sentence><offset>11</offset><text>Two fits.</text>
<annotation id="0"><infon key="concept_id">A</infon><location offset="15" length="4"/>
<text>fits</text></annotation></sentence></passage></document>
"""


def write(tmp_path, *documents, head=HEAD):
    path = tmp_path / "corpus.xml"
    path.write_text(f"{head}{''.join(documents)}</collection>", encoding="utf-8")
    return path


def test_corpora_of_biocreative_and_nlm(tmp_path):
    (document,) = read_bioc(write(tmp_path, DOCUMENT))
    assert document.id == "7"
    assert document.text == "Ataxia & tremor\nLeft and right ear pits."
    assert document.passages == [(0, 15), (16, 40)]
    assert document.passage_types == ["title", "ABSTRACT"]
    ataxia, pits, left, right = document.annotations
    assert (ataxia.text, ataxia.type, ataxia.codes, ataxia.id) == (
        "Ataxia", "Disease", [["D001259"]], "0",
    )  # fmt: skip
    assert pits.fragments == [(16, 20), (31, 39)]
    assert (pits.start, pits.end, pits.codes) == (16, 39, [["D1"], ["D2"]])
    assert pits.meta == {"CompositeRole": "CompositeMention", "code": "D1|D2"}
    assert left.codes == [["MESH:D3"], ["MESH:D4"]]
    assert (right.codes, right.meta) == ([], {"code": "-"})
    assert document.meta["licence"] == "CC0"
    assert document.meta["passage_infons"][1]["year"] == "2001"
    assert document.meta["unlocated"] == [
        {"type": "MeSH_Indexing", "entry_term": "Ears", "id": "4", "text": "Ears"},
        {"id": "5", "text": ""},
    ]
    assert document.meta["relations"] == [
        {"id": "R0", "infons": {"relation": "CID"}, "nodes": [{"refid": "0", "role": "x"}]}
    ]


def test_ranked_links_are_no_gold(tmp_path):
    (document,) = read_bioc(write(tmp_path, LINKED))
    (mention,) = document.annotations
    assert mention.codes == []
    assert [(c.code, c.score) for c in mention.links] == [("A", 0.5), ("b=c", 0.25)]


def test_sentences_make_the_text_of_a_passage(tmp_path):
    (document,) = read_bioc(write(tmp_path, SENTENCES))
    assert document.text == "\n\nOne fit.\nTwo fits."
    assert document.passages == [(2, 20)]
    (mention,) = document.annotations
    assert document.text[mention.start : mention.end] == mention.text == "fits"
    assert mention.codes == [["A"]]


def test_other_encodings_and_gzip(tmp_path):
    head = HEAD.replace("UTF-8", "ISO-8859-1")
    text = f"{head}{LINKED.replace('Fit', 'Fît')}</collection>"
    latin, packed = tmp_path / "latin.xml", tmp_path / "packed.xml.gz"
    latin.write_bytes(text.encode("latin-1"))
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + write(tmp_path, LINKED).read_bytes()))
    assert next(read_bioc(latin)).annotations[0].text == "Fît"
    assert next(read_documents(latin)).annotations[0].text == "Fît"
    assert next(read_bioc(packed)).id == "8"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('offset="0" length="3"', 'offset="1" length="3"', "do not lie in"),
        ('offset="0" length="3"', 'offset="-1" length="3"', "do not lie in"),
        ('offset="0" length="3"', 'offset="x" length="3"', "'x' is not a number"),
        ('offset="0" length="3"', 'offset="0" length="0"', "do not lie in"),
        ("A=0.5|", "A=0.5x|", "code=score"),
        ("A=0.5|", "A|", "code=score"),
        ('key="concept_id">A', 'key="json:codes">[1]', "list of lists"),
        ('key="concept_id">A', 'key="json:note">[', "not the JSON"),
    ],
)
def test_a_bad_annotation_is_named_and_left_out(tmp_path, before, after, message):
    assert before in LINKED
    path = write(tmp_path, LINKED.replace(before, after), DOCUMENT)
    with pytest.raises(ReadError, match=rf"corpus\.xml, line 5, document 8.*{message}"):
        list(read_bioc(path))
    errors = []
    first, second = read_bioc(path, on_error=errors.append)
    assert (first.annotations, len(second.annotations), len(errors)) == ([], 4, 1)


def test_passages_that_are_each_counted_from_0_follow_one_another(tmp_path, caplog):
    passage = LINKED[LINKED.index("<passage>") : LINKED.index("</passage>")] + "</passage>"
    path = write(tmp_path, LINKED.replace("</passage>", f"</passage>{passage}"))
    (document,) = read_bioc(path)
    assert (document.text, document.passages) == ("Fit\nFit", [(0, 3), (4, 7)])
    assert [(a.start, a.end) for a in document.annotations] == [(0, 3), (4, 7)]
    assert "the passage at 0 is moved to 4" in caplog.text


@pytest.mark.parametrize(
    "passage", ["<offset>-1</offset>", "<offset>9999999999</offset>", "<offset/>"]
)
def test_a_bad_document_is_named_and_left_out(tmp_path, passage):
    path = write(tmp_path, LINKED.replace("<offset>0</offset>", passage), DOCUMENT)
    with pytest.raises(ReadError, match="line 5, document 8"):
        list(read_bioc(path))
    assert [d.id for d in read_bioc(path, on_error=lambda _: None)] == ["7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + LINKED, "line 9: not well-formed"),
        ("<html><p>Moved</p></html>", "line 1: the outermost element is <html>"),
        ("", "not well-formed"),
        (
            HEAD.replace('"BioC.dtd">', '"x" [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>')
            + LINKED.replace("Fit", "&c;") + "</collection>",
            "line 2: declares the entity 'a'",
        ),
        (
            HEAD.replace('"BioC.dtd">', '"x" [<!ENTITY a SYSTEM "file:///etc/passwd">]>')
            + LINKED.replace("Fit", "&a;") + "</collection>",
            "line 2: declares the entity 'a'",
        ),
        (
            HEAD + LINKED.replace("Fit", "&alpha;") + "</collection>",
            "the entity 'alpha' is not declared",
        ),
        ("<collection>" + "<a>" * 200, "more than 100 deep"),
    ],
)  # fmt: skip
def test_dangerous_and_broken_xml_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReadError, match=rf"bad\.xml, {message}|bad\.xml.*{message}"):
        list(read_bioc(path))


def test_reading_is_lazy(tmp_path):
    path = tmp_path / "long.xml"
    path.write_text(HEAD + LINKED + DOCUMENT * 2000 + "<broken", encoding="utf-8")
    assert next(read_bioc(path)).id == "8"
