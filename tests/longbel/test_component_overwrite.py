"""Links that a user has fixed before `longbel_linker` comes, and gold codes that must not be."""

from __future__ import annotations

import pytest
from spacy.tokens import DocBin, Span
from spacy.training import Corpus, Example
from spacy.util import registry

from spacy_bel.candidates import set_candidates
from spacy_bel.corpora.docbin import write_docbin
from spacy_bel.corpora.docs import from_doc
from spacy_bel.corpora.reading import read_documents
from spacy_bel.mentions import mention_spans, set_links

from .helpers import MENTIONS, TEXT, links, marked

AGAIN = [*MENTIONS, ("Headache", "Disorders")]


def preset(nlp, codes, spans_key=None):
    """A document some of whose mentions have a code already."""
    doc = marked(nlp, TEXT, AGAIN)
    if spans_key is not None:
        doc.spans[spans_key] = list(doc.ents)
        doc.ents = []
    set_links(doc, spans_key, codes)
    return doc


def codes(doc, spans_key=None):
    return [span.kb_id_ for span in mention_spans(doc, spans_key)]


def memory(nlp, doc):
    """The memory of the prompt of the last mention that is linked."""
    seen = []
    tokenizer = nlp.get_pipe("longbel_linker").engine.tokenizer
    encode = tokenizer.encode
    tokenizer.encode = lambda text: seen.append(text) or encode(text)
    nlp(doc)
    tokenizer.encode = encode
    return seen[-1].partition("### Previous Normalizations\n")[2].partition("\n\n")[0].split("\n")


@pytest.mark.parametrize("spans_key", [None, "sc"])
@pytest.mark.parametrize("passes", [1, 2])
def test_what_is_there_stays(make_nlp, spans_key, passes):
    nlp = make_nlp(overwrite=False, spans_key=spans_key, passes=passes)
    fixed = {0: "D5", 2: "P2"}
    doc = nlp(preset(nlp, fixed, spans_key))
    spans = mention_spans(doc, spans_key)
    assert [codes(doc, spans_key)[i] for i in fixed] == list(fixed.values())
    assert [bool(span._.kb_candidates) for span in spans] == [False, True, False, True]
    assert [spans[i].kb_id_ for i in (1, 3)] == [spans[i]._.kb_candidates[0].code for i in (1, 3)]
    # Again, alone and in a stream: as if nothing had happened.
    first = [(*span, span.kb_id_, span._.kb_candidates) for span in spans]
    (again,) = nlp.pipe([nlp(doc)])
    found = [(*s, s.kb_id_, s._.kb_candidates) for s in mention_spans(again, spans_key)]
    assert found == first


def test_by_default_everything_is_linked_anew(make_nlp):
    nlp = make_nlp()
    assert links(nlp(preset(nlp, {0: "D5", 2: "P2"}))) == links(nlp(marked(nlp, TEXT, AGAIN)))


def test_fixed_links_are_what_later_mentions_read(make_nlp):
    nlp = make_nlp(overwrite=False, prompt="hybrid_long")
    lines = memory(nlp, preset(nlp, {0: "D4", 1: "D1", 2: "P1+P2"}))
    # The mention's own surface if the concept is called so, else its preferred name.
    assert lines == [
        "[headache]{Disorders} headache",
        "[heart attak]{Disorders} heart attack",
        "[cold]{Phenomena} cold<+>shock",
    ]
    assert nlp.get_pipe("longbel_linker").report.pinned == 3


def test_fixed_links_after_a_mention_are_read_in_the_second_pass(make_nlp):
    nlp = make_nlp(overwrite=False, prompt="hybrid_long", passes=2)
    fixed = {1: "D5", 2: "P2", 3: "D4"}
    assert memory(nlp, preset(nlp, fixed)) == [
        "[heart attak]{Disorders} asthma",
        "[cold]{Phenomena} shock",
        "[Headache]{Disorders} headache",
    ]


def test_unknown_codes_stay_and_say_nothing(make_nlp):
    nlp = make_nlp(overwrite=False, prompt="hybrid_long")
    doc = preset(nlp, {0: "Q999", 1: "D5", 2: "D1+Q999"})
    assert memory(nlp, doc) == ["[heart attak]{Disorders} asthma"]
    assert codes(doc)[:3] == ["Q999", "D5", "D1+Q999"]
    assert not doc.ents[0]._.kb_candidates


def test_nil_is_no_decision(make_nlp):
    nlp = make_nlp(overwrite=False)
    plain = links(nlp(marked(nlp, TEXT, AGAIN)))
    assert links(nlp(preset(nlp, dict.fromkeys(range(4), "NIL")))) == plain


def test_what_a_component_linked_is_no_decision_until_it_is_confirmed(make_nlp, kb_dir):
    nlp = make_nlp(overwrite=False)
    plain = links(nlp(marked(nlp, TEXT, AGAIN)))
    nlp.add_pipe("bel_retriever", config={"kb": str(kb_dir)}, first=True)
    doc = nlp.get_pipe("bel_retriever")(marked(nlp, TEXT, AGAIN))
    assert codes(doc)[0] == "D4" != plain[0][2]
    set_candidates(doc.ents[0], [])
    with nlp.select_pipes(enable="longbel_linker"):
        confirmed = nlp(doc)
    assert confirmed.ents[0].kb_id_ == "D4"
    # Without confirmation the retriever's links are replaced.
    assert links(nlp(marked(nlp, TEXT, AGAIN))) == plain


def test_gold_codes_do_not_reach_the_component_in_evaluation(make_nlp, tmp_path):
    """Corpora mark mentions without their codes in what is to be linked."""
    keeping, anew = make_nlp(overwrite=False), make_nlp()
    gold = preset(anew, {0: "D5", 1: "D2", 2: "P2", 3: "D5"})
    with (tmp_path / "gold.spacy").open("wb") as stream:
        write_docbin([from_doc(gold)], stream, anew)
    assert [a.codes for a in next(iter(read_documents(tmp_path / "gold.spacy"))).annotations] == [
        [["D5"]], [["D2"]], [["P2"]], [["D5"]]
    ]  # fmt: skip
    scores = []
    for nlp in (keeping, anew):
        reader = registry.readers.get("spacy_bel.Corpus.v1")(str(tmp_path / "gold.spacy"))
        examples = list(reader(nlp))
        assert codes(examples[0].predicted) == [""] * 4
        assert codes(examples[0].reference) == ["D5", "D2", "P2", "D5"]
        scores.append(nlp.evaluate(examples)["bel_recall_at_1"])
    assert scores[0] == scores[1] < 1
    # spaCy's own reader gives texts alone; it takes a component that finds mentions.
    DocBin(docs=[gold]).to_disk(tmp_path / "plain.spacy")
    for preprocessed in (True, False):
        (example,) = Corpus(tmp_path / "plain.spacy", gold_preproc=preprocessed)(keeping)
        assert not example.predicted.ents
    # Whoever gives gold codes as what is to be linked, gets them back; not in ranks, since what was
    # not looked for has no candidates.
    given = keeping.evaluate([Example(gold.copy(), gold)])
    assert given["bel_micro_f"] == 1 and given["bel_recall_at_1"] == 0
    assert anew.evaluate([Example(gold.copy(), gold)])["bel_micro_f"] < 1


def test_spans_of_one_place_are_told_apart(make_nlp):
    nlp = make_nlp(overwrite=False, spans_key="sc")
    doc = nlp.make_doc("A cold.")
    doc.spans["sc"] = [
        Span(doc, 1, 2, "Disorders", kb_id="D5"),
        Span(doc, 1, 2, "Phenomena"),
    ]
    first = nlp(doc).spans["sc"]
    assert first[0].kb_id_ == "D5" and first[0]._.kb_candidates == []
    assert first[1].kb_id_ == first[1]._.kb_candidates[0].code
    before = codes(doc, "sc")
    assert codes(nlp(doc), "sc") == before
