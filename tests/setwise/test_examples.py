"""Training examples: shares, answers, and what is left out."""

from __future__ import annotations

from collections import Counter

import pytest
import spacy

from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.corpora.docs import mention_span, to_doc
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.setwise.examples import TrainingMention, make_examples, training_mentions
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
    return TrainingMention(Question("a b", 2, 3, ()), frozenset({gold}), tuple(retrieved))


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
    text = "It is a first one. Second and third, fourth or fifth."
    annotations = [
        Annotation(8, 13, "first", "G", [["C1", "C2"]]),
        Annotation(19, 25, "Second", "G", [["C1"], ["C2"]]),
        Annotation(30, 35, "third", "G", [["unknown"]]),
        Annotation(37, 43, "fourth", "G", []),
        Annotation(47, 52, "fifth", "G", [["C5"]]),
    ]
    nlp = spacy.blank("en")
    record = CorpusDocument("1", text, annotations=annotations)
    doc = to_doc(record, nlp)
    for annotation in annotations[:4]:
        set_candidates(
            mention_span(doc, annotation), [Candidate("C2", "x", 1.0), Candidate("C7", "y", 0.5)]
        )
    (found,) = training_mentions([doc], many)  # the fifth has no candidates
    assert found.question == Question("It is a first one.", 8, 13, ())
    assert found.gold == {"C1", "C2"} and found.retrieved == ("C2", "C7")
    examples = list(make_examples([found], many, hidden=0))
    assert {e.question.context for e in examples} == {"It is a first one."}
    for example in examples:
        assert example.question.options[example.answer] in texts_of(many, "C2")
