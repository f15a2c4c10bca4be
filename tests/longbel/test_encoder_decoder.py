"""Encoder-decoder models against plain forward passes and against `generate`."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacy_bel.longbel.document import MemoryEntry
from spacy_bel.longbel.models.encoder_decoder import EncoderDecoderLanguageModel
from spacy_bel.longbel.prompts import get_prompt

from .encoder_decoders import (
    MAKERS,
    Forest,
    assert_close,
    model_of,
    tiny_bart,
    tiny_bert,
    tiny_mbart,
    tiny_t5,
)
from .helpers import make_document, make_engine, names_of

DOCUMENTS = [
    make_document(
        "Admitted with a heart attak.\nNo cold, but head pains and a hart attack again.",
        [("heart attak", "Disorders"), ("cold", "Phenomena"), ("head pains", "Disorders")],
        sentences=[(0, 28), (29, 77)],
    ),
    make_document("Severe asthma.", [("asthma", "Disorders")]),
    make_document("Nothing to see here.", []),
    make_document(
        "Cold hands; sinus headache. The [sinus] headache {grew} worse in shock.",
        [("Cold", "Phenomena"), ("sinus headache", "Disorders"), ("shock", "Phenomena")],
        passages=[(0, 27), (28, 71)],
    ),
]


texts = st.lists(st.text("abcde fg", min_size=1, max_size=40), min_size=1, max_size=3)


@pytest.mark.parametrize("maker", MAKERS)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_trees_score_as_paths_read_alone(maker, data):
    forest = Forest(model_of(maker), data.draw(texts))
    scores = forest.open()
    for row in range(len(forest.prompts)):
        assert_close(scores[row], forest.plain(row))
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(forest.prompts) - 1))
        size, new = len(forest.paths[row]), data.draw(st.integers(1, 6))
        parents = [data.draw(st.integers(-1, size + i - 1)) for i in range(new)]
        tokens = data.draw(st.lists(st.integers(3, 60), min_size=new, max_size=new))
        scores = forest.read(row, parents, tokens)
        for i in range(new):
            assert_close(scores[i], forest.plain(row, size + i))


@pytest.mark.parametrize("maker", MAKERS)
def test_long_paths_score_as_read_alone(maker):
    forest = Forest(model_of(maker), ["abc def"])
    forest.open()
    forest.read(0, [-1, -1, 1], [9, 10, 11])
    scores = forest.read(0, list(range(2, 22)), list(range(20, 40)))
    for i in (0, 11, 19):
        assert_close(scores[i], forest.plain(0, 3 + i))


@pytest.mark.parametrize("maker", MAKERS)
def test_rows_read_together_score_as_alone(maker):
    forest = Forest(model_of(maker), ["abc", "a longer prompt", "d"])
    forest.open()
    segments = [forest.segment(2, [-1], [9]), forest.segment(0, [-1, -1, 0], [10, 11, 12])]
    scores = forest.model.read(segments, forest.cache)
    for got, (row, place) in zip(scores, [(2, 0), (0, 0), (0, 1), (0, 2)], strict=True):
        assert_close(got, forest.plain(row, place))


@pytest.mark.parametrize("maker", [tiny_bart, tiny_t5])
@pytest.mark.parametrize("encoded", [True, False])
def test_rows_move_with_what_they_read(maker, encoded):
    """Before their prompts are encoded, and after."""
    model = model_of(maker)
    forest = Forest(model, ["abc", "a longer prompt"])
    if encoded:
        forest.open()
        forest.read(1, [-1, 0], [9, 10])
        forest.paths[0], forest.tokens[0] = forest.paths[1], forest.tokens[1]
    forest.cache.move(1, 0)
    forest.prompts = forest.prompts[1:]
    if not encoded:
        assert_close(forest.open()[0], forest.plain(0))
        forest.read(0, [-1, 0], [9, 10])
    assert_close(forest.read(0, [1], [12])[0], forest.plain(0, 2))


# The engine


def naive(model, kb, document, prompt, num_beams, length_penalty=1.0):
    """(name, score) pairs of every mention, each prompt by `generate` on its own."""
    chosen, tokenizer, end = get_prompt(prompt), model.tokenizer, model.tokenizer.eos_token_id
    memory, results = [], []
    for mention in document.mentions:
        context = chosen.context(document, mention, chosen.window(document, mention))
        text = chosen.assemble(context, memory, mention)
        names = {}
        for code in kb:
            if mention.group in kb[code].groups:
                names |= {tuple(name_ids(tokenizer, text, prompt, n)): n for n in kb[code].names}
        found = generate(model, text, [(*ids, end) for ids in names], num_beams, length_penalty)
        results.append([(names[ids[:-1]], score) for ids, score in found])
        memory.append(MemoryEntry(mention.text, mention.group, results[-1][0][0]))
    return results


def name_ids(tokenizer, text, prompt, name):
    """Tokens of a name where it stands: behind the prompt, or in a text of its own."""
    before = "" if prompt == "genre" else f"{text} "
    whole = tokenizer(before + name, add_special_tokens=False)["input_ids"]
    return whole[len(tokenizer(before.rstrip(), add_special_tokens=False)["input_ids"]) :]


def generate(model, text, allowed_sequences, num_beams, length_penalty):
    forced = model.opening[1:]
    sequences = {(*forced, *ids) for ids in allowed_sequences}

    def allowed(batch_id, ids):
        written = tuple(ids[1:].tolist())
        following = {s[len(written)] for s in sequences if s[: len(written)] == written != s}
        return sorted(following) or [model.tokenizer.eos_token_id]

    ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
    output = model.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        prefix_allowed_tokens_fn=allowed,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        max_new_tokens=60,
        length_penalty=length_penalty,
        do_sample=False,
        eos_token_id=model.tokenizer.eos_token_id,
        return_dict_in_generate=True,
        output_scores=True,
    )
    found = {}
    rows = zip(output.sequences.tolist(), output.sequences_scores.tolist(), strict=True)
    for row, score in rows:
        for end in range(1, len(row) + 1):
            # With fewer names than beams, generate fills up with rows of vanishing likelihood.
            if score > -1e6 and tuple(row[1:end]) in sequences:
                found.setdefault(tuple(row[1 + len(forced) : end]), math.exp(score))
    return list(found.items())


@pytest.mark.parametrize(
    ("maker", "prompt"),
    [
        *((maker, "genre") for maker in MAKERS),
        (tiny_bart, "syncabel_en"),
        (tiny_mbart, "short"),
        (tiny_t5, "hybrid_long"),
        (tiny_bert, "hybrid_long"),
    ],
)
def test_equals_plain_generate(maker, kb, prompt):
    model = model_of(maker)
    engine = make_engine(model, kb, prompt, batch_size=3)
    compared = 0
    for document, links in zip(DOCUMENTS, engine.generate(DOCUMENTS), strict=True):
        expected = naive(model, kb, document, prompt, num_beams=5)
        same_names(kb, engine, links, expected)
        compared += len(links)
    assert compared == 7


@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_length_penalty_equals_that_of_generate(kb, penalty):
    model = model_of(tiny_bart)
    engine = make_engine(model, kb, "genre", length_penalty=penalty)
    (links,) = engine.generate(DOCUMENTS[:1])
    same_names(kb, engine, links, naive(model, kb, DOCUMENTS[0], "genre", 5, penalty))


def same_names(kb, engine, links, expected):
    for hypotheses, names in zip(links, expected, strict=True):
        got = names_of(engine, hypotheses)
        assert [{kb.name(i) for i in ids} for ids, _ in got] == [{name} for name, _ in names]
        assert [s for _, s in got] == pytest.approx([s for _, s in names], rel=1e-3)


@pytest.mark.parametrize("maker", [tiny_bart, tiny_t5, tiny_bert])
def test_results_do_not_depend_on_batch_size(maker, kb):
    def links(size, documents=DOCUMENTS):
        engine = make_engine(model_of(maker), kb, "hybrid_long", batch_size=size)
        return [
            [[(c.code, pytest.approx(c.score, rel=1e-3)) for c in mention] for mention in document]
            for document in engine.link(documents)
        ]

    expected = links(1)
    assert links(2) == expected
    assert links(7, DOCUMENTS[::-1])[::-1] == expected


def test_prompts_end_as_the_encoder_was_trained():
    """What the tokenizer puts behind a text is read, and takes its room."""
    model = model_of(tiny_bart)
    seen = []
    hook = model.model.get_encoder().register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].tolist()), with_kwargs=True
    )
    Forest(model, ["abc"]).open()
    hook.remove()
    assert seen == [[model.tokenizer("abc")["input_ids"]]]
    assert model.max_length == 1024 - 1


def test_generation_settings_but_for_the_opening_are_ignored(kb):
    model = tiny_bart()
    (expected,) = make_engine(model, kb, "genre").link(DOCUMENTS[:1])
    settings = dict(do_sample=True, temperature=0.3, no_repeat_ngram_size=2, num_beams=2)
    settings |= dict(min_length=20, forced_eos_token_id=5, suppress_tokens=[1], length_penalty=3.0)
    model.model.generation_config.update(**settings)
    again = EncoderDecoderLanguageModel(model.model, model.tokenizer)
    assert list(make_engine(again, kb, "genre").link(DOCUMENTS[:1])) == [expected]
