import pytest
import spacy
from spacy.tokens import Span
from spacy.training import Example

from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.evaluation.scorer import LINKS, score_links
from spacy_bel.kb import Concept, KnowledgeBaseBuilder

NLP = spacy.blank("en")
WORDS = "ataxia tremor seizure cough fever rash"


def example(gold, predicted, key=None):
    """gold: (token, label, code) rows; predicted: (token, label, ranked codes) rows."""
    reference, doc = NLP.make_doc(WORDS), NLP.make_doc(WORDS)
    gold_spans = [Span(reference, i, i + 1, label=label, kb_id=c) for i, label, c in gold]
    spans = [Span(doc, i, i + 1, label=label) for i, label, _ in predicted]
    for target, mentions in ((reference, gold_spans), (doc, spans)):
        if key:
            target.spans[key] = mentions
        else:
            target.ents = mentions
    for span, (_, _, codes) in zip(spans, predicted, strict=True):
        set_candidates(span, [Candidate(c, c.lower(), -float(r)) for r, c in enumerate(codes)])
    return Example(doc, reference)


def test_hand_computed_scores():
    first = example(
        gold=[(0, "P", "A"), (1, "P", "B"), (2, "P", "C"), (3, "D", "D")],
        predicted=[
            (0, "P", ["A", "X"]),  # rank 1
            (1, "P", ["X", "Y", "B"]),  # rank 3
            (2, "D", ["C"]),  # another label: missed
            (4, "P", ["A"]),  # no gold mention: not counted
        ],  # token 3 was not found: missed
    )
    second = example(
        gold=[(0, "D", "E"), (1, "D", "F"), (2, "D", ""), (3, "D", "NIL")],
        predicted=[
            (0, "D", ["U", "V", "W", "X", "Y", "E"]),  # rank 6
            (1, "D", []),  # no candidate: missed
            (2, "D", ["Z"]),  # no gold code: not counted
        ],
    )
    scores = score_links([first, second])
    assert scores["bel_recall_at_1"] == pytest.approx(1 / 6)
    assert scores["bel_recall_at_5"] == pytest.approx(2 / 6)
    assert scores["bel_mrr"] == pytest.approx((1 + 1 / 3 + 1 / 6) / 6)
    assert scores["bel_per_label"] == {
        "D": {"bel_recall_at_1": 0.0},
        "P": {"bel_recall_at_1": pytest.approx(1 / 3)},
    }


def test_links_are_scored_by_what_mentions_are_linked_to():
    one = example(
        gold=[(0, "P", "A"), (1, "P", "B"), (2, "P", "C"), (3, "P", "D")],
        predicted=[(0, "P", ["A"]), (1, "P", ["X", "B"]), (2, "P", ["C"]), (4, "P", ["Y"])],
    )
    one.predicted.ents = [
        Span(one.predicted, span.start, span.end, label="P", kb_id=code)
        for span, code in zip(one.predicted.ents, ["A", "X", "NIL", "Y"], strict=True)
    ]
    scores = score_links([one])
    assert scores["bel_micro_p"] == pytest.approx(1 / 2)  # A, not X; nobody says what Y should be
    assert scores["bel_micro_r"] == pytest.approx(1 / 4)
    assert scores["bel_micro_f"] == pytest.approx(2 * (1 / 2) * (1 / 4) / (1 / 2 + 1 / 4))


def test_ranks_are_chosen_by_the_caller():
    scores = score_links([example([(0, "P", "B")], [(0, "P", ["A", "B"])])], ks=(2,))
    assert scores["bel_recall_at_2"] == 1.0
    assert "bel_recall_at_1" not in scores


def test_without_gold_every_score_is_none():
    scores = score_links([example([(0, "P", "")], [(0, "P", ["A"])])])
    ranked, links = {"bel_recall_at_1", "bel_recall_at_5", "bel_mrr"}, set(LINKS)
    assert set(scores) == ranked | links | {"bel_per_label"}
    assert set(scores.values()) == {None}


def test_a_missing_label_fits_any():
    spans = example([(0, "", "A")], [(0, "P", ["A"])], key="mentions")
    assert score_links([spans], spans_key="mentions")["bel_recall_at_1"] == 1.0


def test_mentions_of_a_span_group_are_told_apart_by_label():
    spans = example(
        [(0, "P", "A"), (0, "D", "B")], [(0, "D", ["B"]), (0, "P", ["A"])], key="mentions"
    )
    assert score_links([spans], spans_key="mentions")["bel_recall_at_1"] == 1.0
    assert score_links([spans], spans_key="absent")["bel_recall_at_1"] is None
    assert score_links([spans])["bel_recall_at_1"] is None


def test_alternative_codes_count_as_their_concept():
    builder = KnowledgeBaseBuilder("test")
    builder.add(Concept("A", ("ataxia",), ("P",), alternative_codes=("OMIM:1",)))
    builder.add(Concept("B", ("tremor",), ("P",)))
    builder.retire("OLD", replaced_by="B")
    kb = builder.build()
    examples = [
        example(
            gold=[(0, "P", "OMIM:1"), (1, "P", "OLD+A"), (2, "P", "unknown"), (3, "P", "B")],
            predicted=[
                (0, "P", ["A"]),
                (1, "P", ["B+A"]),
                (2, "P", ["unknown"]),
                (3, "P", ["A"]),
            ],
        )
    ]
    assert score_links(examples, kb=kb)["bel_recall_at_1"] == 3 / 4
    assert score_links(examples)["bel_recall_at_1"] == 1 / 4


def test_nothing_beside_nothing_is_not_right():
    """spaCy's own scorer counts it as right."""
    unlinked = [example([(0, "P", "A"), (1, "P", "")], [(0, "P", []), (1, "P", [])])]
    assert score_links(unlinked)["bel_recall_at_1"] == 0.0
    assert score_links(unlinked, policies={"nil": "count"})["bel_recall_at_1"] == 0.0


def test_policies_are_those_of_every_evaluation():
    examples = [example([(0, "P", "A+B"), (1, "P", "NIL")], [(0, "P", ["B"]), (1, "P", [])])]
    predicted = examples[0].predicted
    predicted.ents = [Span(predicted, 0, 1, "P"), Span(predicted, 1, 2, "P", kb_id="NIL")]
    assert score_links(examples)["bel_recall_at_1"] == 0.0
    assert score_links(examples, policies={"composite": "any"})["bel_recall_at_1"] == 1.0
    assert score_links(examples, policies={"nil": "count"})["bel_recall_at_1"] == 0.5


def test_alternatives_that_a_reader_has_left_count():
    one = example([(0, "P", "A")], [(0, "P", ["B"])])
    assert score_links([one])["bel_recall_at_1"] == 0.0
    one.reference.user_data["gold_mentions"] = [(0, 6, "P", [["A", "B"]])]
    assert score_links([one])["bel_recall_at_1"] == 1.0
    # A code that was corrected since is the one that counts.
    one.reference.ents = [Span(one.reference, 0, 1, "P", kb_id="C")]
    assert score_links([one])["bel_recall_at_1"] == 0.0


def test_a_config_names_the_scorer_with_policies():
    scorer = spacy.registry.scorers.get("spacy_bel.linking_scorer.v1")(
        ks=[2], policies={"composite": "any"}
    )
    scores = scorer([example([(0, "P", "A+B")], [(0, "P", ["X", "A"])])])
    assert scores["bel_recall_at_2"] == 1.0
