"""Free beam search against `generate`."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from spacy_bel.longbel.free_search import FreeBeamSearch

from .search_driver import drive, language_model, log_probability, table_model

VOCABULARY = 12


def tiny_model(seed):
    """Random, with so few tokens that each is likely now and then."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    with torch.no_grad():
        model.lm_head.weight *= 40
    return model.eval()


def generated(model, prompt, end_token, num_beams, penalty, max_new_tokens):
    """(tokens, score) of each text that `generate` returns."""
    with torch.no_grad():
        output = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            num_beams=num_beams,
            num_return_sequences=num_beams,
            max_new_tokens=max_new_tokens,
            length_penalty=penalty,
            early_stopping=False,
            do_sample=False,
            eos_token_id=end_token,
            pad_token_id=end_token,
            return_dict_in_generate=True,
            output_scores=True,
        )
    texts = []
    for row, score in zip(output.sequences[:, len(prompt) :], output.sequences_scores, strict=True):
        tokens = row.tolist()
        length = tokens.index(end_token) + 1 if end_token in tokens else len(tokens)
        texts.append((tuple(tokens[:length]), float(score)))
    return texts


def same(search, expected):
    assert [h.tokens for h in search.finished] == [tokens for tokens, _ in expected]
    assert [h.log_score for h in search.finished] == pytest.approx(
        [score for _, score in expected], rel=1e-4, abs=1e-4
    )
    assert all(h.nodes == () for h in search.finished)


@pytest.mark.parametrize("penalty", [1.0, 0.0, 2.0, -1.0])
@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_equals_generate(seed, num_beams, penalty):
    model = tiny_model(seed)
    answer = language_model(model, [3, 1])
    for end_token, max_new_tokens in [(0, 10), (5, 10), (7, 10), (9, 3), (11, 1)]:
        search = FreeBeamSearch(end_token, num_beams, penalty, max_new_tokens=max_new_tokens)
        drive(search, answer)
        same(search, generated(model, [3, 1], end_token, num_beams, penalty, max_new_tokens))


@pytest.mark.parametrize("end_token", [1, 40, 80])
def test_equals_generate_behind_a_prompt(llama, end_token):
    prompt = llama.tokenizer("### Context\nA [cold].\n\n### Prediction\n[cold]{Disorders}")
    ids = prompt["input_ids"]
    search = FreeBeamSearch(end_token, 5, max_new_tokens=12)
    drive(search, language_model(llama.model, ids))
    same(search, generated(llama.model, ids, end_token, 5, 1.0, 12))


@settings(deadline=None)
@given(st.integers(0, 100), st.sampled_from([0.0, 1.0, 2.0]), st.integers(1, 4))
def test_as_many_beams_as_texts_is_brute_force(seed, penalty, longest):
    vocabulary = 3
    model = table_model(vocabulary, seed)
    texts = [(*text, 0) for n in range(longest) for text in product((1, 2), repeat=n)]
    texts += product((1, 2), repeat=longest)
    search = FreeBeamSearch(0, len(texts), penalty, max_new_tokens=longest)
    drive(search, model)
    expected = [(log_probability(model, t) / len(t) ** penalty, t) for t in texts]
    found = [(h.log_score, h.tokens) for h in search.finished]
    assert sorted(found) == sorted(expected)
    scores = [score for score, _ in found]
    assert scores == sorted(scores, reverse=True)


def test_one_beam_follows_the_likeliest_token():
    model = table_model(6, seed=4)
    search = FreeBeamSearch(-1, 1, max_new_tokens=5)
    driven = drive(search, model)
    (best,) = search.finished
    for n, token in enumerate(best.tokens):
        assert token == np.argmax(model(best.tokens[:n]))
    assert driven.readings == [[best.tokens[:n]] for n in range(1, 5)]


def test_the_beam_stays_full_when_texts_end():
    def model(path):
        return np.log([0.4, 0.3, 0.2, 0.06, 0.03, 0.01])

    driven = drive(search := FreeBeamSearch(0, 3, max_new_tokens=2), model)
    assert driven.readings == [[(1,), (2,), (3,)]]
    assert [h.tokens for h in search.finished] == [(0,), (1, 0), (1, 1)]
