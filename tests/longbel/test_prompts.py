"""Prompts, byte for byte as the published formats are specified."""

from __future__ import annotations

import pytest

from spacy_bel.longbel.document import Document, MemoryEntry, Mention, Passage
from spacy_bel.longbel.prompts import PROMPTS, get_prompt
from spacy_bel.longbel.prompts.text import normalise

from .helpers import make_document


def prompt_text(name, document, index, memory=()):
    prompt, mention = get_prompt(name), document.mentions[index]
    context = prompt.context(document, mention, prompt.window(document, mention))
    return prompt.assemble(context, memory, mention)


@pytest.fixture
def note():
    text = "Known asthma.\nNo cold {today} or [cold] sweat. "
    return make_document(
        text,
        [("asthma", "Disorders"), ("cold", "Disorders"), ("cold] sweat", "Disorders")],
        sentences=[(0, 13), (14, 46)],
    )


MEMORY = [
    MemoryEntry("asthma", "Disorders", "Asthma"),
    MemoryEntry("cold", "Disorders", "Common cold"),
]


def test_short(note):
    assert prompt_text("short", note, 1) == (
        "### Context\nNo [cold] (today) or (cold) sweat.\n\n### Prediction\n[cold]{Disorders}"
    )


def test_hybrid_short(note):
    assert prompt_text("hybrid_short", note, 1, MEMORY[:1]) == (
        "### Context\nNo [cold] (today) or (cold) sweat.\n\n"
        "### Previous Normalizations\n[asthma]{Disorders} Asthma\n\n"
        "### Prediction\n[cold]{Disorders}"
    )


def test_hybrid_medium(note):
    assert prompt_text("hybrid_medium", note, 0) == (
        "### Context\nKnown [asthma]. No cold (today) or (cold) sweat.\n\n"
        "### Prediction\n[asthma]{Disorders}"
    )


def test_hybrid_long(note):
    assert prompt_text("hybrid_long", note, 0) == (
        "### Context\nKnown [asthma]. No cold (today) or (cold) sweat.\n\n"
        "### Previous Normalizations\nNone\n\n"
        "### Prediction\n[asthma]{Disorders}"
    )
    assert prompt_text("hybrid_long", note, 2, MEMORY) == (
        "### Context\nKnown asthma. No cold (today) or ([cold) sweat].\n\n"
        "### Previous Normalizations\n"
        "[asthma]{Disorders} Asthma\n[cold]{Disorders} Common cold\n\n"
        "### Prediction\n[cold) sweat]{Disorders}"
    )


def test_long(note):
    assert prompt_text("long", note, 0) == (
        "### Context\nKnown [asthma]. No [cold] (today) or ([cold) sweat].\n\n"
        "### Predictions\n[asthma]{Disorders}"
    )
    assert prompt_text("long", note, 2, MEMORY) == (
        "### Context\nKnown [asthma]. No [cold] (today) or ([cold) sweat].\n\n"
        "### Predictions\n[asthma]{Disorders} Asthma<SEP>[cold]{Disorders} Common cold<SEP>"
        "[cold) sweat]{Disorders}"
    )


def test_mention(note):
    assert prompt_text("mention", note, 1) == "### Prediction\n[cold]{Disorders}"


def test_passages_are_lines_and_earlier_ones_stand_in_reverse():
    text = "Title\nA b.\nC d.\nE f."
    document = make_document(
        text,
        [("C", "G"), ("E", "G")],
        passages=[(0, 5), (6, 10), (11, 15), (16, 20)],
    )
    assert prompt_text("hybrid_medium", document, 0).startswith(
        "### Context\nA b.\nTitle\n[C] d.\nE f.\n\n"
    )
    assert prompt_text("long", document, 0).startswith(
        "### Context\nTitle\nA b.\n[C] d.\n[E] f.\n\n"
    )


def test_two_passages_keep_their_order():
    document = make_document("Title\nA b.", [("b", "G")], passages=[(0, 5), (6, 10)])
    assert prompt_text("hybrid_long", document, 0).startswith("### Context\nTitle\nA [b].\n\n")


def test_nested_mentions_nest_their_brackets():
    mentions = (
        Mention(0, 5, "a b c", "G", ("G",)),
        Mention(0, 1, "a", "G", ("G",)),
        Mention(4, 5, "c", "G", ("G",)),
        Mention(4, 5, "c", "H", ("H",)),
    )
    document = Document(
        (Passage(0, "a b c d"),), tuple(sorted(mentions, key=lambda m: (m.start, m.end)))
    )
    assert "\n[[a] b [[c]]] d\n" in prompt_text("long", document, 0)
    assert "\n[a] b c d\n" in prompt_text("hybrid_medium", document, 0)


def test_reserved_characters_are_replaced_one_for_one():
    assert normalise("a\u00a0{b}[c]\nd\te\r") == "a (b)(c) d\te\r"


def test_unknown_prompt_names_the_others():
    with pytest.raises(ValueError, match="hybrid_long"):
        get_prompt("sentence")
    assert set(PROMPTS) == {
        "short",
        "hybrid_short",
        "hybrid_medium",
        "hybrid_long",
        "long",
        "incremental",
        "mention",
        "genre",
        "syncabel_en",
        "syncabel_fr",
        "syncabel_es",
    }
