"""Training examples: shares, answers, and what is left out."""

from __future__ import annotations

from collections import Counter

import pytest
import spacy
from spacy.tokens import Span
from spacy.training import Example

from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.corpora.docs import mention_span, to_doc
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.setwise.examples import TrainingMention, make_examples
from spacy_bel.setwise.gold_mentions import training_mentions
from spacy_bel.setwise.prompt import Question, option_text

CODES = [f"C{i}" for i in range(14)]


@pytest.fixture(scope="module")
def many():
    builder = KnowledgeBaseBuilder("many")
    for code in CODES:
        names = (f"name of {code}", f"alias of {code}", f"synonym of {code}")
        builder.add(Concept(code=code, names=names, groups=("G",)))
    builder.add(Concept(code="E1", names=("twin",), groups=("G",)))
    builder.add(Concept(code="E2", names=("twin",), groups=("G",)))
    return builder.build()


def mention(gold="C3", retrieved=CODES):
    candidates = tuple(Candidate(code, code, 1.0) for code in retrieved)
    return TrainingMention(Question("a b", 2, 3, ()), frozenset({gold}), candidates)


def texts_of(kb, code):
    names = kb[code].names
    return {option_text(name, names[0]) for name in names}


def test_shares_of_answers(many):
    examples = list(make_examples([mention()] * 400, many))
    assert len(examples) == 2000
    gold = texts_of(many, "C3")
    for example in examples:
        options = example.question.options
        assert len(options) == len(set(options)) == 10
        right = [i for i, text in enumerate(options) if text in gold]
        assert right == ([example.answer] if example.answer < 10 else [])
    # Bounds are five standard deviations from what is expected.
    hidden = sum(example.letter == "K" for example in examples)
    assert 133 < hidden < 267  # 10 %
    places = Counter(e.answer for e in examples if e.answer < 10)
    assert len(places) == 10 and min(places.values()) > 115  # 180 of each
    names = Counter(e.question.options[e.answer] for e in examples if e.answer < 10)
    assert set(names) == gold and min(names.values()) > 485  # 600 of each
    shown = Counter(text for e in examples for text in e.question.options)
    wrong = set().union(*(texts_of(many, code) for code in CODES if code != "C3"))
    assert set(shown) == gold | wrong
    assert all(365 < shown[text] < 565 for text in wrong)  # (1800 × 9 + 200 × 10) / 39 = 467


def test_gold_that_was_not_retrieved_is_not_put_in(many):
    examples = list(make_examples([mention("C13", CODES[:6])] * 20, many))
    assert len(examples) == 100
    for example in examples:
        assert example.answer == len(example.question.options) == 6
        assert not texts_of(many, "C13") & set(example.question.options)


def test_nothing_hidden_and_few_options(many):
    for example in make_examples([mention()] * 20, many, hidden=0, options=3, resamplings=2):
        assert example.question.options[example.answer] in texts_of(many, "C3")
        assert len(example.question.options) == 3
    with pytest.raises(ValueError, match="options"):
        next(make_examples([mention()], many, options=21))


def test_options_that_read_the_same_are_one(many):
    for example in make_examples([mention("E2", ["E1", "E2", "C1"])] * 10, many, hidden=0):
        assert example.question.options.count("twin") == 1
        assert example.question.options[example.answer] == "twin"


def test_a_draw_without_options_is_left_out(many):
    examples = list(make_examples([mention("C1", ["C1"])] * 200, many))
    assert 850 < len(examples) < 950 and {e.letter for e in examples} == {"A"}


def test_the_seed_decides(many):
    def draw(seed, mentions):
        return list(make_examples(mentions, many, seed=seed))

    first = draw(1, [mention(), mention("C4")])
    assert first == draw(1, [mention(), mention("C4")])
    assert first != draw(2, [mention(), mention("C4")])
    assert first[5:] == draw(1, [mention("C9"), mention("C4")])[5:]


def test_mentions_of_documents(many):
    text = "It is a first one. Second and third, fourth or fifth. Sixth and seventh."
    annotations = [
        Annotation(8, 13, "first", "G", [["C1", "C2"]]),
        Annotation(19, 25, "Second", "G", [["C1"], ["C2"]]),
        Annotation(30, 35, "third", "G", [["unknown"]]),
        Annotation(37, 43, "fourth", "G", []),
        Annotation(47, 52, "fifth", "G", [["C5"]]),
        Annotation(54, 59, "Sixth", "G", [["C5"]]),
        Annotation(64, 71, "seventh", "G", [["C2"]], fragments=[(64, 67), (69, 71)]),
    ]
    nlp = spacy.blank("en")
    record = CorpusDocument("1", text, annotations=annotations)
    predicted, reference = to_doc(record, nlp, gold=False), to_doc(record, nlp)
    candidates = [Candidate("C2", "x", 1.0), Candidate("C7", "y", 0.5)]
    for annotation in annotations:
        if annotation.text != "fifth":
            set_candidates(mention_span(predicted, annotation), candidates)
    ents = list(reference.ents)
    ents[5] = Span(reference, ents[5].start, ents[5].end, "G", kb_id="NIL")
    reference.set_ents(ents)
    first, fourth, sixth = training_mentions([Example(predicted, reference)], many)
    assert first.question == Question("It is a first one.", 8, 13, ())
    assert first.gold == {"C1", "C2"} and first.candidates == tuple(candidates)
    examples = list(make_examples([first], many, hidden=0))
    assert {e.question.context for e in examples} == {"It is a first one."}
    for example in examples:
        assert example.question.options[example.answer] in texts_of(many, "C2")
    # Of these somebody has said that no concept is meant.
    assert [m.question.mention for m in (fourth, sixth)] == ["fourth", "Sixth"]
    assert not fourth.gold and not sixth.gold
    for example in make_examples([fourth, sixth], many):
        assert example.answer == len(example.question.options) == 2
