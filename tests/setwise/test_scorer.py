"""Scores of letters are those of plain forward passes, however prompts are put together."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import ModelError
from spacy_bel.setwise.encoding import PromptEncoder
from spacy_bel.setwise.forward import Prompt
from spacy_bel.setwise.scorer import LetterScorer

from .tiny_models import tiny_model

KINDS = ["llama", "gpt2", "qwen2", "mistral"]


@cache
def model_of(kind):
    return tiny_model(kind)


@cache
def letters_of(kind):
    return PromptEncoder(model_of(kind).tokenizer, 20).letters


def scorer_of(kind, **arguments):
    return LetterScorer(model_of(kind).model, letters_of(kind), **arguments)


@torch.no_grad()
def plain(kind, prompt):
    """Log-probabilities after one forward pass of one prompt, without cache or padding."""
    model = model_of(kind).model
    logits = model(input_ids=torch.tensor([prompt.ids]), use_cache=False).logits[0, -1]
    return torch.log_softmax(logits[letters_of(kind)[: prompt.letters]].double(), 0).numpy()


def generated(kind, prompt):
    """Index of the letter that generation writes if it may write nothing else."""
    allowed = letters_of(kind)[: prompt.letters]
    ids = torch.tensor([prompt.ids])
    output = model_of(kind).model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False,
        pad_token_id=1, prefix_allowed_tokens_fn=lambda batch, written: allowed,
    )  # fmt: skip
    return allowed.index(int(output[0, -1]))


tokens = st.lists(st.integers(5, 99), min_size=1, max_size=60)


@st.composite
def prompt_sets(draw):
    """Prompts that may begin alike."""
    prefix = draw(st.lists(st.integers(5, 99), max_size=30))
    tails = draw(st.lists(st.tuples(tokens, st.integers(2, 21)), min_size=1, max_size=8))
    return [Prompt([*prefix, *tail], letters, "m") for tail, letters in tails]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(prompts=prompt_sets(), budget=st.integers(1, 400))
def test_equals_generation_and_plain_forward(kind, prompts, budget):
    scores = scorer_of(kind, batch_tokens=budget).score(prompts)
    for prompt, row in zip(prompts, scores, strict=True):
        assert np.exp(row).sum() == pytest.approx(1)
        np.testing.assert_allclose(row, plain(kind, prompt), atol=1e-4)
        assert int(row.argmax()) == generated(kind, prompt)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@settings(max_examples=10, deadline=None)
@given(prompts=prompt_sets(), data=st.data())
def test_order_and_company_do_not_matter(kind, prompts, data):
    scorer = scorer_of(kind, batch_tokens=data.draw(st.integers(1, 400)))
    expected = scorer_of(kind).score(prompts)
    order = data.draw(st.permutations(range(len(prompts))))
    shuffled = scorer.score([prompts[i] for i in order])
    for place, i in enumerate(order):
        np.testing.assert_allclose(shuffled[place], expected[i], atol=1e-4)
    for prompt, row in zip(prompts, expected, strict=True):  # one by one, in a scorer with a past
        np.testing.assert_allclose(scorer.score([prompt])[0], row, atol=1e-4)


def prompts_of(lengths, prefix=()):
    rng = np.random.default_rng(0)
    return [Prompt([*prefix, i + 5, *rng.integers(5, 99, n - 1)], 5, f"m{i}")
            for i, n in enumerate(lengths)]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_prompts_begin_with_is_read_once(kind):
    prefix = list(range(10, 50))
    scorer = scorer_of(kind, batch_tokens=100)
    scorer.score(prompts_of([20, 30, 25, 20], prefix))
    assert scorer.read_tokens == 40 + 95
    # Another call goes on from there, even of one prompt.
    scorer.score(prompts_of([10], prefix))
    assert scorer.read_tokens == 40 + 95 + 10
    # Prompts that begin otherwise are read in full.
    scorer.score([Prompt([7, 8, 9], 3, "m"), Prompt([8, 8], 3, "n")])
    assert scorer.read_tokens == 40 + 95 + 10 + 5


def test_batches_keep_to_the_budget(monkeypatch):
    scorer = scorer_of("llama", batch_tokens=64)
    shapes = []
    read = scorer._read
    monkeypatch.setattr(scorer, "_read", lambda b: shapes.append([len(i) for i in b]) or read(b))
    scorer.score(prompts_of([5, 40, 7, 100, 33, 30, 6]))
    assert sorted(n for shape in shapes for n in shape) == [5, 6, 7, 30, 33, 40, 100]
    assert all(len(shape) == 1 or len(shape) * max(shape) <= 64 for shape in shapes)
    assert shapes == [[100], [40], [33], [30, 7], [6, 5]]


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("CUDA out of memory."), MemoryError(),
              RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")]
)  # fmt: skip
def test_memory_back_off(monkeypatch, error):
    prompts = prompts_of([30, 20, 25, 10, 30, 8], prefix=[50] * 10)
    expected = scorer_of("llama").score(prompts)
    scorer = scorer_of("llama")
    run = scorer._run

    def small_memory(ids, *arguments, **settings):
        if ids.shape[0] > 2:
            raise error
        return run(ids, *arguments, **settings)

    monkeypatch.setattr(scorer, "_run", small_memory)
    for got, row in zip(scorer.score(prompts), expected, strict=True):
        np.testing.assert_allclose(got, row, atol=1e-4)
    assert scorer.halved > 0 and scorer.batch_tokens < 4096


def test_memory_that_suffices_for_no_prompt(monkeypatch):
    scorer = scorer_of("llama")

    def no_memory(*arguments, **settings):
        raise MemoryError

    monkeypatch.setattr(scorer, "_run", no_memory)
    with pytest.raises(ModelError, match="'m0' .30 tokens.*smaller model"):
        scorer.score(prompts_of([30]))
    with pytest.raises(ModelError, match="'m1'"):  # with a prefix, which is read first
        scorer_with_past = scorer_of("llama")
        monkeypatch.setattr(scorer_with_past, "_run", no_memory)
        scorer_with_past.score(prompts_of([20, 30], prefix=[9] * 5))


def test_other_errors_are_not_taken_for_lack_of_memory(monkeypatch):
    scorer = scorer_of("llama")

    def broken(*arguments, **settings):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(scorer, "_run", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        scorer.score(prompts_of([3]))


def test_nan_names_the_mention():
    model = tiny_model("llama", seed=1)
    with torch.no_grad():
        model.model.model.embed_tokens.weight[77] = float("nan")
    scorer = LetterScorer(model.model, letters_of("llama"))
    with pytest.raises(ModelError, match="mention 'bad'.*float32"):
        scorer.score([Prompt([10, 11], 3, "good"), Prompt([12, 77], 3, "bad")])


def test_nothing_to_read():
    assert scorer_of("llama").score([]) == []
    with pytest.raises(ValueError, match="batch_tokens"):
        scorer_of("llama", batch_tokens=0)
