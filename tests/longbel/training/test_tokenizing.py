"""Training sequences against what the engine reads and generates."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.errors import SettingsError
from spacy_bel.longbel.document import Document, MemoryEntry, Mention, Passage
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.tokenization import PromptTokenizer
from spacy_bel.longbel.training.example import TrainingExample, Turn
from spacy_bel.longbel.training.tokenizing import SequenceMaker

from ..conftest import tiny_llama
from ..encoder_decoders import model_of, tiny_bart, tiny_t5

NAMES = st.text("abc XYZ-,é", min_size=1, max_size=12).map(str.strip).filter(bool)


@pytest.fixture(scope="module")
def model():
    return tiny_llama(window=300)


def one(prompt, *names):
    return TrainingExample((Turn(prompt, names),), "d")


def tag(mention="cold", group="Disorders"):
    return f"### Prediction\n[{mention}]{{{group}}}"


def text_of(model, ids):
    return model.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def test_a_name_is_learned_behind_its_prompt_with_its_end(model):
    found = SequenceMaker(model, get_prompt("short")).sequence(one(tag(), "common cold"))
    [(start, end)] = found.learned
    assert text_of(model, found.ids[:start]) == "<s>" + tag()
    assert text_of(model, found.ids[start:end]) == " common cold</s>"
    assert end == len(found.ids) == found.tokens and found.targets == len(" common cold") + 1


@given(names=st.lists(NAMES, min_size=1, max_size=3))
def test_names_have_the_tokens_that_the_engine_searches_among(names):
    model = model_of(_llama_with_joint)
    prompt = get_prompt("hybrid_long")
    tokenizer = PromptTokenizer(model.tokenizer, prompt)
    found = SequenceMaker(model, prompt).sequence(one(tag(), *names))
    [(start, end)] = found.learned
    generated = found.ids[start:end].tolist()
    assert found.ids[:start].tolist() == tokenizer.encode(tag())
    expected = [ids[:-1] for ids in tokenizer.split_sequences(names)]
    parts = [[]]
    for token in generated[:-1]:
        if token == tokenizer.separator:
            parts.append([])
        else:
            parts[-1].append(token)
    assert parts == expected and generated[-1] == tokenizer.end_token
    assert tokenizer.generated_names(generated) == names


def _llama_with_joint():
    model = tiny_llama()
    model.tokenizer.add_special_tokens({"additional_special_tokens": ["<+>"]})
    model.model.resize_token_embeddings(len(model.tokenizer))
    return model


def test_names_that_cannot_be_joined_are_told(model):
    with pytest.raises(SettingsError, match="<\\+>.*special token"):
        SequenceMaker(model, get_prompt("short")).sequence(one(tag(), "cold", "asthma"))


@given(
    st.lists(st.tuples(st.text("abc [é", max_size=8), NAMES), min_size=1, max_size=5),
    st.text("abc \n.", max_size=30),
)
def test_one_stream_is_what_the_engine_reads_mention_by_mention(mentions, text):
    model = model_of(_long_llama)
    prompt = get_prompt("long")
    tokenizer = PromptTokenizer(model.tokenizer, prompt)
    document = Document((Passage(0, text),), (), ())
    links = [(Mention(0, 1, m, "Disorders", ("Disorders",)), name) for m, name in mentions]
    context = prompt.context(document, links[0][0], None)
    first, turns = "", []
    for i, (mention, name) in enumerate(links):
        memory = [MemoryEntry(m.text, m.group, n) for m, n in links[:i]]
        whole = prompt.assemble(context, memory, mention)
        turns.append(Turn(whole.removeprefix(first), (name,)))
        first = f"{whole} {name}<SEP>"
    found = SequenceMaker(model, prompt).sequence(TrainingExample(tuple(turns)))
    assert len(found.learned) == len(links)
    for i, (start, end) in enumerate(found.learned):
        memory = [MemoryEntry(m.text, m.group, n) for m, n in links[:i]]
        read = tokenizer.encode(prompt.assemble(context, memory, links[i][0]))
        assert found.ids[:start].tolist() == read
        assert found.ids[start:end].tolist() == tokenizer.split_sequences([links[i][1]])[0]


def _long_llama():
    return tiny_llama(window=4096)


def test_a_turn_without_names_is_read_but_not_learned(model):
    turns = (Turn("### Context\n\n### Predictions\n[a]{G}", ("x",)), Turn("[b]{G}", ()))
    found = SequenceMaker(model, get_prompt("long")).sequence(TrainingExample(turns))
    assert len(found.learned) == 1 and text_of(model, found.ids).endswith("<SEP>[b]{G}")


@pytest.mark.parametrize("maker", [tiny_bart, tiny_t5])
def test_encoders_read_the_prompt_and_decoders_what_they_begin_with(maker):
    model = model_of(maker)
    found = SequenceMaker(model, get_prompt("genre")).sequence(one("a [START_ENT] b", "Name (x)"))
    assert found.source.tolist() == model.tokenizer("a [START_ENT] b")["input_ids"]
    [(start, end)] = found.learned
    assert found.ids[:start].tolist() == model.opening and end == len(found.ids)
    assert text_of(model, found.ids[start:end]) == "Name (x)</s>"


def test_one_stream_is_nothing_for_encoders():
    turns = (Turn("[a]{G}", ("x",)), Turn("[b]{G}", ("y",)))
    with pytest.raises(SettingsError, match="one prompt per mention"):
        SequenceMaker(model_of(tiny_bart), get_prompt("long")).sequence(TrainingExample(turns))


def test_what_cannot_be_learned_is_counted_and_told(model, caplog):
    maker = SequenceMaker(model, get_prompt("short"))
    examples = [
        one(tag(), "cold"),
        one("x" * 299 + tag(), "cold"),  # longer than the window
        one(tag(), "Ménière’s"),  # neither è nor this apostrophe is in the vocabulary
        one(tag()),
    ]
    with caplog.at_level(logging.WARNING):
        found = maker.sequences(examples)
    report = maker.report
    assert len(found) == report.sequences == report.names == 2 and report.examples == 4
    assert (report.too_long, report.unknown, report.empty) == (1, 1, 1)
    assert report.longest == len(maker.tokenizer.encode("x" * 299 + tag())) + len(" cold") + 1
    assert report.tokens == sum(each.tokens for each in found)
    assert report.targets == sum(each.targets for each in found)
    assert "longer window" in caplog.text and "characters" in caplog.text


def test_the_longest_that_fits_is_kept(model):
    prompt = get_prompt("short")
    exact = SequenceMaker(model, prompt).sequence(one(tag(), "cold")).tokens
    assert SequenceMaker(model, prompt, max_length=exact).sequence(one(tag(), "cold"))
    assert SequenceMaker(model, prompt, max_length=exact - 1).sequence(one(tag(), "cold")) is None


def test_source_and_target_each_have_their_window():
    model = model_of(tiny_bart)
    closing = 1
    fits = "x" * (model.max_length - 1)  # the tokenizer begins it with a token of its own
    maker = SequenceMaker(model, get_prompt("genre"))
    assert len(maker.sequence(one(fits, "cold")).source) == model.max_length + closing
    assert maker.sequence(one(fits + "x", "cold")) is None
