import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.corpora import Annotation, CorpusDocument, gold_flags
from spacy_bel.corpora.flags import main_code
from spacy_bel.kb import Concept, KnowledgeBaseBuilder


@pytest.fixture(scope="module")
def kb():
    builder = KnowledgeBaseBuilder("test")
    builder.add(Concept("C1", ("One",), ("G",), alternative_codes=("OMIM:1",)))
    builder.add(Concept("C2", ("Two",), ("G",)))
    builder.retire("C3", replaced_by="C2")
    builder.retire("C4")
    return builder.build()


@pytest.mark.parametrize(
    ("codes", "flags"),
    [
        ([["C1"]], set()),
        ([["UMLS:C1"]], set()),
        ([], {"nil"}),
        ([["C1"], ["C2"]], {"composite"}),
        ([["C1"], ["X"]], {"composite", "out_of_kb"}),
        ([["X", "C1"]], set()),
        ([["OMIM:1"]], set()),
        ([["X:OMIM:1"]], set()),
        ([["C3"]], {"obsolete"}),
        ([["C4"]], {"out_of_kb"}),
    ],
)
def test_flags_of_codes(kb, codes, flags):
    document = CorpusDocument("d", "text", annotations=[Annotation(0, 4, "text", codes=codes)])
    assert gold_flags(document, kb) == [flags]
    assert gold_flags(document) == [flags - {"out_of_kb", "obsolete"}]


def test_flags_of_places():
    document = CorpusDocument(
        "d",
        "left and right ear",
        annotations=[
            Annotation(0, 18, "left ear", codes=[["A"]], fragments=[(0, 4), (15, 18)]),
            Annotation(9, 18, "right  ear", codes=[["A"]]),
            Annotation(9, 18, "left ear", codes=[["A"]]),
        ],
    )
    assert gold_flags(document) == [
        {"discontinuous", "overlapping"},
        {"overlapping"},
        {"overlapping", "misplaced"},
    ]


def test_vocabulary_may_be_written_or_not(kb):
    assert [main_code(kb, code) for code in ("C1", "MESH:C1", "C3", "C9", "A:B:C1")] == [
        "C1", "C1", "C2", None, None,
    ]  # fmt: skip


PLACES = st.tuples(st.integers(0, 12), st.integers(1, 4)).map(lambda p: (p[0], p[0] + p[1]))


@given(st.lists(PLACES, max_size=6))
def test_overlaps_are_those_of_all_pairs(places):
    document = CorpusDocument("d", "x" * 16)
    document.annotations = [Annotation(a, b, "x" * (b - a), codes=[["A"]]) for a, b in places]
    expected = [
        any(a < d and c < b for j, (c, d) in enumerate(places) if i != j)
        for i, (a, b) in enumerate(places)
    ]
    assert ["overlapping" in flags for flags in gold_flags(document)] == expected
