import pytest

from spacy_bel.corpora import read_documents
from spacy_bel.corpora.knowtator import paragraphs, read_knowtator
from spacy_bel.errors import ReadError

TEXT = "Eyes of mice\n\nThe retina and the outer and inner layers.\n"
XML = """<?xml version="1.0" encoding="UTF-8"?>
<annotations textSource="17.txt">
  <annotation><mention id="M1"/><annotator id="A">An annotator</annotator>
    <span start="18" end="24"/><spannedText>retina</spannedText></annotation>
  <annotation><mention id="M2"/>
    <span start="33" end="38"/><span start="49" end="55"/>
    <spannedText>outer ... layers</spannedText></annotation>
  <annotation><mention id="M3"/><span start="0" end="4"/>
    <spannedText>Eyes</spannedText></annotation>
  <classMention id="M1"><mentionClass id="UBERON:0000966">retina</mentionClass></classMention>
  <classMention id="M2"><mentionClass id="UBERON:1">a</mentionClass>
    <mentionClass id="UBERON:2">b</mentionClass></classMention>
</annotations>
"""
CELLS = """<annotations textSource="17.txt"><annotation><mention id="C1"/>
<span start="8" end="12"/><spannedText>mice</spannedText></annotation>
<classMention id="C1"><mentionClass id="CL:1">x</mentionClass></classMention></annotations>
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("UBERON", "CL", "articles"):
        (tmp_path / name).mkdir()
    (tmp_path / "articles" / "17.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "UBERON" / "17.txt.knowtator.xml").write_text(XML, encoding="utf-8")
    (tmp_path / "CL" / "17.knowtator.xml").write_text(CELLS, encoding="utf-8")
    return tmp_path


def test_classes_become_codes(folder):
    (document,) = read_documents(folder / "UBERON")
    assert (document.id, document.text) == ("17", TEXT)
    retina, layers, eyes = document.annotations
    assert (retina.codes, retina.type) == ([["UBERON:0000966"]], "UBERON")
    assert (retina.id, retina.meta) == ("M1", {"annotator": "An annotator"})
    assert (layers.text, layers.fragments) == ("outer layers", [(33, 38), (49, 55)])
    assert layers.codes == [["UBERON:1"], ["UBERON:2"]]
    assert (eyes.codes, eyes.type) == ([], "")
    assert [document.text[a:b] for a, b in document.passages] == [
        "Eyes of mice",
        "The retina and the outer and inner layers.\n",
    ]


def test_ontologies_over_one_article_come_together(folder):
    (document,) = read_documents(folder)
    assert [a.type for a in document.annotations] == ["CL", "UBERON", "UBERON", ""]


def test_paragraphs():
    assert paragraphs("") == []
    assert paragraphs("\n \n") == []
    assert paragraphs("a\n\nb") == [(0, 1), (3, 4)]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('start="18" end="24"', 'start="18" end="240"', "annotation 1.*do not lie in"),
        ('start="18" end="24"', 'end="24"', "annotation 1.*not a number"),
        ('<span start="18" end="24"/>', "", "annotation 1.*offsets none"),
        ("</annotations>", "", "not well-formed"),
        ("17.txt", "../17.txt", "not the plain name"),
        ("17.txt", "18.txt", r"18\.txt is neither beside"),
        ("<annotations", '<!DOCTYPE a [<!ENTITY b "c">]><annotations', "declares the entity 'b'"),
    ],
)
def test_what_is_wrong_is_named_and_left_out(folder, before, after, message):
    path = folder / "UBERON" / "17.txt.knowtator.xml"
    path.write_text(XML.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(ReadError, match=rf"(?s)17\.txt\.knowtator\.xml.*{message}"):
        list(read_knowtator(path))
    errors = []
    documents = list(read_knowtator(path, on_error=errors.append))
    assert len(errors) == 1
    assert [len(d.annotations) for d in documents] == ([2] if "annotation 1" in message else [])
