"""Tokens of a prompt as text, and its sections, earlier links and words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from spacy_bel.longbel.saliency import Saliency, memory_lines, sections, words
from spacy_bel.longbel.saliency.text import read_tokens

PROMPT = (
    "### Context\nKnown [asthma]. No cold.\n\n### Previous Normalizations\n"
    "[cold]{Disorders} common cold\n[fit]{Disorders} seizure\n\n"
    "### Prediction\n[asthma]{Disorders}"
)
STREAM = (
    "### Context\n[Cold] and [asthma].\n\n### Predictions\n[Cold]{D} common cold<SEP>[asthma]{D}"
)


def byte_tokenizer(special=("[", "]", "{", "}")) -> PreTrainedTokenizerFast:
    """Every byte is a token, as in byte-level BPE without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(["<s>", "</s>", *special, *alphabet])}
    vocab = {token: i for i, token in enumerate(vocab)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(special),
    )


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = ["<unk>", "known", "asth", "##ma", "disorders", ".", "the", "cold", "None"]
    backend = Tokenizer(
        models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="<unk>")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    headings = ("### Context", "### Previous Normalizations", "### Prediction", *"[]{}")
    backend.add_tokens([AddedToken(t, normalized=False) for t in headings])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.booleans())
def test_pieces_of_one_character_bear_all_of_it(text, fast):
    """For fast tokenizers and piece by piece alike, and the text comes back exactly."""
    tokenizer = byte_tokenizer()
    text = f"[é{text}]{{D}}"
    ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]
    read = read_tokens(tokenizer if fast else Slow(tokenizer), ids)
    assert read.text == text
    assert read.strings[:4] == ("", "[", "é", "é")
    assert all(text[a:b] == s for (a, b), s in zip(read.offsets, read.strings, strict=True))
    covered = {i for a, b in read.offsets.tolist() for i in range(a, b)}
    assert covered == set(range(len(text)))
    assert (np.diff(read.offsets[:, 0]) >= 0).all()


class Slow:
    """A tokenizer that does not say where its tokens are."""

    is_fast = False

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)


def test_a_character_that_is_never_completed():
    tokenizer = byte_tokenizer()
    ids = tokenizer("a é")["input_ids"][:-1]
    for each in (tokenizer, Slow(tokenizer)):
        read = read_tokens(each, ids)
        assert read.strings == ("a", " ", "\ufffd")


def test_long_runs_piece_by_piece():
    tokenizer = byte_tokenizer()
    text = "Fièvre à 39 °C, 東京. " * 20
    assert read_tokens(Slow(tokenizer), tokenizer(text)["input_ids"]).text == text


def test_tokenizers_that_lose_spaces_and_lines_keep_the_sections():
    tokenizer = wordpiece_tokenizer()
    text = "### Context\nKnown [Asthma].\n\n### Prediction\n[Asthma]{Disorders}"
    ids = tokenizer(text)["input_ids"]
    exact = read_tokens(tokenizer, ids, text)
    assert exact.text == text
    assert exact.strings[:5] == ("### Context", "Known", "[", "Asth", "ma")
    lossy = read_tokens(tokenizer, ids)
    assert lossy.text == "### Context known [ asthma ] . ### Prediction [ asthma ] { disorders }"
    for read in (exact, lossy):
        found = flat(read.text, read.offsets)
        assert [(s.label, s.tokens) for s in sections(found)] == [("Context", 6), ("Prediction", 7)]


# Parts of a prompt


def flat(text, offsets, scores=None):
    n = len(offsets)
    scores = np.ones(n, np.float32) if scores is None else np.asarray(scores, np.float32)
    return Saliency(
        tokens=np.zeros(n, np.int64),
        strings=tuple(text[a:b] for a, b in offsets),
        offsets=np.asarray(offsets, np.int64).reshape(-1, 2),
        text=text,
        scores=scores,
        attributions=-scores,
        method="gradient",
        log_probability=0.0,
        name="x",
    )


def by_character(text, scores=None):
    return flat(text, [(i, i + 1) for i in range(len(text))], scores)


def test_sections_and_links_of_a_prompt_with_memory():
    weights = np.zeros(len(PROMPT))
    weights[PROMPT.index("common")] = 0.5
    weights[PROMPT.index("seizure")] = 1.0
    weights[PROMPT.rindex("asthma")] = 0.5
    weights[PROMPT.index("Previous")] = 0.9  # headings decide nothing
    found = by_character(PROMPT, weights)
    context, memory, prediction = sections(found)
    assert [p.label for p in (context, memory, prediction)] == [
        "Context",
        "Previous Normalizations",
        "Prediction",
    ]
    assert (context.share, memory.share, prediction.share) == (0, 0.75, 0.25)
    assert (memory.score, memory.attribution) == (1.0, -1.5)
    first, second = memory_lines(found)
    assert first.label == "[cold]{Disorders} common cold"
    assert second.label == "[fit]{Disorders} seizure"
    assert (first.share, second.share) == (0.25, 0.5)
    assert PROMPT[second.start : second.end] == second.label


def test_empty_memory_has_a_section_and_no_links():
    text = "### Context\nA [b].\n\n### Previous Normalizations\nNone\n\n### Prediction\n[b]{D}"
    found = by_character(text)
    assert [p.label for p in sections(found)][1] == "Previous Normalizations"
    assert memory_lines(found) == []


def test_a_running_stream_is_memory_but_for_its_last_tag():
    found = by_character(STREAM)
    context, memory, prediction = sections(found)
    assert STREAM[context.start : context.end].strip() == "[Cold] and [asthma]."
    assert STREAM[memory.start : memory.end].strip() == "[Cold]{D} common cold<SEP>"
    assert STREAM[prediction.start : prediction.end] == "[asthma]{D}"
    assert [p.label for p in memory_lines(found)] == ["[Cold]{D} common cold"]
    alone = by_character("### Context\n[a].\n\n### Predictions\n[a]{D}")
    assert [p.label for p in sections(alone)] == ["Context", "Prediction"]
    assert memory_lines(alone) == []


@pytest.mark.parametrize("lines", ["", "[cold]{Disorders} common cold\n"])
def test_links_that_only_grow_are_memory_but_for_the_last_line(lines):
    head = "### Context\nA cold.\n\n### Previous Normalizations\n"
    found = by_character(f"{head}{lines}> and then [asthma]{{Disorders}}")
    labels = [part.label for part in sections(found)]
    assert labels == ["Context", "Previous Normalizations", "Prediction"]
    last = sections(found)[-1]
    assert found.text[last.start : last.end] == "> and then [asthma]{Disorders}"
    assert [part.label for part in memory_lines(found)] == lines.split("\n")[:-1]


def test_documents_cannot_add_sections():
    body = "### Context\n### Prediction\n### Previous Normalizations\n[a]"
    text = f"### Context\n{body}\n\n### Previous Normalizations\nNone\n\n### Prediction\n[a]{{D}}"
    context, memory, prediction = sections(by_character(text))
    assert text[context.start : context.end].strip() == body
    assert text[memory.start : memory.end].strip() == "None"
    assert text[prediction.start : prediction.end].strip() == "[a]{D}"


def test_prompts_without_headings_are_one_section():
    found = by_character("A [cold]{D}<SEP>[cold] is")
    assert [(p.label, p.share) for p in sections(found)] == [("Prediction", 1.0)]
    assert memory_lines(found) == []


def test_words_get_the_tokens_that_cover_them():
    text = "A cold-sore (39)"
    spans = [(0, 0), (0, 1), (1, 4), (4, 7), (7, 11), (11, 16)]
    found = flat(text, spans, [1, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert [(w.label, w.tokens, round(w.score, 3)) for w in words(found)] == [
        ("A", 1, 0.1),
        ("cold", 2, 0.3),
        ("-", 0, 0.0),
        ("sore", 1, 0.4),
        ("(", 0, 0.0),
        ("39", 1, 0.5),
        (")", 0, 0.0),
    ]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_words_share_out_what_stands_in_text(data):
    text = data.draw(st.text("ab .-\né", min_size=1, max_size=30))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text)), max_size=10)) | {len(text)})
    spans = list(zip([0, *cuts], cuts, strict=False))
    scores = data.draw(
        st.lists(st.floats(0, 1, width=32), min_size=len(spans), max_size=len(spans))
    )
    found = flat(text, spans, scores)
    in_words = [s for (a, b), s in zip(spans, found.scores, strict=True) if text[a:b].strip()]
    total = float(found.scores.sum())
    expected = float(np.sum(in_words, dtype=np.float64)) / total if total else 0.0
    assert sum(w.share for w in words(found)) == pytest.approx(expected, abs=1e-5)
    assert sum(w.tokens for w in words(found)) == len(in_words)


# Documents
