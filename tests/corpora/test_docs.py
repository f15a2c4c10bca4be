import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin

from spacy_bel.candidates import Candidate, get_candidates
from spacy_bel.corpora.docs import MENTIONS, examples, from_doc, split_sentences, to_doc
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.evaluation.scorer import score_links

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


LINKS = [Candidate("B", "a name", 0.9), Candidate("A", "ataxia", 0.5)]


def test_both_sides_of_an_example_carry_candidates_and_gold_stays_gold():
    ataxia = Annotation(5, 11, "ataxia", "P", [["A"]], links=LINKS)
    nil = Annotation(13, 27, "Hypertelorism", "P", links=LINKS)
    (example,) = examples([record(ataxia, nil)], NLP)
    for doc in (example.predicted, example.reference):
        assert [get_candidates(ent) for ent in doc.ents] == [LINKS, LINKS]
        assert get_candidates(doc.spans[MENTIONS][0]) == LINKS
    assert [ent.kb_id_ for ent in example.reference.ents] == ["A", ""]
    assert [ent.kb_id_ for ent in example.predicted.ents] == ["", ""]
    scores = score_links([example], ks=(1, 2))
    assert (scores["bel_recall_at_1"], scores["bel_recall_at_2"]) == (0.0, 1.0)
    # Candidates of the reference are no answer: those of the predicted document are.
    (bare,) = examples([record(ataxia)], NLP, gold_mentions=False)
    assert not bare.predicted.ents and score_links([bare], ks=(2,))["bel_recall_at_2"] == 0.0


def test_candidates_come_through_files_into_examples(tmp_path):
    from spacy_bel.corpora import read_documents
    from spacy_bel.corpora.docbin import write_docbin

    nested = Annotation(31, 36, "cleft", "P", [["C"]], links=LINKS[1:])
    outer = Annotation(31, 47, "cleft lip/palate", "P", [["A"], ["B", "C"]], links=LINKS)
    with (tmp_path / "corpus.spacy").open("wb") as stream:
        write_docbin([record(nested, outer)], stream, NLP, sentences=True)
    (read,) = read_documents(tmp_path / "corpus.spacy")
    assert [a.links for a in read.annotations] == [LINKS[1:], LINKS]
    assert [a.codes for a in read.annotations] == [[["C"]], [["A"], ["B", "C"]]]
    (example,) = examples([read], NLP)
    for doc in (example.predicted, example.reference):
        assert [s.text for s in doc.sents] == ["Mild ataxia.\n", TEXT[13:]]
        assert [get_candidates(s) for s in doc.spans[MENTIONS]] == [LINKS[1:], LINKS]


def test_sentences_are_marked_where_there_are_none():
    text = "Title without end\nE. coli sepsis was seen. It was mild."
    mention = Annotation(18, 25, "E. coli", "P", [["A"]])
    doc = to_doc(CorpusDocument("s", text, [(0, 17), (18, len(text))], [mention]), NLP)
    assert not doc.has_annotation("SENT_START") and from_doc(doc).sentences == []
    split_sentences(doc)
    sentences = [s.text.strip() for s in doc.sents]
    assert sentences == ["Title without end", "E. coli sepsis was seen.", "It was mild."]
    doc[1].is_sent_start = True
    split_sentences(doc)
    assert len(list(doc.sents)) == 4  # those that are there stay


def test_sentences_of_a_record_become_those_of_its_document():
    one = record(Annotation(5, 11, "ataxia", "P"))
    one.sentences = [(0, 30), (31, len(TEXT))]
    doc = to_doc(one, NLP, gold=False)
    assert [s.text for s in doc.sents] == [TEXT[:30], TEXT[31:]]
    assert from_doc(to_doc(one, NLP)).sentences == one.sentences


@given(st.text("ab .\n", max_size=30), st.data())
def test_sentences_come_back_from_documents(text, data):
    doc = NLP.make_doc(text)
    for token in doc:
        token.is_sent_start = data.draw(st.booleans())
    again = to_doc(from_doc(doc), NLP)
    assert [s.text for s in again.sents] == [s.text for s in doc.sents]


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
