import pickle

import pytest
import spacy
from spacy.tokens import Span

from spacy_bel.dictionary import Dictionary, names_by_group
from spacy_bel.errors import KnowledgeBaseError, UnknownGroupError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder

CONCEPTS = [
    Concept("C1", ("Seizure", "seizure", "Fits"), ("Findings",)),
    Concept("C2", ("Febrile seizure", "FS"), ("Findings",)),
    Concept("C3", ("Atrial septal defect", "ASD"), ("Findings", "Defects")),
    Concept("C4", ("All", "Rush"), ("Findings",)),
    Concept("C5", ("cleft lip/palate", "C", "12345", "4p-"), ("Defects",)),
    Concept("C6", ("Asd-like plant",), ("Plants",)),
    Concept("C7", ("SHE", "Sleep-related hypermotor epilepsy"), ("Findings",)),
]


def make_kb(concepts=CONCEPTS):
    builder = KnowledgeBaseBuilder("test")
    for concept in concepts:
        builder.add(concept)
    return builder.build()


@pytest.fixture(scope="module")
def kb():
    return make_kb()


@pytest.fixture
def nlp():
    return spacy.blank("en")


def mentions(doc):
    return [(ent.text, ent.label_) for ent in doc.ents]


def test_longest_names_are_marked_with_their_group(nlp, kb):
    doc = Dictionary(nlp, kb=kb)(nlp("A FEBRILE seizure, two seizures, fits and cleft lip/palate."))
    assert mentions(doc) == [
        ("FEBRILE seizure", "Findings"),
        ("fits", "Findings"),
        ("cleft lip/palate", "Defects"),
    ]


def test_abbreviations_keep_their_case(nlp, kb):
    doc = Dictionary(nlp, kb=kb)(nlp("She has an ASD, not an asd, and SHE."))
    assert mentions(doc) == [("ASD", "Defects"), ("SHE", "Findings")]


def test_words_of_ordinary_text_are_no_mentions(nlp, kb):
    assert mentions(Dictionary(nlp, kb=kb)(nlp("All of C had 12345 and 4p- in FS"))) == []
    doc = Dictionary(nlp, kb=kb, min_length=2)(nlp("All FS"))
    assert mentions(doc) == [("FS", "Findings")]


def test_entities_that_are_there_stay(nlp, kb):
    doc = nlp("A febrile seizure and fits")
    doc.ents = [Span(doc, 2, 3, label="MINE", kb_id="X")]
    Dictionary(nlp, kb=kb)(doc)
    assert mentions(doc) == [("seizure", "MINE"), ("fits", "Findings")]
    assert doc.ents[0].kb_id_ == "X"


def test_groups_choose_names_and_labels(nlp, kb):
    text = "ASD with fits beside an asd-like plant"
    assert mentions(Dictionary(nlp, kb=kb, groups=["Findings"])(nlp(text))) == [
        ("ASD", "Findings"),
        ("fits", "Findings"),
    ]
    assert mentions(Dictionary(nlp, kb=kb, groups=["Plants"])(nlp(text))) == [
        ("asd-like plant", "Plants")
    ]
    with pytest.raises(UnknownGroupError, match="Stars"):
        Dictionary(nlp, kb=kb, groups=["Stars"])(nlp(text))


def test_each_name_has_one_group(kb):
    names = names_by_group(kb)
    assert names["Defects"] == sorted(names["Defects"], key=list(kb.names()).index)
    assert sum(map(len, names.values())) == kb.n_names - 1  # "Seizure" and "seizure"


def test_the_knowledge_base_is_opened_at_the_first_document(nlp, kb):
    opened = []

    def load():
        opened.append(1)
        return kb

    dictionary = Dictionary(nlp, kb=load)
    assert not opened
    assert [
        mentions(doc) for doc in dictionary.pipe(nlp.make_doc(t) for t in ["fits", "rush"])
    ] == [
        [("fits", "Findings")],
        [("rush", "Findings")],
    ]
    assert len(opened) == 1


def test_a_missing_knowledge_base_is_not_blamed_on_a_document(nlp, tmp_path):
    dictionary = Dictionary(nlp, kb=tmp_path / "none")
    dictionary.set_error_handler(lambda *args: None)
    with pytest.raises(KnowledgeBaseError):
        list(dictionary.pipe([nlp.make_doc("fits")]))


def test_another_knowledge_base_brings_other_names(nlp, kb):
    dictionary = Dictionary(nlp, kb=kb)
    dictionary(nlp("fits"))
    dictionary.set_kb(make_kb([Concept("D1", ("Yellow fever",), ("Infections",))]))
    assert mentions(dictionary(nlp("fits and yellow fever"))) == [("yellow fever", "Infections")]


def test_saved_with_its_knowledge_base(nlp, kb, tmp_path):
    dictionary = Dictionary(nlp, kb=kb, store_kb=True)
    dictionary.to_disk(tmp_path / "dictionary")
    from_disk = Dictionary(nlp, kb="gone").from_disk(tmp_path / "dictionary")
    from_bytes = Dictionary(nlp, kb="gone").from_bytes(dictionary.to_bytes())
    for again in (from_disk, from_bytes):
        assert mentions(again(nlp("fits"))) == [("fits", "Findings")]


def test_sent_to_another_process(nlp, kb):
    again = pickle.loads(pickle.dumps(Dictionary(nlp, kb=kb)))
    doc = again(spacy.blank("en")("fits and ASD"))
    assert mentions(doc) == [("fits", "Findings"), ("ASD", "Defects")]
