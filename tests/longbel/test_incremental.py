"""The format that only grows: its text, what is read of it, and that nothing merges."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from spacy_bel.longbel.document import MemoryEntry, Mention
from spacy_bel.longbel.prompts import PROMPTS, get_prompt
from spacy_bel.longbel.tokenization import PromptTokenizer

from .conftest import tiny_llama
from .disturbed import Disturbed
from .helpers import make_document, make_engine
from .test_engine import DOCUMENTS, same_links

INCREMENTAL = get_prompt("incremental")
NOTE = make_document(
    "Colds {and} MI\nShe had a cold. Then an MI [acute].",
    [("Colds", "Phenomena"), ("cold", "Phenomena"), ("MI [acute]", "Disorders")],
    passages=[(0, 14), (15, 50)],
    sentences=[(0, 14), (15, 30), (31, 50)],
)


def written(document, mention, memory=()):
    window = INCREMENTAL.window(document, mention)
    return INCREMENTAL.assemble(INCREMENTAL.context(document, mention, window), memory, mention)


def test_the_whole_text():
    first, second, third = NOTE.mentions
    assert written(NOTE, first) == (
        "### Context\n"
        "Colds (and) MI\n"
        "She had a cold. Then an MI (acute).\n"
        "\n"
        "### Previous Normalizations\n"
        "> [Colds]{Phenomena}"
    )
    memory = [
        MemoryEntry("Colds", "Phenomena", "low temperature"),
        MemoryEntry("cold", "Phenomena", "cold"),
    ]
    assert written(NOTE, third, memory) == (
        "### Context\n"
        "Colds (and) MI\n"
        "She had a cold. Then an MI (acute).\n"
        "\n"
        "### Previous Normalizations\n"
        "[Colds]{Phenomena} low temperature\n"
        "[cold]{Phenomena} cold\n"
        "> Then an [MI (acute)]{Disorders}"
    )


def last_line(document):
    return written(document, document.mentions[0]).split("\n")[-1]


def test_a_long_sentence_is_cut_between_words():
    text = "word " * 100 + "(cold) late"
    shown = last_line(make_document(text, [("cold", "G")], sentences=[(0, len(text))]))
    assert shown == "> " + "word " * 23 + "([cold]{G}"


def test_a_sentence_without_spaces_leaves_the_mention_alone():
    assert last_line(make_document("a" * 300 + "cold", [("cold", "G")])) == "> [cold]{G}"


def test_a_sentence_ends_where_its_passage_begins():
    document = make_document(
        "Title of it\nThe cold.", [("cold", "G")], passages=[(0, 11), (12, 21)]
    )
    assert last_line(document) == "> The [cold]{G}"


def common(first, second):
    both = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(both) if a != b), min(len(first), len(second)))


def long_note(mentions=8):
    text = "Somebody has asthma since long ago. " * mentions
    sentences = [(36 * i, 36 * i + 35) for i in range(mentions)]
    return make_document(text, [("asthma", "Disorders")] * mentions, sentences=sentences)


def test_nothing_before_the_newest_line_is_read_again(llama, kb):
    document = long_note()
    engine = make_engine(llama, kb, "incremental", batch_size=1)
    (traces,) = engine.trace([document])
    prompts = [trace.prompt for trace in traces]
    read = len(prompts[0])
    for before, after in zip(prompts, prompts[1:], strict=False):
        text = llama.tokenizer.decode(after)
        newest = text.rindex("\n", 0, text.rindex("\n")) + 1
        old = len(llama.tokenizer(text[len("<s>") : newest])["input_ids"])
        assert common(before, after) >= old
        read += len(after) - common(before, after)
    assert engine.report.read_tokens == read
    # What is new of a mention: a line, its sentence, and the mention.
    assert read < len(prompts[0]) + 7 * 100
    assert engine.report.prompt_tokens == sum(map(len, prompts))


@pytest.mark.parametrize("seed", [4])
def test_results_equal_reading_everything(kb, seed):
    model = tiny_llama(seed)

    def links(**settings):
        engine = make_engine(model, kb, "incremental", **settings)
        return list(engine.link([long_note(3), *DOCUMENTS, NOTE]))

    same_links(links(batch_size=4), links(batch_size=1, reuse_prefix=False, read_ahead=False))


def test_what_is_reused_of_another_document_is_its_own(llama, kb):
    """Two documents that begin alike follow each other in one row."""
    one = make_document("A cold. A cold. And so on.", [("cold", "Phenomena")] * 2)
    other = make_document("A cold. A cold. But warm.", [("cold", "Phenomena")] * 2)
    seen = []

    def read(model, segments, cache):
        seen.extend(segments)
        return model.read(segments, cache)

    engine = make_engine(Disturbed(llama, read), kb, "incremental", batch_size=1)
    got = list(engine.link([one, other, one]))
    apart = [next(make_engine(llama, kb, "incremental").link([d])) for d in (one, other, one)]
    same_links(got, apart)
    assert sum(len(s.ids) for s in seen if s.mask is None) == engine.report.read_tokens


NAMES = ["heart attack", "MI", "cold", "Headache, sinus", "(acute) MI", "2-deoxy", "é", "a  b"]


@pytest.fixture(scope="module")
def byte_pairs():
    """A tokenizer that has learned from prompts to merge all that it may, newlines among it."""
    texts = []
    for prompt in PROMPTS.values():
        for document in [NOTE, *DOCUMENTS, long_note(3)]:
            for mention in document.mentions:
                memory = [MemoryEntry(m.text, m.group, NAMES[0]) for m in document.mentions]
                context = prompt.context(document, mention, prompt.window(document, mention))
                texts += [
                    prompt.assemble(context, memory, mention) + prompt.name_text(name)
                    for name in NAMES
                ]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>", "<SEP>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        sep_token="<SEP>",
        pad_token="</s>",
        additional_special_tokens=["[", "]", "{", "}"],
    )


@pytest.mark.parametrize("name", [p for p in PROMPTS if PROMPTS[p].before_name])
def test_names_are_written_as_behind_the_prompt(byte_pairs, name):
    prompt = PROMPTS[name]
    tokenizer = PromptTokenizer(byte_pairs, prompt)
    for document in [NOTE, *DOCUMENTS]:
        for mention in document.mentions:
            context = prompt.context(document, mention, prompt.window(document, mention))
            text = prompt.assemble(context, [MemoryEntry("a", "b", "c d")], mention)
            ids = tokenizer.encode(text)
            for written in NAMES:
                behind, _ = tokenizer.name_sequences([written])
                together = tokenizer.encode(text + prompt.name_text(written))
                assert [*ids, *behind[:-1].tolist()] == together


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.lists(st.sampled_from(NAMES) | st.text("aé (.", min_size=1), min_size=1, max_size=5),
    ending=st.sampled_from([".", "", "?\n", " \t", "\n\n"]),
)
def test_lines_that_stand_keep_their_tokens(byte_pairs, names, ending):
    """At most the newline that ends them is merged with what follows."""
    text = "A cold" + ending
    mention = Mention(2, 6, "cold", "G", ("G",))
    document = make_document(text, [("cold", "G")])
    tokenizer = PromptTokenizer(byte_pairs, INCREMENTAL)
    context = INCREMENTAL.context(document, mention, None)
    entries = [MemoryEntry("cold", "G", name) for name in names]
    before = tokenizer.encode(INCREMENTAL.assemble(context, entries[:-1], mention))
    after = tokenizer.encode(INCREMENTAL.assemble(context, entries, mention))
    head = INCREMENTAL.assemble(context, entries[:-1], mention).removesuffix("\n> A [cold]{G}")
    assert len(head) < len(INCREMENTAL.assemble(context, entries[:-1], mention))
    assert common(before, after) >= len(tokenizer.encode(head))
