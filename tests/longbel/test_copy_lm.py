from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from spacy_bel.errors import ModelError
from spacy_bel.longbel.models.copy_lm import (
    CopyConfig,
    CopyLanguageModel,
    CopyNetwork,
    mention_region,
)

WORDS = ["<pad>", "<unk>", "</s>", "[", "]", "{", "}", *(f"w{i}" for i in range(33))]
OPEN, CLOSE = WORDS.index("["), WORDS.index("]")
# Context, one earlier link in brackets, then the mention (ids 20, 21, 20) and its group.
PROMPT = [8, 9, 10, 3, 11, 12, 4, 13, 3, 20, 21, 20, 4, 5, 14, 6]
CONFIG = CopyConfig(
    vocab_size=len(WORDS),
    open_id=OPEN,
    close_id=CLOSE,
    hidden_size=16,
    layers=2,
    heads=4,
    intermediate_size=32,
    max_length=64,
    copy_size=8,
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_tokens([AddedToken(w, normalized=False) for w in "[]{}"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )


@pytest.fixture(scope="module")
def model() -> CopyLanguageModel:
    torch.manual_seed(0)
    network = CopyNetwork(CONFIG)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return CopyLanguageModel(network, make_tokenizer())


def uncached(model: CopyLanguageModel, prompt: list[int], generated: list[int]) -> torch.Tensor:
    """Log-probabilities after the last token, from one plain causal pass over everything."""
    ids = torch.tensor([prompt + generated])
    n = ids.shape[1]
    mask = torch.ones(1, n, n, dtype=torch.bool).tril()
    with torch.no_grad():
        states = model.network(ids, torch.arange(n)[None], mask)
        start, end = mention_region(prompt, OPEN, CLOSE)
        keys = model.network.copy_key(states[:, start:end])
        valid = torch.ones(1, end - start, dtype=torch.bool)
        return model.network.log_probs(states[:, -1:], keys, ids[:, start:end], valid)[0, 0]


def read_prompts(
    model: CopyLanguageModel,
    cache: object,
    prompts: list[list[int]],
    rows: slice | torch.Tensor,
    skip: int = 0,
) -> torch.Tensor:
    """Feed prompts from slot ``skip`` on, padded on the left as the decoder does."""
    width, length = max(map(len, prompts)) - skip, max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    positions = torch.zeros_like(ids)
    slots = torch.full_like(ids, cache.padding_slot)
    mask = torch.zeros(len(prompts), width, length, dtype=torch.bool)
    mask[:, :, 0] = True
    numbers = range(len(prompts))[rows] if isinstance(rows, slice) else rows.tolist()
    for r, (row, prompt) in enumerate(zip(numbers, prompts, strict=True)):
        cache.begin(row, prompt)
        new = torch.arange(skip, len(prompt))
        ids[r, width - len(new) :] = torch.tensor(prompt[skip:])
        positions[r, width - len(new) :] = new
        slots[r, width - len(new) :] = new
        mask[r, width - len(new) :] = torch.arange(length) <= new[:, None]
    return model.forward(ids, positions, slots, mask, cache, rows, 1)[:, 0]


def step(
    model: CopyLanguageModel, cache: object, prompt: list[int], paths: list[list[int]]
) -> torch.Tensor:
    """Feed one token for each of two beams, level by level; scores after the last level."""
    beams, depth = len(paths), len(paths[0])
    for level in range(depth):
        first = len(prompt) + level * beams
        slots = torch.arange(first, first + beams)[None]
        mask = torch.zeros(1, beams, first + beams, dtype=torch.bool)
        mask[:, :, : len(prompt)] = True
        for beam in range(beams):
            mask[0, beam, [len(prompt) + i * beams + beam for i in range(level + 1)]] = True
        ids = torch.tensor([[path[level] for path in paths]])
        positions = torch.full_like(ids, len(prompt) + level)
        scores = model.forward(ids, positions, slots, mask, cache, slice(0, 1), beams)
    return scores[0]


def test_cached_beams_score_like_a_plain_pass(model: CopyLanguageModel) -> None:
    short = [8, 3, 22, 4, 5, 14, 6]
    cache = model.new_cache(2, 32)
    first = read_prompts(model, cache, [PROMPT, short], torch.tensor([0, 1]))
    torch.testing.assert_close(first[0], uncached(model, PROMPT, []), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first[1], uncached(model, short, []), atol=1e-5, rtol=1e-5)
    paths = [[20, 25, 21], [30, 20, 31]]
    for scores, path in zip(step(model, cache, PROMPT, paths), paths, strict=True):
        torch.testing.assert_close(scores, uncached(model, PROMPT, path), atol=1e-5, rtol=1e-5)


def test_a_row_is_read_again_from_the_first_new_token(model: CopyLanguageModel) -> None:
    cache = model.new_cache(1, 64)
    read_prompts(model, cache, [PROMPT], slice(0, 1))
    step(model, cache, PROMPT, [[20, 25], [30, 20]])
    other = [*PROMPT[:9], 23, 4, 5, 14, 6]
    scores = read_prompts(model, cache, [other], slice(0, 1), skip=9)
    torch.testing.assert_close(scores[0], uncached(model, other, []), atol=1e-5, rtol=1e-5)


def test_moved_and_grown_rows_keep_their_mention(model: CopyLanguageModel) -> None:
    cache = model.new_cache(2, len(PROMPT))
    read_prompts(model, cache, [[8, 3, 22, 4, 5, 6], PROMPT], slice(0, 2))
    cache.move(1, 0)
    cache.resize(2, 40)
    scores = step(model, cache, PROMPT, [[20, 25], [30, 20]])
    expected = uncached(model, PROMPT, [20, 25])
    torch.testing.assert_close(scores[0], expected, atol=1e-5, rtol=1e-5)


def test_mentions_longer_than_any_before(model: CopyLanguageModel) -> None:
    prompt = [8, OPEN, *range(7, 37), CLOSE, 5, 14, 6]
    cache = model.new_cache(1, 64)
    scores = read_prompts(model, cache, [prompt], slice(0, 1))
    torch.testing.assert_close(scores[0], uncached(model, prompt, []), atol=1e-5, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(7, len(WORDS) - 1), max_size=12),
    st.lists(st.integers(7, len(WORDS) - 1), max_size=6),
)
def test_probabilities_sum_to_one(mention: list[int], context: list[int]) -> None:
    torch.manual_seed(1)
    model = CopyLanguageModel(CopyNetwork(CONFIG), make_tokenizer())
    for prompt in ([*context, OPEN, *mention, CLOSE, 5, 14, 6], [*context, 5, 14, 6]):
        cache = model.new_cache(1, 32)
        scores = read_prompts(model, cache, [prompt], slice(0, 1))
        assert scores.logsumexp(-1).item() == pytest.approx(0.0, abs=1e-5)


def test_mixture_of_vocabulary_and_mention(model: CopyLanguageModel) -> None:
    network = model.network
    states, keys = torch.randn(1, 1, 16), torch.randn(1, 3, 8)
    ids, valid = torch.tensor([[20, 21, 20]]), torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        scores = network.log_probs(states, keys, ids, valid)[0, 0].exp()
        logits = network.transform(states[0, 0]) @ network.tokens.weight.T + network.bias
        gate = network.gate(states[0, 0]).sigmoid()
        pointer = (keys[0] @ network.copy_query(states[0, 0]) / 8**0.5).softmax(0)
    expected = gate * logits.softmax(0)
    expected[20] += ((1 - gate) * (pointer[0] + pointer[2])).item()
    expected[21] += ((1 - gate) * pointer[1]).item()
    torch.testing.assert_close(scores, expected, atol=1e-6, rtol=1e-5)


def test_copies_come_from_the_mention_alone(model: CopyLanguageModel) -> None:
    copier = CopyNetwork(CONFIG)
    copier.load_state_dict(model.network.state_dict())
    with torch.no_grad():
        copier.gate.weight.zero_()
        copier.gate.bias.fill_(-30.0)
    cache_model = CopyLanguageModel(copier, model.tokenizer)
    scores = read_prompts(cache_model, cache_model.new_cache(1, 32), [PROMPT], slice(0, 1))[0]
    assert scores[[20, 21]].exp().sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("prompt", "region"),
    [
        (PROMPT, (9, 12)),
        ([OPEN, CLOSE], (1, 1)),
        ([OPEN, 9, CLOSE, OPEN, 9], (0, 0)),
        ([9, CLOSE], (0, 0)),
        ([], (0, 0)),
    ],
)
def test_mention_region(prompt: list[int], region: tuple[int, int]) -> None:
    assert mention_region(prompt, OPEN, CLOSE) == region


def test_training_survives_a_prompt_without_mention(model: CopyLanguageModel) -> None:
    network = CopyNetwork(CONFIG).train()
    ids = torch.tensor([PROMPT, PROMPT])
    mask = torch.ones(2, len(PROMPT), len(PROMPT), dtype=torch.bool).tril()
    states = network(ids, torch.arange(len(PROMPT)).expand_as(ids), mask)
    valid = torch.tensor([[True, True, True], [False, False, False]])
    keys = network.copy_key(states[:, 9:12])
    scores = network.log_probs(states[:, -1:], keys, ids[:, 9:12], valid)
    (-scores[:, 0, 20].sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_training_attention_equals_inference_attention(
    model: CopyLanguageModel,
) -> None:
    ids = torch.tensor([PROMPT])
    mask = torch.ones(1, len(PROMPT), len(PROMPT), dtype=torch.bool).tril()
    positions = torch.arange(len(PROMPT))[None]
    with torch.no_grad():
        expected = model.network(ids, positions, mask)
        states = model.network.train()(ids, positions, mask)
    model.network.eval()
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)


def test_saved_model_is_half_precision_and_loads_equal(
    model: CopyLanguageModel, tmp_path: Path
) -> None:
    model.save(tmp_path / "model")
    loaded = CopyLanguageModel.from_directory(tmp_path / "model")
    for name, value in loaded.network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.network.state_dict()[name].half().float())
    parameters = sum(p.numel() for p in model.network.parameters())
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert 2 * parameters <= size < 2 * parameters + 8192
    loaded.save(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()
    text = "w1 [w2 w3]{w4} w5"
    assert loaded.tokenizer(text)["input_ids"] == model.tokenizer(text)["input_ids"]
    offline = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert offline(text)["input_ids"] == model.tokenizer(text)["input_ids"]


def test_how_prompts_are_read_is_saved(tmp_path: Path) -> None:
    config = CopyConfig(**{**CONFIG.__dict__, "bidirectional": True})
    CopyLanguageModel(CopyNetwork(config), make_tokenizer()).save(tmp_path)
    assert CopyLanguageModel.from_directory(tmp_path).bidirectional_prompt


def test_unusable_directories_are_named(model: CopyLanguageModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        CopyLanguageModel.from_directory(tmp_path / "nowhere")
    model.save(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="cannot be read"):
        CopyLanguageModel.from_directory(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "architecture": "llama"}))
    with pytest.raises(ModelError, match="'llama'"):
        CopyLanguageModel.from_directory(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**values, "layers": 3}))
    with pytest.raises(ModelError, match="cannot be read"):
        CopyLanguageModel.from_directory(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        CopyLanguageModel.from_directory(tmp_path)
