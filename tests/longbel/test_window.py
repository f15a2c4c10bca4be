"""Prompts that do not fit: what stays, what goes, and that it is said."""

from __future__ import annotations

import pytest

from spacy_bel.longbel.document import MemoryEntry
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.window import MentionTooLongError, fit_prompt

from .helpers import make_document


def encode(text):
    """A token per character: budgets are characters."""
    return [ord(character) for character in text]


def text_of(fitted):
    return "".join(map(chr, fitted.ids))


SENTENCES = [f"Sentence number {i:03d} is about nothing." for i in range(40)]
SENTENCES[20] = "Here the patient has asthma at last."
TEXT = " ".join(SENTENCES)


def bounds():
    position = 0
    for sentence in SENTENCES:
        yield position, position + len(sentence)
        position += len(sentence) + 1


DOCUMENT = make_document(TEXT, [("asthma", "Disorders")], sentences=bounds())
MEMORY = [MemoryEntry(f"mention {i}", "Disorders", f"Name {i}") for i in range(30)]


def fit(budget, memory=(), prompt="hybrid_long", document=DOCUMENT):
    return fit_prompt(get_prompt(prompt), document, document.mentions[0], memory, encode, budget)


def test_what_fits_is_left_alone():
    fitted = fit(10_000, MEMORY)
    assert not fitted.dropped_memory and not fitted.cut_context
    assert all(sentence in text_of(fitted) for sentence in SENTENCES[:20])


def test_memory_goes_first_and_oldest_first():
    whole = len(fit(10_000, MEMORY).ids)
    fitted = fit(whole - 50, MEMORY)
    assert 0 < fitted.dropped_memory < len(MEMORY) and not fitted.cut_context
    text = text_of(fitted)
    assert "[mention 29]{Disorders} Name 29\n" in text
    assert "[mention 0]{Disorders}" not in text


@pytest.mark.parametrize("budget", [200, 300, 700, 1000])
def test_context_is_cut_on_sentences_around_the_mention(budget):
    fitted = fit(budget, MEMORY)
    assert fitted.cut_context and len(fitted.ids) <= budget
    context = text_of(fitted).split("\n\n")[0].removeprefix("### Context\n")
    assert "Here the patient has [asthma] at last." in context
    assert context.replace("[asthma]", "asthma") in TEXT
    assert context.endswith(".") and context.split(" ")[0] in ("Sentence", "Here")


def test_memory_keeps_a_share_of_a_full_window():
    text = text_of(fit(700, MEMORY))
    assert "[mention 29]{Disorders} Name 29" in text


def test_a_long_sentence_is_cut_on_words():
    text = " ".join(f"word{i}" for i in range(500))
    document = make_document(text, [("word250", "Disorders")], sentences=[(0, len(text))])
    fitted = fit(300, document=document)
    assert fitted.cut_context and len(fitted.ids) <= 300
    context = text_of(fitted).split("\n\n")[0].removeprefix("### Context\n")
    words = context.replace("[", "").replace("]", "").split(" ")
    assert set(words) <= set(text.split(" ")) and "word250" in words and len(words) > 10


def test_one_stream_drops_its_oldest_links():
    fitted = fit(900, MEMORY, prompt="long")
    text = text_of(fitted)
    assert len(fitted.ids) <= 900 and fitted.dropped_memory
    assert text.endswith("[mention 29]{Disorders} Name 29<SEP>[asthma]{Disorders}")


def test_the_smallest_window_holds_the_mention_alone():
    bare = len("### Context\n\n\n### Previous Normalizations\nNone\n\n### Prediction\n")
    bare += len("[asthma]{Disorders}")
    fitted = fit(bare, MEMORY)
    assert fitted.cut_context and text_of(fitted).endswith("[asthma]{Disorders}")
    with pytest.raises(MentionTooLongError):
        fit(bare - 1, MEMORY)


def test_a_very_long_document_is_not_read_whole():
    text = "Word. " * 20_000 + "It is asthma. " + "Word. " * 20_000
    at = text.index("It is")
    sentences = [(at - 6, at - 1), (at, at + 13), (at + 14, at + 19)]
    document = make_document(text, [("asthma", "Disorders")], sentences=sentences)
    longest = 0

    def counting(value):
        nonlocal longest
        longest = max(longest, len(value))
        return encode(value)

    fitted = fit_prompt(
        get_prompt("hybrid_medium"), document, document.mentions[0], (), counting, 200
    )
    assert "It is [asthma]." in text_of(fitted) and longest < 20 * 200 + 1000
