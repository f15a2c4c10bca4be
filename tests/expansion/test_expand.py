"""The strings to search for, for each mention of a document."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.corpora.pubtator import read_pubtator
from spacy_bel.evaluation.recall import gold_codes
from spacy_bel.expansion import Query, expand
from spacy_bel.kb.readers import read
from tests.expansion.test_abbreviations import documents, spans


def texts(document, *mentions, **options):
    found = expand(document, spans(document, *mentions), **options)
    return [[query.text for query in queries] for queries in found]


def test_long_forms_come_before_short_ones():
    document = "In ataxia-telangiectasia (A-T), A-T cells"
    long, first, second = expand(document, spans(document, "ataxia-telangiectasia", "A-T"))
    assert long == [Query("ataxia-telangiectasia", 1.0)]
    assert first == second
    assert first[0] == Query("ataxia-telangiectasia", 1.0)
    # An exact name of another concept has cosine 1.
    assert [query.text for query in first[1:]] == ["A-T"] and first[1].weight < 1


def test_composites_count_as_a_whole_first():
    (queries,) = expand("breast and ovarian cancer", [(0, 25)])
    assert queries[0] == Query("breast and ovarian cancer", 1.0)
    assert [query.text for query in queries[1:]] == ["breast cancer", "ovarian cancer"]
    assert all(query.weight < 1 for query in queries[1:])


def test_parts_of_long_forms():
    document = "Duchenne and Becker muscular dystrophy (DMD/BMD): DMD and BMD"
    *_, last = texts(document, "Duchenne and Becker muscular dystrophy", "DMD and BMD")
    assert last[0] == "Duchenne muscular dystrophy and Becker muscular dystrophy"
    assert last[-2:] == ["Duchenne muscular dystrophy", "Becker muscular dystrophy"]


def test_a_short_form_alone_means_the_whole_name():
    document = "von Hippel-Lindau (VHL) disease: VHL and VHL gene defects"
    alone, _, _ = texts(document, "VHL")
    assert alone == ["von Hippel-Lindau disease", "von Hippel-Lindau", "VHL"]
    assert texts(document, "VHL gene defects") == [
        ["von Hippel-Lindau gene defects", "VHL gene defects"]
    ]


def test_of_several_definitions_the_last_one_before_counts():
    document = "CD here. Crohn disease (CD) and CD. Canavan disease (CD) and CD again."
    firsts = [queries[0] for queries in texts(document, "CD")]
    assert firsts == ["Crohn disease"] * 3 + ["Canavan disease"] * 2


def test_codes_beside_names_come_second():
    document = "choroideremia (TCD) maps near TCD (Xq21)"
    queries = expand(document, spans(document, "choroideremia", "TCD"))
    assert [query.text for query in queries[1]] == ["TCD", "choroideremia"]
    assert queries[1][1].weight < 1
    # Without a mention in the brackets there is nothing to go by.
    assert texts(document, "choroideremia") == [["choroideremia"]]


def test_either_kind_can_be_left_out():
    document = "breast cancer (BC) or BC and ovarian cancer"
    mention = "BC and ovarian cancer"
    assert texts(document, mention, abbreviations=False, composites=False) == [[mention]]
    assert texts(document, mention, abbreviations=False)[0][0] == mention
    assert texts(document, mention, composites=False) == [
        ["breast cancer and ovarian cancer", mention]
    ]


@given(documents(), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_mention_keeps_its_own_string(document, abbreviations, composites):
    text, mentions = document
    options = {"abbreviations": abbreviations, "composites": composites}
    found = expand(text, mentions, **options)
    assert found == expand(text, mentions, **options)
    assert len(found) == len(mentions)
    for (start, end), queries in zip(mentions, found, strict=True):
        strings = [query.text for query in queries]
        assert text[start:end] in strings
        assert len(strings) == len(set(strings))
        weights = [query.weight for query in queries]
        assert weights[0] == 1.0 == max(weights) and min(weights) > 0
        if not abbreviations and not composites:
            assert queries == [Query(text[start:end])]


def test_long_mentions_and_documents():
    mention = "AT " * 1700
    document = f"ataxia telangiectasia (AT) {mention}" + "renal failure (RF) and RF. " * 3000
    assert texts(document, mention) == [[mention]]
    assert expand("", []) == []
    assert expand("", [(0, 0)]) == [[Query("")]]


@pytest.mark.data
def test_finds_more_names_on_real_documents(data):
    kb = read(data / "kb" / "medic" / "medic_06Jul2012.txt.gz", "medic").build()
    before = after = 0
    for document in read_pubtator(data / "corpora" / "ncbi-disease" / "NCBItrainset_corpus.txt"):
        mentions = [(a.start, a.end) for a in document.annotations]
        found = expand(document.text, mentions)
        for annotation, queries in zip(document.annotations, found, strict=True):
            gold = gold_codes(annotation.codes, kb.resolve)
            before += not gold.isdisjoint(kb.find(annotation.text))
            after += not gold.isdisjoint(kb.find(queries[0].text))
    assert after > before * 1.08
