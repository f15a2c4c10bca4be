"""Examples read what the engine reads, and teach names that it can write."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacy_bel.candidates import Candidate
from spacy_bel.errors import SettingsError, TrainingError
from spacy_bel.kb.name_groups import restrict_names
from spacy_bel.longbel.calibrating import GoldDocument
from spacy_bel.longbel.document import Document
from spacy_bel.longbel.memory_policy import AllLinks, ConfidentLinks, RecentLinks
from spacy_bel.longbel.prompts import PROMPTS, get_prompt
from spacy_bel.longbel.run import Run
from spacy_bel.longbel.tokenization import PromptTokenizer
from spacy_bel.longbel.training.building import ExampleBuilder
from spacy_bel.longbel.training.report import BuildingReport, Reason
from spacy_bel.longbel.training.targets import TfidfTargets

from ..conftest import character_tokenizer, make_kb
from ..helpers import make_document, make_engine

TEXT = (
    "Admitted with a heart attak.\nNo cold, but head pains and a hart attack again. "
    "The [sinus] headache {grew} worse, then cardiac failure and MI came."
)
MENTIONS = [
    ("heart attak", "Disorders"),
    ("cold", "Phenomena"),
    ("head pains", "Disorders"),
    ("hart attack", "Disorders"),
    ("[sinus] headache", "Disorders"),
    ("cardiac failure", "Disorders"),
    ("MI", "Disorders"),
]
SPANS = [(0, 28), (29, 77), (78, len(TEXT))]
CODES = ["D1", "P1", "D4", "D1", "D6", "D2", "D1"]

DOCUMENT = make_document(TEXT, MENTIONS, SPANS, SPANS)
GOLD = GoldDocument(DOCUMENT, {i: [[code]] for i, code in enumerate(CODES)})


def make_builder(kb, prompt="hybrid_long", targets=None, **settings):
    return ExampleBuilder(kb, get_prompt(prompt), targets or TfidfTargets(kb), **settings)


def one(text, surface, codes, group="Disorders"):
    """A document of one mention."""
    return GoldDocument(make_document(text, [(surface, group)]), {0: codes})


def with_mentions(document: Document, change) -> Document:
    changed = tuple(change(i, mention) for i, mention in enumerate(document.mentions))
    return replace(document, mentions=changed)


def memory_of(prompt: str) -> list[str]:
    """Lines of the memory section."""
    return prompt.split("### Previous Normalizations\n")[1].split("\n\n###")[0].split("\n")


def names_of(examples):
    return [names for example in examples for names in (t.names for t in example.turns)]


# What is read


def check_prompts_of_engine(kb, llama, prompt, max_length=None, policy=None):
    """Compare prompts where memory is the engine's own links; returns report and engine."""
    engine = make_engine(llama, kb, prompt, num_beams=1, memory=policy, max_length=max_length)
    (done,) = Run(engine, iter([DOCUMENT]), keep_traces=True).results()
    document = with_mentions(DOCUMENT, lambda i, m: replace(m, retrieved=tuple(done.links[i])))
    builder = make_builder(
        *(kb, prompt),
        memory="predicted",
        policy=policy,
        budget=engine.budget,
        encode=engine.tokenizer.encode,
    )
    examples = builder.examples(GoldDocument(document, GOLD.gold), "d")
    assert all(len(example.turns) == 1 and example.document == "d" for example in examples)
    # The engine has no prompt for a mention that is too long.
    expected = [trace.prompt for trace in done.traces if trace.prompt]
    assert [engine.tokenizer.encode(e.turns[0].prompt) for e in examples] == expected
    assert builder.report.context_cut == engine.report.context_cut
    assert builder.report.memory_trimmed == engine.report.memory_trimmed
    assert builder.report.skipped[Reason.too_long] == engine.report.mentions_too_long
    assert len(examples) + engine.report.mentions_too_long == len(MENTIONS)
    return engine.report


@pytest.mark.parametrize("prompt", sorted(PROMPTS))
def test_examples_read_what_the_engine_reads(kb, llama, prompt):
    check_prompts_of_engine(kb, llama, prompt)


@pytest.mark.parametrize(
    ("prompt", "length", "lost"),
    [
        ("hybrid_long", 240, "memory_trimmed"),
        ("hybrid_long", 130, "context_cut"),
        ("hybrid_long", 75, "mentions_too_long"),
        ("incremental", 240, "context_cut"),
        ("long", 180, "memory_trimmed"),
        ("short", 90, "context_cut"),
        ("genre", 75, "context_cut"),
    ],
)
def test_they_read_the_same_where_a_window_is_too_short(kb, llama, prompt, length, lost):
    assert getattr(check_prompts_of_engine(kb, llama, prompt, length), lost)


@pytest.mark.parametrize(
    "policy", [RecentLinks(2), ConfidentLinks(2), AllLinks(repeats=False), RecentLinks(3, False)]
)
def test_they_show_the_links_that_the_policy_shows(kb, llama, policy):
    check_prompts_of_engine(kb, llama, "hybrid_short", policy=policy)


def test_gold_memory_shows_the_names_that_were_learned_before(kb):
    examples = make_builder(kb, "hybrid_short").examples(GOLD)
    shown = [memory_of(e.turns[0].prompt) for e in examples]
    assert shown[0] == ["None"]
    assert shown[4] == [
        "[heart attak]{Disorders} heart attack",
        "[cold]{Phenomena} cold",
        "[head pains]{Disorders} head pain",
        "[hart attack]{Disorders} heart attack",
    ]
    none = make_builder(kb, "hybrid_short", memory="none").examples(GOLD)
    assert {memory_of(e.turns[0].prompt)[0] for e in none} == {"None"}
    assert names_of(none) == names_of(examples)


def test_mentions_without_gold_code_are_remembered_if_they_were_predicted(kb):
    found = (Candidate("D5", "asthma", 0.5), Candidate("D1", "MI", 0.4))
    document = with_mentions(DOCUMENT, lambda i, m: replace(m, retrieved=found))
    gold = GoldDocument(document, {2: [["D4"]]})
    (predicted,) = make_builder(kb, memory="predicted").examples(gold)
    assert memory_of(predicted.turns[0].prompt) == [
        "[heart attak]{Disorders} asthma",
        "[cold]{Phenomena} asthma",
    ]
    assert predicted.turns[0].names == ("head pain",)
    (known,) = make_builder(kb, memory="gold").examples(gold)
    assert memory_of(known.turns[0].prompt) == ["None"]


def test_mentions_that_no_prompt_can_hold_are_not_remembered(kb):
    """As the engine does not link them, whether or not they have a gold code."""
    long = "x" * 200
    text = make_document(
        f"cold {long} asthma", [(m, "Disorders") for m in ("cold", long, "asthma")]
    )
    found = (Candidate("D3", "cold", 1.0),)
    text = with_mentions(text, lambda i, m: replace(m, retrieved=found))
    for gold in ({2: [["D5"]]}, {1: [["D1"]], 2: [["D5"]]}):
        settings_ = {"memory": "predicted", "policy": RecentLinks(1)}
        builder = make_builder(kb, encode=list, budget=180, **settings_)
        (example,) = builder.examples(GoldDocument(text, gold))
        assert memory_of(example.turns[0].prompt) == ["[cold]{Disorders} cold"]


def test_links_that_stand_are_remembered_and_not_learned(kb):
    pinned = Candidate("D3", "common cold", 1.0)
    document = with_mentions(DOCUMENT, lambda i, m: replace(m, pinned=None if i else pinned))
    builder = make_builder(kb)
    examples = builder.examples(GoldDocument(document, GOLD.gold))
    assert len(examples) == 6 and builder.report.skipped == {Reason.pinned: 1}
    assert memory_of(examples[0].turns[0].prompt) == ["[heart attak]{Disorders} common cold"]


# What is learned


def test_a_document_keeps_to_one_name_where_it_shows_it(kb):
    # By itself "MI" is closest to "MI", but the document has said "heart attack" before.
    for prompt in ("hybrid_short", "hybrid_medium", "hybrid_long", "long", "incremental"):
        assert names_of(make_builder(kb, prompt).examples(GOLD))[6] == ("heart attack",)
    for prompt in ("short", "mention", "genre", "syncabel_en"):
        assert names_of(make_builder(kb, prompt).examples(GOLD))[6] == ("MI",)
    builder = make_builder(kb, "hybrid_long", consistent=False)
    assert names_of(builder.examples(GOLD))[6] == ("MI",)
    # Documents do not know of each other.
    builder = make_builder(kb)
    builder.examples(GOLD)
    assert names_of(builder.examples(one("MI seen.", "MI", [["D1"]]))) == [("MI",)]


def test_names_are_within_the_groups_of_the_mention(kb):
    # P2 is of both groups; D3 and P1 share the name "cold", but only one is a phenomenon.
    assert names_of(make_builder(kb).examples(one("shock", "shock", [["P2"]]))) == [("shock",)]
    builder = make_builder(kb)
    assert not builder.examples(one("A cold.", "cold", [["D3"]], "Phenomena"))
    assert builder.report.skipped == {Reason.no_name: 1}
    # In tables of released checkpoints a concept has other names in other groups.
    concept = kb.concept_id("P2")
    table = make_kb([("X1", ["A", "B"], ["alpha", "beta", "gamma"])])
    ids = [table.name_id(name) for name in ("alpha", "beta", "gamma", "gamma")]
    groups = [table.groups.index(group) for group in ("A", "A", "A", "B")]
    restricted = restrict_names(table, np.array(ids), np.zeros(4, int), np.array(groups))
    assert concept >= 0
    both = make_document("alpha, alpha", [("alpha", "A"), ("alpha", "B")])
    examples = make_builder(restricted).examples(GoldDocument(both, {0: [["X1"]], 1: [["X1"]]}))
    assert names_of(examples) == [("alpha",), ("gamma",)]


def test_alternative_and_prefixed_codes_are_found(kb):
    builder = make_builder(kb, "mention")
    # The first alternative is unknown, the second far away, the third close.
    found = builder.examples(one("A sinus headach.", "sinus headach", [["X", "D5", "MESH:D6"]]))
    assert names_of(found) == [("sinus headache",)]
    # A document that has named one of the alternatives keeps to it.
    text = make_document("asthma, headache", [("asthma", "Disorders"), ("headache", "Disorders")])
    gold = GoldDocument(text, {0: [["D5"]], 1: [["D4", "D5"]]})
    assert names_of(make_builder(kb).examples(gold)) == [("asthma",), ("asthma",)]
    assert names_of(make_builder(kb, "short").examples(gold)) == [("asthma",), ("headache",)]


def test_several_concepts_of_a_mention_are_several_names(kb):
    text = "MI and heart failure, then asthma."
    spans = [("MI and heart failure", "Disorders"), ("asthma", "Disorders")]
    gold = GoldDocument(make_document(text, spans), {0: [["D1"], ["D2"]], 1: [["D5"]]})
    builder = make_builder(kb)
    examples = builder.examples(gold)
    assert names_of(examples) == [("MI", "heart failure"), ("asthma",)]
    assert memory_of(examples[1].turns[0].prompt) == [
        "[MI and heart failure]{Disorders} MI<+>heart failure"
    ]
    # Two parts that turn out to be one concept are one name.
    assert names_of(builder.examples(one("MI", "MI", [["D1"], ["MESH:D1"]]))) == [("MI",)]
    lacking = make_builder(kb)
    assert not lacking.examples(one("MI", "MI", [["D1"], ["X9"]]))
    assert lacking.report.skipped == {Reason.composite_part: 1}
    plain = PromptTokenizer(character_tokenizer(), get_prompt("hybrid_long"))
    for settings_ in ({"composites": False}, {"tokenizer": plain}):  # it has no "<+>"
        builder = make_builder(kb, **settings_)
        assert names_of(builder.examples(gold)) == [("asthma",)]
        assert builder.report.skipped == {Reason.composite: 1}


def test_names_that_do_not_survive_tokenisation_are_not_learned():
    kb = make_kb(
        [
            ("G1", "Disorders", ["β thalassaemia", "beta thalassemia", "Cooley anemia"]),
            ("G2", "Disorders", ["日本脳炎"]),
            ("G3", "Disorders", ["müde [fatigue]"]),
        ]
    )
    tokenizer = PromptTokenizer(character_tokenizer(), get_prompt("short"))
    builder = make_builder(kb, "short", tokenizer=tokenizer)
    assert names_of(builder.examples(one("β thal", "β thal", [["G1"]]))) == [("beta thalassemia",)]
    # Brackets become round, as in every prompt: that is no loss.
    assert names_of(builder.examples(one("x", "x", [["G3"]]))) == [("müde [fatigue]",)]
    assert not builder.examples(one("JE", "JE", [["G2"]]), "doc")
    assert builder.report.skipped == {Reason.altered_name: 1}
    assert builder.report.samples[Reason.altered_name] == ["'JE' (doc, Disorders, G2)"]
    everything = make_builder(kb, "short")
    assert names_of(everything.examples(one("JE", "JE", [["G2"]]))) == [("日本脳炎",)]


def test_groups_of_gold_codes_only_where_they_are_asked_for(kb):
    document = make_document(
        "cold, cold, shock, odd, cold and shock",
        [
            ("cold", "Disorders"),
            ("cold", "Phenomena"),
            ("shock", "Phenomena"),
            ("odd", "Disorders"),
            ("cold and shock", "Disorders"),
        ],
    )
    gold = {0: [["P1"]], 1: [["P1"]], 2: [["P2"]], 3: [["X"]], 4: [["P1"], ["P2"]]}
    builder = make_builder(kb, "mention", groups="reference")
    prompts = [e.turns[0].prompt for e in builder.examples(GoldDocument(document, gold))]
    assert prompts == [
        "### Prediction\n[cold]{Phenomena}",
        "### Prediction\n[cold]{Phenomena}",
        "### Prediction\n[shock]{Phenomena}",  # of both, that of the label
        "### Prediction\n[cold and shock]{Phenomena<+>Disorders}",
    ]
    labels = make_builder(kb, "mention")
    assert len(labels.examples(GoldDocument(document, gold))) == 2
    assert labels.report.skipped[Reason.no_name] == 1


# One stream


def stream_text(example):
    """What a one-stream example reads as, names written as the prompt writes them."""
    text = get_prompt("long").name_text
    return "".join(t.prompt + text("<+>".join(t.names)) + "<SEP>" for t in example.turns)


def test_long_is_one_text_a_document_as_it_is_read_at_inference(kb):
    builder = make_builder(kb, "long")
    (example,) = builder.examples(GOLD, "d")
    text = stream_text(example)
    # Every prompt that the engine would read with these links is a beginning of it.
    links = names_of([example])
    document = with_mentions(
        DOCUMENT, lambda i, m: replace(m, retrieved=(Candidate("", links[i][0], 1.0),))
    )
    single = make_builder(kb, "long", memory="predicted")
    prompts = [e.turns[0].prompt for e in single.examples(GoldDocument(document, GOLD.gold))]
    assert len(prompts) == 7 and all(text.startswith(prompt) for prompt in prompts)
    assert text == prompts[-1] + " heart attack<SEP>"
    assert builder.report.targets == 7 and builder.report.examples == 1
    # Mentions without gold code are marked, but nothing is said of them.
    (example,) = builder.examples(GoldDocument(DOCUMENT, {1: [["P1"]], 5: [["D2"]]}))
    assert example.turns[0].prompt.endswith("### Predictions\n[cold]{Phenomena}")
    assert "[heart attak]." in example.turns[0].prompt
    assert example.turns[1].prompt == "[cardiac failure]{Disorders}"


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(budget=st.integers(60, 500), known=st.sets(st.integers(0, 6), min_size=1))
def test_long_documents_are_split_so_that_all_is_learned_once(kb, budget, known):
    builder = make_builder(kb, "long", encode=list, budget=budget)
    examples = builder.examples(GoldDocument(DOCUMENT, {i: GOLD.gold[i] for i in known}))
    turns = [turn for example in examples for turn in example.turns]
    too_long = builder.report.skipped[Reason.too_long]
    tags = [f"[{m.replace('[', '(').replace(']', ')')}]{{{g}}}" for m, g in MENTIONS]
    learned = [next(tag for tag in tags if turn.prompt.endswith(tag)) for turn in turns]
    assert learned == [tags[i] for i in sorted(known) if tags[i] in learned]
    assert len(learned) + too_long == len(known)
    for example in examples:
        # The last prompt is all that was read, and has to leave room for a name only.
        read = stream_text(example)[: -len(f" {example.turns[-1].names[0]}<SEP>")]
        assert len(read) <= budget
    for i in known:
        assert (tags[i] in learned) == (
            len(f"### Context\n\n\n### Predictions\n{tags[i]}") <= budget
        )
    whole = make_builder(kb, "long").examples(
        GoldDocument(DOCUMENT, {i: GOLD.gold[i] for i in known})
    )
    assert (len(examples) > 1) <= (len(stream_text(whole[0])) > budget)


# What was left out


def test_the_report_says_what_was_left_out_and_why(kb):
    builder = make_builder(kb, "short", encode=list, budget=80)
    cases = [
        (one("asthma", "asthma", []), Reason.no_gold),
        (one("asthma", "asthma", [["X1", "X2"]]), Reason.unknown_code),
        (one("asthma", "asthma", [["D5"]], "Unknown"), Reason.unknown_group),
        (one("asthma", "asthma", [["D5"]], "Phenomena"), Reason.no_name),
        (one("asthma" * 20, "asthma" * 20, [["D5"]]), Reason.too_long),
    ]
    for number, (document, reason) in enumerate(cases):
        assert builder.examples(document, f"d{number}") == []
        assert builder.report.skipped[reason] == 1
    assert builder.examples(one("asthma", "asthma", [["D5"]]))
    report = builder.report
    assert (report.documents, report.mentions, report.examples, report.targets) == (6, 6, 1, 1)
    text = "\n".join(report.lines())
    assert "6 documents with 6 mentions gave 1 examples" in text
    assert "'asthma' (d1, Disorders, X1|X2)" in text and "too long for the model's window" in text
    assert BuildingReport.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([one("asthma", "asthma", [["Q1"]])] * 2, "does not have, such as 'asthma' .*corpus check"),
        ([one("asthma", "asthma", [["D5"]], "Disease")], "no semantic group.*label_groups"),
        ([one("asthma", "asthma", [["D5"]], "Phenomena")], "no name in the groups.*label_groups"),
        ([GoldDocument(make_document("Nothing.", []), {})], "have no mentions"),
        ([], "0 documents"),
    ],
)
def test_a_corpus_that_teaches_nothing_is_an_error(kb, documents, message):
    builder = make_builder(kb)
    with pytest.raises(TrainingError, match=f"(?s){message}"):
        list(builder.stream(("d", document) for document in documents))


def test_predicted_memory_without_predictions_is_an_error(kb):
    builder = make_builder(kb, memory="predicted")
    with pytest.raises(TrainingError, match="no mention carries a candidate"):
        list(builder.stream([("d", GOLD)]))
    # Formats without memory need none.
    assert len(list(make_builder(kb, "short", memory="predicted").stream([("d", GOLD)]))) == 7


def test_documents_are_read_one_by_one(kb):
    def documents():
        yield "d", GOLD
        raise RuntimeError("read too far")

    stream = make_builder(kb, "long").stream(documents())
    assert next(stream).document == "d"


@pytest.mark.parametrize(
    "settings_",
    [{"memory": "some"}, {"groups": "gold"}, {"budget": 0, "encode": list}, {"budget": 100}],
)
def test_settings_that_cannot_be_used(kb, settings_):
    with pytest.raises(SettingsError):
        make_builder(kb, **settings_)
