"""Which concepts, and which sentences of style."""

import pytest

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.errors import SettingsError, UnknownGroupError
from spacy_bel.synthesis import StyleSentences, annotated_codes, choose_concepts
from spacy_bel.synthesis.prompt import find_language

DISEASES = [f"DIS:{i}" for i in range(8)]


def test_concepts_by_group_code_definition_and_mention(kb):
    assert sorted(choose_concepts(kb)) == sorted([*DISEASES, "BOTH:1", "DRUG:1", "TOX:1"])
    assert set(choose_concepts(kb, groups=["Drugs"])) == {"BOTH:1", "DRUG:1", "TOX:1"}
    chosen = choose_concepts(kb, codes=["DIS:3", "none", "TOX:1", "DIS:3"])
    assert sorted(chosen) == ["DIS:3", "TOX:1"]
    assert choose_concepts(kb, codes=["DIS:3", "TOX:1"], groups=["Drugs"]) == ["TOX:1"]
    assert set(choose_concepts(kb, defined=True)) == set(DISEASES[1::2])
    codes = [[["DIS:0"], ["DIS:1", "DIS:2"]], [["none"]], []]
    mentions = [Annotation(0, 1, "a", codes=c) for c in codes]
    annotated = annotated_codes(kb, [CorpusDocument("d", "a", annotations=mentions)])
    assert annotated == {"DIS:0", "DIS:1", "DIS:2"}
    assert not annotated & set(choose_concepts(kb, without=annotated))
    with pytest.raises(UnknownGroupError, match="no semantic group 'Plants'"):
        choose_concepts(kb, groups=["Plants"])


def test_a_larger_limit_draws_the_same_and_more(kb):
    drawn = [choose_concepts(kb, limit=limit, seed=3) for limit in range(1, 13)]
    assert [len(codes) for codes in drawn] == [*range(1, 12), 11]
    for fewer, more in zip(drawn, drawn[1:], strict=False):
        assert set(fewer) <= set(more)
    assert drawn[-1] == choose_concepts(kb)
    assert len({tuple(choose_concepts(kb, limit=3, seed=s)) for s in range(9)}) > 1


def test_style_is_that_of_the_group_and_the_same_each_time(kb):
    sentence = "In the {} week of the war he had a fever again."
    document = CorpusDocument("d", "")
    for number in range(12):
        start = len(document.text)
        document.text += sentence.format(f"{number}th") + " "
        label = "Disease" if number % 2 else "Drug"
        document.annotations.append(Annotation(start + 3, start + 6, "x", label))
    document.text += "Short one. "
    starts = [i for i in range(len(document.text)) if document.text.startswith(("In", "Short"), i)]
    ends = [*starts[1:], len(document.text)]
    groups = {"Disease": ("Diseases",), "Drug": None}.get
    style = StyleSentences.from_documents(
        [document, document], groups, lambda d: zip(starts, ends, strict=True), most=4
    )
    odd = [sentence.format(f"{number}th") for number in range(1, 12, 2)]
    assert style.sentences == {"Diseases": odd}
    drawn = style.draw(kb["DIS:0"])
    assert len(set(drawn)) == 4 and set(drawn) <= set(odd) and drawn == style.draw(kb["DIS:0"])
    assert len({tuple(style.draw(kb[code])) for code in DISEASES}) > 1
    assert style.draw(kb["DRUG:1"]) == []


def test_languages():
    with pytest.raises(SettingsError, match="in the language 'de': choose one of en, fr, es"):
        find_language("de")
