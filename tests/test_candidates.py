"""Where candidates are kept, and what they survive."""

from __future__ import annotations

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin, Span

from spacy_bel.candidates import Candidate, has_candidates, register_extension

register_extension()

candidate_lists = st.lists(
    st.tuples(st.text(min_size=1), st.text(), st.floats(-1e6, 1e6)), max_size=6
).map(
    lambda rows: [
        Candidate(*row) for row in sorted({r[0]: r for r in rows}.values(), key=lambda r: -r[2])
    ]
)


@pytest.fixture
def doc():
    return spacy.blank("en")("Two colds and one fever.")


@given(candidate_lists, candidate_lists)
def test_candidates_survive_bytes_and_docbin(first, second):
    doc = spacy.blank("en")("Two colds and one fever.")
    spans = [Span(doc, 1, 2, label="A"), Span(doc, 4, 5, label="B", span_id="x")]
    spans[0]._.kb_candidates = first
    spans[1]._.kb_candidates = second
    binary = DocBin(store_user_data=True, docs=[doc]).to_bytes()
    read = [
        doc,
        Doc(doc.vocab).from_bytes(doc.to_bytes()),
        *DocBin().from_bytes(binary).get_docs(doc.vocab),
    ]
    for one in read:
        assert Span(one, 1, 2, label="A")._.kb_candidates == first
        assert Span(one, 4, 5, label="B", span_id="x")._.kb_candidates == second
        assert has_candidates(one)


def test_spans_at_the_same_place_keep_their_own(doc):
    a, b = Span(doc, 1, 2, label="A"), Span(doc, 1, 2, label="B")
    c = Span(doc, 1, 2, label="A", span_id="other")
    a._.kb_candidates = [Candidate("1", "one", 1.0)]
    b._.kb_candidates = [Candidate("2", "two", 1.0)]
    c._.kb_candidates = [Candidate("3", "three", 1.0)]
    read = Doc(doc.vocab).from_bytes(doc.to_bytes())
    assert [
        Span(read, 1, 2, label=label, span_id=span_id)._.kb_candidates[0].code
        for label, span_id in (("A", ""), ("B", ""), ("A", "other"))
    ] == ["1", "2", "3"]
    assert doc[1:2]._.kb_candidates == []  # which of them is meant?


def test_a_copy_of_the_document_is_independent(doc):
    a, b = Span(doc, 1, 2, label="A"), Span(doc, 1, 2, label="B")
    a._.kb_candidates = [Candidate("1", "one", 1.0)]
    copy = doc.copy()
    b._.kb_candidates = [Candidate("2", "two", 1.0)]
    assert Span(copy, 1, 2, label="B")._.kb_candidates == []
    assert Span(copy, 1, 2, label="A")._.kb_candidates == a._.kb_candidates


def test_parts_and_joined_documents_keep_candidates(doc):
    Span(doc, 4, 5, label="A")._.kb_candidates = [Candidate("1", "one", 1.0)]
    part = doc[3:6].as_doc(copy_user_data=True)
    assert Span(part, 1, 2, label="A")._.kb_candidates[0].code == "1"
    joined = Doc.from_docs([doc, doc.copy()])
    assert Span(joined, 10, 11, label="A")._.kb_candidates[0].code == "1"


def test_no_candidates(doc):
    assert doc[0:1]._.kb_candidates == [] and not has_candidates(doc)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("1", "a", 0.1), ("2", "b", 0.2)], "best first"),
        ([("1", "a", 0.2), ("1", "b", 0.1)], "twice"),
    ],
)
def test_disorder_is_refused(doc, rows, message):
    with pytest.raises(ValueError, match=message):
        doc[0:1]._.kb_candidates = rows
