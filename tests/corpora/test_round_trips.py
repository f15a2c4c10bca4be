import io
import logging

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.candidates import Candidate
from spacy_bel.corpora import Annotation, CorpusDocument, read_documents, write_documents
from spacy_bel.errors import ReadError
from tests.corpora.records import comparable, records

SUFFIXES = {"bioc": ".xml", "docbin": ".spacy", "bigbio": ".jsonl"}
NLP = spacy.blank("en")


def through(documents, format, folder):
    path = folder / f"corpus{SUFFIXES[format]}"
    with path.open("wb") as stream:
        write_documents(documents, stream, format, NLP)
    return list(read_documents(path))


@pytest.mark.parametrize("format", SUFFIXES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nothing_is_lost_in_any_format(format, tmp_path_factory, data):
    documents = data.draw(st.lists(records(), max_size=2, unique_by=lambda d: d.id))
    folder = tmp_path_factory.mktemp("formats")
    assert comparable(through(documents, format, folder)) == comparable(documents)


@settings(max_examples=40, deadline=None)
@given(st.lists(records(), max_size=2, unique_by=lambda d: d.id))
def test_nothing_is_lost_from_one_format_to_the_next(tmp_path_factory, documents):
    read = documents
    for format in SUFFIXES:
        read = through(read, format, tmp_path_factory.mktemp("chain"))
    assert comparable(read) == comparable(documents)


@pytest.mark.data
@pytest.mark.parametrize(
    "corpus",
    [
        "ncbi-disease/NCBItestset_corpus.txt",
        "ncbi-disease/NCBItrainset_corpus.txt",
        "quaero/dev/EMEA",
    ],
)
def test_public_corpora_come_through_all_formats(data, tmp_path, corpus):
    documents = list(read_documents(data / "corpora" / corpus))
    for document in documents:
        for number, annotation in enumerate(document.annotations):
            annotation.id = annotation.id or f"M{number}"
    read = documents
    for format in SUFFIXES:
        read = through(read, format, tmp_path)
    assert comparable(read) == comparable(documents)
    assert sum(len(d.annotations) for d in read) == sum(len(d.annotations) for d in documents)


LINKED = CorpusDocument(
    "d",
    "Fits and ASD",
    [(0, 12)],
    [
        Annotation(
            0, 4, "Fits", "P", id="T1",
            links=[Candidate("HP:1=|%", "Fit", 0.5), Candidate("B", "Band", -1.25e-7)],
        ),
        Annotation(9, 12, "ASD", "P", id="T2"),
    ],
    passage_types=["title"],
)  # fmt: skip


@pytest.mark.parametrize("format", SUFFIXES)
def test_ranked_links_come_through(tmp_path, format):
    (document,) = through([LINKED], format, tmp_path)
    first, second = document.annotations
    assert [(c.code, c.score) for c in first.links] == [("HP:1=|%", 0.5), ("B", -1.25e-7)]
    assert first.links[0].name == "Fit"
    # They are no gold.
    assert (first.codes, second.codes, second.links) == ([], [], [])


def test_characters_that_xml_cannot_hold_leave_offsets_alone(tmp_path, caplog):
    text = "a\0b\x0bc\ufffed"
    document = CorpusDocument("x", text, [(0, 7)], [Annotation(6, 7, "d", id="T")])
    (read,) = through([document], "bioc", tmp_path)
    assert read.text == "a\ufffdb\ufffdc\ufffdd"
    assert read.annotations == document.annotations
    assert "XML cannot hold" in caplog.text


def test_half_a_surrogate_pair(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    document = CorpusDocument("x", "a\ud800b", [(0, 3)])
    assert through([document], "bigbio", tmp_path)[0].text == document.text
    assert through([document], "bioc", tmp_path)[0].text == "a\ufffdb"
    with pytest.raises(ReadError, match="Document x cannot be stored"):
        through([document], "docbin", tmp_path)


def test_writing_streams_and_does_not_know_every_format():
    def documents():
        yield LINKED
        raise KeyboardInterrupt

    for format, end in (("bigbio", "}\n"), ("bioc", "</document>\n")):
        stream = io.BytesIO()
        with pytest.raises(KeyboardInterrupt):
            write_documents(documents(), stream, format)
        assert stream.getvalue().decode().endswith(end)
    with pytest.raises(ReadError, match="Cannot write 'brat'"):
        write_documents([], io.BytesIO(), "brat")
