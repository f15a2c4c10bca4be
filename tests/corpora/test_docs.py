import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin

from spacy_bel.corpora.docs import MENTIONS, examples, to_doc
from spacy_bel.corpora.document import Annotation, CorpusDocument

NLP = spacy.blank("en")
TEXT = "Mild ataxia.\nHypertelorism and cleft lip/palate were seen."


def record(*annotations):
    return CorpusDocument("n1", TEXT, [(0, 12), (13, len(TEXT))], list(annotations))


def test_mentions_passages_and_gold():
    doc = to_doc(
        record(
            Annotation(5, 11, "ataxia", "Phenotype", [["HP:0001251"]]),
            Annotation(31, 47, "cleft lip/palate", "", [["A", "B"], ["C"]]),
        ),
        NLP,
    )
    assert doc.text == TEXT
    assert [(e.text, e.label_, e.kb_id_) for e in doc.ents] == [
        ("ataxia", "Phenotype", "HP:0001251"),
        ("cleft lip/palate", "MENTION", "A+C"),
    ]
    assert [s.text for s in doc.spans["passages"]] == ["Mild ataxia.", TEXT[13:]]
    assert doc.user_data["document_id"] == "n1"
    assert doc.user_data["gold_mentions"][1] == [31, 47, "", [["A", "B"], ["C"]]]


def test_mentions_keep_their_offsets_inside_tokens():
    inside, across = Annotation(6, 10, "taxi"), Annotation(7, 19, "axia.\nHypert")
    doc = to_doc(record(inside, across), NLP)
    assert [s.text for s in doc.spans[MENTIONS]] == ["taxi", "axia.\nHypert"]
    assert doc.text == TEXT


def test_white_space_around_mentions_is_left_out():
    doc = to_doc(record(Annotation(4, 13, " ataxia.\n"), Annotation(12, 13, "\n")), NLP)
    assert [e.text for e in doc.ents] == ["ataxia."]


def test_overlapping_mentions_are_all_kept():
    doc = to_doc(
        record(
            Annotation(31, 36, "cleft", "A"),
            Annotation(31, 47, "cleft lip/palate", "A"),
            Annotation(31, 47, "cleft lip/palate", "B"),
        ),
        NLP,
    )
    assert [(e.text, e.label_) for e in doc.ents] == [("cleft lip/palate", "A")]
    assert [(s.text, s.label_) for s in doc.spans[MENTIONS]] == [
        ("cleft", "A"),
        ("cleft lip/palate", "A"),
        ("cleft lip/palate", "B"),
    ]


def test_the_document_survives_serialisation():
    doc = to_doc(record(Annotation(5, 11, "ataxia", "P", [["A", "B"]])), NLP)
    again = Doc(NLP.vocab).from_bytes(doc.to_bytes())
    (stored,) = DocBin(docs=[doc], store_user_data=True).get_docs(NLP.vocab)
    for copy in (again, stored):
        assert copy.ents[0].kb_id_ == "A"
        assert [s.text for s in copy.spans["passages"]] == [s.text for s in doc.spans["passages"]]


def test_examples_show_mentions_but_no_gold_codes_to_the_pipeline():
    records = [record(Annotation(5, 11, "ataxia", "P", [["A"]]))]
    (example,) = examples(records, NLP)
    assert [e.kb_id_ for e in example.reference.ents] == ["A"]
    assert [(e.text, e.label_, e.kb_id_) for e in example.predicted.ents] == [("ataxia", "P", "")]
    assert "gold_mentions" not in example.predicted.user_data
    (bare,) = examples(records, NLP, gold_mentions=False)
    assert not bare.predicted.ents


@pytest.mark.filterwarnings("error")
@given(st.text(st.characters(codec="utf-8"), max_size=40), st.data())
def test_any_text_and_any_mentions_make_a_document(text, data):
    annotations = []
    if text:
        for _ in range(data.draw(st.integers(0, 4))):
            start = data.draw(st.integers(0, len(text) - 1))
            end = data.draw(st.integers(start + 1, len(text)))
            annotations.append(Annotation(start, end, text[start:end], "X", [["c"]]))
    doc = to_doc(CorpusDocument("h", text, [(0, len(text))], annotations), NLP)
    assert doc.text == text
    expected = {a.text.strip() for a in annotations if a.text.strip()}
    assert {span.text for span in doc.spans[MENTIONS]} == expected
