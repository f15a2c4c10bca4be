"""Saliency against finite differences, its own axioms, and transformers' tokenizers."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
import spacy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Span
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from spacy_bel.errors import MissingExtraError, ModelError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.models.copy_lm import CopyConfig, CopyLanguageModel, CopyNetwork
from spacy_bel.longbel.saliency import Saliency, memory_lines, saliency, sections, words
from spacy_bel.longbel.saliency.documents import explain
from spacy_bel.longbel.saliency.networks import network_of
from spacy_bel.longbel.saliency.text import read_tokens

from .conftest import character_tokenizer, tiny_gpt2, tiny_llama
from .helpers import marked
from .traces import traces

PROMPT = (
    "### Context\nKnown [asthma]. No cold.\n\n### Previous Normalizations\n"
    "[cold]{Disorders} common cold\n[fit]{Disorders} seizure\n\n"
    "### Prediction\n[asthma]{Disorders}"
)
STREAM = (
    "### Context\n[Cold] and [asthma].\n\n### Predictions\n[Cold]{D} common cold<SEP>[asthma]{D}"
)


def double(model: CausalLanguageModel) -> CausalLanguageModel:
    return CausalLanguageModel(model.model.double(), model.tokenizer)


def copy_model(bidirectional: bool) -> CopyLanguageModel:
    torch.manual_seed(0)
    tokenizer = character_tokenizer(bos=False)
    config = CopyConfig(
        vocab_size=len(tokenizer),
        open_id=tokenizer.convert_tokens_to_ids("["),
        close_id=tokenizer.convert_tokens_to_ids("]"),
        hidden_size=16,
        layers=2,
        heads=4,
        intermediate_size=32,
        max_length=96,
        copy_size=8,
        bidirectional=bidirectional,
    )
    network = CopyNetwork(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return CopyLanguageModel(network, tokenizer)


MODELS = {
    "llama": lambda: double(tiny_llama()),
    "gpt2": lambda: double(tiny_gpt2()),
    "copy": lambda: copy_model(False),
    "copy_bidirectional": lambda: copy_model(True),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


def ids_of(model, text):
    return model.tokenizer(text)["input_ids"]


def name_of(model, text):
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


def reference(model, prompt, name):
    """Log-probability of a name by the model's own cached forward, one token at a time."""
    total, cache = 0.0, model.new_cache(1, 256)
    cache.begin(0, prompt)
    read = list(prompt)
    n = len(prompt)
    mask = torch.ones(1, n, n, dtype=torch.bool)
    if not model.bidirectional_prompt:
        mask = mask.tril()
    slots = torch.arange(n)[None]
    scores = model.forward(torch.tensor([read]), slots, slots, mask, cache, slice(0, 1), 1)
    for place, token in enumerate(name, n):
        total += float(scores[0, -1, token])
        at = torch.tensor([[place]])
        mask = torch.ones(1, 1, place + 1, dtype=torch.bool)
        scores = model.forward(torch.tensor([[token]]), at, at, mask, cache, slice(0, 1), 1)
    return total


def test_objective_is_the_probability_that_decoding_sees(model):
    prompt, name = ids_of(model, "cold [asthma]{D}"), name_of(model, " asthma")
    found = saliency(model, prompt, name)
    assert found.log_probability == pytest.approx(reference(model, prompt, name), abs=1e-4)
    assert found.name == "asthma"
    assert len(found) == len(prompt)
    assert found.tokens.tolist() == prompt


def test_gradient_agrees_with_finite_differences(model):
    """Along the gradient's own direction at each token the slope is its norm."""
    prompt, name = ids_of(model, "a [cold]{D}"), name_of(model, " MI")
    found = saliency(model, prompt, name)
    network = network_of(model)
    with torch.no_grad():
        start = network.embedding(torch.tensor(prompt))[None]
    # GPT-2 computes all in float64; Llama's norms and the copy network stay in float32, so that a
    # larger step suits them.
    exact = isinstance(getattr(model, "model", None), GPT2LMHeadModel)
    step = 1e-6 if exact else 2e-4 if start.dtype == torch.float64 else 3e-3
    norms = []
    for token in range(len(prompt)):
        axes = torch.eye(start.shape[-1], dtype=start.dtype)
        moved = start.repeat(2 * len(axes), 1, 1)
        moved[:, token] += step * torch.cat([axes, -axes])
        with torch.no_grad():
            up, down = network.log_probability(moved, prompt, name).double().chunk(2)
        norms.append(float(((up - down) / (2 * step)).norm()))
    tolerance = 1e-5 if exact else 1e-2
    np.testing.assert_allclose(found.attributions, norms, rtol=tolerance, atol=tolerance * 0.1)
    np.testing.assert_allclose(found.scores, np.array(norms) / max(norms), atol=tolerance)
    assert found.scores.dtype == found.attributions.dtype == np.float32
    assert found.scores.max() == 1
    assert found.convergence_delta is None


@pytest.mark.parametrize("baseline", ["pad", "zero", "mean"])
def test_integrated_gradients_add_up(model, baseline):
    pytest.importorskip("captum")
    prompt, name = ids_of(model, "a [cold]{D}"), name_of(model, " MI")
    found = saliency(
        model, prompt, name, method="integrated_gradients", steps=200, baseline=baseline
    )
    network = network_of(model)
    weight = network.embedding.weight.detach()
    pad = model.tokenizer.pad_token_id
    start = {"pad": weight[pad], "zero": torch.zeros_like(weight[0]), "mean": weight.mean(0)}
    with torch.no_grad():
        ends = [
            float(network.log_probability(embeddings[None], prompt, name))
            for embeddings in (
                weight[torch.tensor(prompt)],
                start[baseline].expand(len(prompt), -1),
            )
        ]
    assert found.attributions.sum() == pytest.approx(ends[0] - ends[1], abs=0.02)
    assert found.convergence_delta == pytest.approx(
        float(found.attributions.sum()) - (ends[0] - ends[1]), abs=1e-3
    )
    assert found.log_probability == pytest.approx(ends[0], abs=1e-5)
    assert found.scores.min() >= 0
    assert found.scores.max() == 1
    assert found.attributions.min() < 0 or found.attributions.max() > 0


def test_more_steps_converge(llama):
    pytest.importorskip("captum")
    prompt, name = ids_of(llama, "A [cold].\n[cold]{D}"), name_of(llama, " cold")
    deltas = [
        abs(saliency(llama, prompt, name, method="integrated_gradients", steps=n).convergence_delta)
        for n in (2, 100)
    ]
    assert deltas[1] < deltas[0]


def test_a_token_that_cannot_matter_has_no_score():
    """In a network that reads nothing but the newest token, only that one counts."""
    model = double(tiny_llama())
    with torch.no_grad():
        for layer in model.model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
    prompt = ids_of(model, "a [cold]{D}")
    found = saliency(model, prompt, name_of(model, " "))
    assert found.scores.tolist() == [0.0] * (len(prompt) - 1) + [1.0]


def test_a_prompt_that_does_not_matter_at_all():
    model = double(tiny_llama())
    with torch.no_grad():
        model.model.lm_head.weight.zero_()
    found = saliency(model, ids_of(model, "[a]{D}"), name_of(model, " b"))
    assert not found.scores.any()
    assert sections(found)[0].share == 0


def test_prompts_of_one_token(model):
    prompt, name = ids_of(model, "a")[-1:], name_of(model, " cold")
    found = saliency(model, prompt, name)
    assert found.scores.tolist() == [1.0]
    assert found.strings == ("a",)


def test_gradients_of_a_training_run_are_left_alone(llama):
    parameters = list(llama.model.parameters())
    with torch.no_grad():
        first = saliency(llama, ids_of(llama, "[a]{D}"), name_of(llama, " b"))
    assert all(p.grad is None for p in parameters)
    again = saliency(llama, ids_of(llama, "[a]{D}"), name_of(llama, " b"))
    np.testing.assert_array_equal(first.scores, again.scores)


def test_half_precision_agrees(llama):
    half = CausalLanguageModel(tiny_llama().model.to(torch.bfloat16), llama.tokenizer)
    prompt, name = ids_of(llama, PROMPT), name_of(llama, " asthma")
    a, b = saliency(llama, prompt, name), saliency(half, prompt, name)
    assert np.corrcoef(a.scores, b.scores)[0, 1] > 0.95


# What cannot be done


def test_missing_captum_is_named(llama, monkeypatch):
    original = builtins.__import__

    def no_captum(name, *args, **kwargs):
        if name.startswith("captum"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    for module in [m for m in sys.modules if m.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", no_captum)
    with pytest.raises(MissingExtraError, match=r"pip install 'spacy-bel\[saliency\]'"):
        saliency(llama, [1, 2], [3], method="integrated_gradients")


def test_bad_arguments_are_named(llama):
    class Opaque:
        tokenizer = llama.tokenizer
        max_length = 99

    with pytest.raises(ModelError, match="Opaque"):
        saliency(Opaque(), [1], [2])
    with pytest.raises(ValueError, match="nothing to explain"):
        saliency(llama, [], [2])
    with pytest.raises(ValueError, match="nothing to explain"):
        saliency(llama, [1], [])
    with pytest.raises(ValueError, match="gradient, integrated_gradients"):
        saliency(llama, [1], [2], method="attention")
    with pytest.raises(ValueError, match="pad, zero, mean"):
        saliency(llama, [1], [2], method="integrated_gradients", baseline="random")
    with pytest.raises(ValueError, match="at least one step"):
        saliency(llama, [1], [2], method="integrated_gradients", steps=0)
    with pytest.raises(ModelError, match="2050 tokens"):
        saliency(llama, [5] * 2048, [5, 6])
    with pytest.raises(ValueError, match="does not have the tokens"):
        saliency(llama, ids_of(llama, "a"), [5], text="b")


def test_numbers_that_are_none_are_named():
    model = tiny_llama()
    with torch.no_grad():
        model.model.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="no finite"):
        saliency(model, ids_of(model, "a"), name_of(model, "b"))


def test_without_a_padding_token(llama):
    pytest.importorskip("captum")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=llama.tokenizer.backend_tokenizer)
    model = CausalLanguageModel(llama.model, tokenizer)
    with pytest.raises(ModelError, match="zero"):
        saliency(model, [9], [10], method="integrated_gradients")
    zero = saliency(model, [9], [10], method="integrated_gradients", baseline="zero")
    assert zero.scores.tolist() == [1.0]


# Tokens as text


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


@pytest.fixture
def traced(make_nlp, monkeypatch):
    """A pipeline and its linker, whose searches find one given name for each mention."""

    def make(names):
        nlp = make_nlp()
        linker = nlp.get_pipe("longbel_linker")
        linker.prepare()
        monkeypatch.setattr(linker.engine, "trace", traces(linker.engine, names), raising=False)
        return nlp, linker

    return make


def test_every_mention_of_a_document_is_explained(traced):
    nlp, linker = traced(["headache", "heart attack", "cold"])
    doc = marked(nlp)
    before = doc.to_bytes()
    found = explain(linker, doc)
    assert doc.to_bytes() == before
    assert [(s.mention, s.name, s.code) for s in found] == [
        ("headache", "headache", "D4"),
        ("heart attak", "heart attack", "D1"),
        ("cold", "cold", "P1"),
    ]
    for each, span in zip(found, doc.ents, strict=True):
        assert each.span == (span.start_char, span.end_char)
        assert each.text.endswith(f"[{span.text}]{{{span.label_}}}")
        assert each.suffix == f"{each.name} ({each.code})"
        tokens, _ = linker.engine.tokenizer.name_sequences([each.name])
        expected = reference(linker.language_model, each.tokens.tolist(), tokens.tolist()[:-1])
        assert each.log_probability == pytest.approx(expected, abs=1e-3)
    linked = linker(doc)
    again = explain(linker, linked)
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)


def test_mentions_by_span_and_by_index(traced):
    nlp, linker = traced(["headache", "heart attack", "cold"])
    doc = marked(nlp)
    (second,) = explain(linker, doc, mentions=1)
    assert second.mention == "heart attak"
    third = doc.ents[2]
    for choice in (third, [third], [-1], [doc[third.start : third.end]]):
        assert [s.mention for s in explain(linker, doc, mentions=choice)] == ["cold"]
    assert [s.mention for s in explain(linker, doc, mentions=[2, 0])] == ["headache", "cold"]
    assert explain(linker, doc, mentions=[]) == []
    for choice in (3, doc[0:1], Span(doc, third.start, third.end, label="Other")):
        with pytest.raises(ValueError, match="3 mentions"):
            explain(linker, doc, mentions=choice)


def test_mentions_without_a_name(traced):
    nlp, linker = traced(["headache", None, "cold"])
    doc = marked(nlp)
    assert [s.mention for s in explain(linker, doc)] == ["headache", "cold"]
    with pytest.raises(ValueError, match="'heart attak'"):
        explain(linker, doc, mentions=[0, 1])


def test_composite_and_free_names(traced):
    nlp, linker = traced(["headache<+>asthma", "*infarkt", "cold"])
    composite, free, _ = explain(linker, marked(nlp))
    assert (composite.name, composite.code) == ("headache<+>asthma", "D4+D5")
    assert (free.name, free.code, free.suffix) == ("infarkt", "", "infarkt")


def test_nothing_to_link(traced):
    nlp, linker = traced([])
    assert explain(linker, nlp.make_doc("")) == []
    assert explain(linker, spacy.blank("en")("No mention.")) == []
