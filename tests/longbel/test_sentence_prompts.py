"""GENRE's and SynCABEL's prompts, and the tokens of the names behind them."""

from __future__ import annotations

import pytest

from spacy_bel.errors import ModelError
from spacy_bel.longbel.document import Document, Mention, Passage
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.tokenization import PromptTokenizer
from spacy_bel.longbel.window import MentionTooLongError, fit_prompt

from .conftest import character_tokenizer
from .helpers import make_document

TEXT = "Known asthma.\nNo cold {today} or\u00a0[cold] sweat. "


@pytest.fixture
def note():
    return make_document(
        TEXT,
        [("asthma", "Disorders"), ("cold", "Disorders"), ("cold] sweat", "Signs [x]")],
        sentences=[(0, 13), (14, 46)],
    )


def prompt_text(name, document, index, window=None):
    prompt, mention = get_prompt(name), document.mentions[index]
    window = window or prompt.window(document, mention)
    return prompt.assemble(prompt.context(document, mention, window), (), mention)


@pytest.mark.parametrize(("language", "verb"), [("en", "is"), ("fr", "est"), ("es", "es")])
def test_syncabel(note, language, verb):
    assert prompt_text(f"syncabel_{language}", note, 0) == (
        f"Known [asthma]{{Disorders}}.<SEP>[asthma] {verb}"
    )


def test_syncabel_marks_this_mention_and_replaces_other_brackets(note):
    assert prompt_text("syncabel_en", note, 1) == (
        "No [cold]{Disorders} (today) or (cold) sweat.<SEP>[cold] is"
    )
    assert prompt_text("syncabel_en", note, 2) == (
        "No cold (today) or ([cold) sweat]{Signs (x)}.<SEP>[cold) sweat] is"
    )


def test_syncabel_keeps_newlines():
    document = make_document("No\ncold\nsweat.", [("cold\nsweat", "G")])
    assert prompt_text("syncabel_en", document, 0) == ("No\n[cold\nsweat]{G}.<SEP>[cold\nsweat] is")


def test_syncabel_without_sentences_reads_the_passage():
    document = make_document("Title\nA cold.", [("cold", "G")], passages=[(0, 5), (6, 13)])
    assert prompt_text("syncabel_es", document, 0) == "A [cold]{G}.<SEP>[cold] es"


def test_genre(note):
    assert prompt_text("genre", note, 1) == (
        "Known asthma. No [START_ENT] cold [END_ENT] {today} or [cold] sweat."
    )
    assert prompt_text("genre", note, 2) == (
        "Known asthma. No cold {today} or [[START_ENT] cold] sweat [END_ENT]."
    )


def test_genre_reads_all_passages():
    text = "Title\nA b.\nC d."
    document = make_document(text, [("b", "G")], passages=[(0, 5), (6, 10), (11, 15)])
    assert prompt_text("genre", document, 0) == "Title A [START_ENT] b [END_ENT]. C d."
    assert prompt_text("genre", document, 0, (6, 10)) == "A [START_ENT] b [END_ENT]."


def test_mentions_beyond_their_passage_are_cut_to_it():
    mention = Mention(4, 12, "b c", "G", ("G",))
    document = Document((Passage(0, "It: b"), Passage(6, "is c.")), (mention,))
    assert prompt_text("genre", document, 0) == "It: [START_ENT] b [END_ENT] is c."
    assert prompt_text("syncabel_en", document, 0) == "It: [b]{G}<SEP>[b c] is"


@pytest.mark.parametrize("name", ["genre", "syncabel_en"])
def test_prompts_shrink_to_the_mention(name):
    words = ["Pain in both knees."] * 30
    text = " ".join(words)
    sentences = [(i * 20, i * 20 + 19) for i in range(30)]
    document = make_document(text, [("knees", "G")] * 16, sentences=sentences)
    prompt, mention = get_prompt(name), document.mentions[15]

    def fitted(budget):
        ids = fit_prompt(prompt, document, mention, (), lambda t: list(t.encode()), budget).ids
        return bytes(ids).decode()

    whole = prompt_text(name, document, 15)
    assert fitted(10_000) == whole
    marked = {"genre": "[START_ENT] knees [END_ENT]", "syncabel_en": "[knees]{G}"}[name]
    for budget in (len(whole) - 1, 50, len(prompt.assemble("", (), mention))):
        text = fitted(budget)
        assert len(text) <= budget and marked in text
    with pytest.raises(MentionTooLongError):
        fitted(len(prompt.assemble("", (), mention)) - 1)


# Names


def names_behind(prompt, names, tokenizer=None):
    tokens, offsets = PromptTokenizer(
        tokenizer or character_tokenizer(), get_prompt(prompt)
    ).name_sequences(names)
    pairs = zip(offsets[:-1], offsets[1:], strict=True)
    return [tokens[start:end].tolist() for start, end in pairs]


@pytest.mark.parametrize("prompt", ["syncabel_en", "syncabel_fr", "hybrid_long", "genre"])
def test_names_continue_their_prompt(prompt, note):
    tokenizer = character_tokenizer()
    text = "" if prompt == "genre" else prompt_text(prompt, note, 0)
    before = tokenizer(text, add_special_tokens=False)["input_ids"]
    names = ["cold", "common cold", "MI"]
    for name, got in zip(names, names_behind(prompt, names), strict=True):
        whole = tokenizer(f"{text} {name}" if text else name, add_special_tokens=False)
        assert before + got == [*whole["input_ids"], tokenizer.eos_token_id]


def test_only_genre_writes_brackets_in_names():
    tokenizer = character_tokenizer()
    for prompt, expected in (("genre", "a [b]"), ("syncabel_en", " a (b)"), ("long", " a (b)")):
        (ids,) = names_behind(prompt, ["a [b]"])
        assert tokenizer.decode(ids[:-1]) == expected


def test_syncabel_needs_no_special_brackets():
    """Its names stand behind a verb, whatever the tokenizer makes of brackets."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["[", "]", "]{", "}", "} ", "is", "name", "mention", "group", "<SEP>", "a", "<unk>"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Punctuation("contiguous")]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<SEP>")
    assert names_behind("syncabel_en", ["a name"], tokenizer) == [[10, 6, 9]]


def test_tokenizers_that_merge_brackets_are_refused_where_names_follow_them():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {c: i for i, c in enumerate("[]{}abcdefghijklmnopqrstuvwxyz ")}
    vocab |= {"} ": 40, "<end>": 41}
    backend = Tokenizer(models.BPE(vocab, [("}", " ")]))
    backend.pre_tokenizer = pre_tokenizers.Sequence([])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")
    with pytest.raises(ModelError, match="merges"):
        PromptTokenizer(tokenizer, get_prompt("short"))
    assert names_behind("genre", ["ab"], tokenizer) == [[4, 5, 41]]
