"""Saliency against finite differences, its own axioms, and transformers' tokenizers."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from spacy_bel.errors import MissingExtraError, ModelError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.models.copy_lm import CopyConfig, CopyLanguageModel, CopyNetwork
from spacy_bel.longbel.saliency import saliency, sections
from spacy_bel.longbel.saliency.networks import network_of

from .conftest import character_tokenizer, tiny_gpt2, tiny_llama
from .helpers import reference


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
    prompt, name = (
        ids_of(llama, "### Context\nKnown [asthma].\n\n[asthma]{Disorders}"),
        name_of(llama, " asthma"),
    )
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
