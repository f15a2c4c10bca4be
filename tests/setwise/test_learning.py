"""The engine in training: the same letters as in use, exact gradients, adapters, files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from spacy_bel.errors import ModelError, SettingsError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.setwise.engine import LetterEngine
from spacy_bel.setwise.examples import SetwiseExample
from spacy_bel.setwise.forward import Prompt
from spacy_bel.setwise.learning import AnsweredPrompt, answered, batches, loss_and_gradients
from spacy_bel.setwise.lora import LoraSettings
from spacy_bel.setwise.prompt import Question
from spacy_bel.setwise.reader import Reader
from spacy_bel.setwise.scorer import LetterScorer

from .tiny_models import tiny_model

KINDS = ["llama", "gpt2", "qwen2", "mistral"]
LORA = LoraSettings(rank=4, alpha=8)


def prompts_of(lengths, letters=5):
    rng = np.random.default_rng(0)
    return [Prompt(rng.integers(5, 99, n).tolist(), letters, f"m{i}")
            for i, n in enumerate(lengths)]  # fmt: skip


def shake(model):
    """Change everything that trains, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)


def plain_logits(model, tokens):
    with torch.no_grad():
        return model.eval()(torch.tensor([tokens])).logits[0, -1]


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("kind", KINDS)
def test_training_reads_the_letters_that_are_scored(kind, lora):
    engine = LetterEngine(tiny_model(kind), 20)
    engine.train(lora)
    shake(engine.model)
    prompts = prompts_of([40, 9, 23]) + prompts_of([17], letters=2)
    engine.model.eval()
    logits = engine.forward(prompts)
    assert logits.requires_grad and logits.shape == (4, 21)
    scorer = LetterScorer(engine.model, engine.encoder.letters)
    for prompt, row, scores in zip(prompts, logits, scorer.score(prompts), strict=True):
        assert torch.isinf(row[prompt.letters :]).all()
        log_probabilities = torch.log_softmax(row[: prompt.letters].double(), 0)
        np.testing.assert_allclose(log_probabilities.detach().numpy(), scores, atol=1e-4)
        allowed = engine.encoder.letters[: prompt.letters]
        written = plain_logits(engine.model, prompt.ids)[allowed].argmax()
        assert int(scores.argmax()) == int(written)


tokens = st.lists(st.lists(st.integers(5, 99), min_size=1, max_size=40), min_size=1, max_size=9)


@given(tokens, st.integers(1, 120))
def test_batches_keep_to_the_budget_and_leave_nothing_out(rows, budget):
    items = [AnsweredPrompt(Prompt(ids, 2, "m"), 0) for ids in sorted(rows, key=len, reverse=True)]
    made = batches(items, budget)
    assert [prompt for batch in made for prompt in batch] == [item.prompt for item in items]
    assert all(len(b) == 1 or len(b) * max(len(p.ids) for p in b) <= budget for b in made)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(2, 21), st.randoms()), min_size=1, max_size=6), st.data())
def test_loss_and_gradients_are_those_of_torch(rows, data):
    items, logits = [], torch.full((len(rows), 21), -torch.inf)
    for i, (letters, rng) in enumerate(rows):
        items.append(AnsweredPrompt(Prompt([1], letters, "m"), rng.randrange(letters)))
        logits[i, :letters] = torch.tensor([rng.uniform(-30, 30) for _ in range(letters)])
    logits.requires_grad_(True)
    answers = torch.tensor([item.answer for item in items])
    expected = torch.nn.functional.cross_entropy(logits, answers, reduction="sum")
    expected.backward()
    cut = data.draw(st.integers(0, len(rows)))
    parts = [part.detach().numpy() for part in (logits[:cut], logits[cut:]) if len(part)]
    loss, gradients = loss_and_gradients(items, parts)
    assert loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(np.concatenate(gradients), logits.grad.numpy(), atol=1e-5)


def test_the_answer_to_options_that_were_left_out_is_none_of_the_above():
    engine = LetterEngine(tiny_model("gpt2", window=420), 10)
    options = ("heart", "liver " * 8, "kidney " * 60)
    question = Question("A cold.", 2, 6, options)
    for answer, expected in ((0, 0), (1, 1), (2, 2), (3, 2)):
        item = answered(SetwiseExample(question, answer), engine)
        assert (item.prompt.letters, item.answer) == (3, expected)
        assert item.tokens == len(item.prompt.ids) <= 420 and item.weight == 1


def test_questions_that_are_too_long_get_the_letter_that_generation_writes():
    engine = LetterEngine(tiny_model("gpt2", window=420), 10)
    engine.train(LORA)
    shake(engine.model)
    context = "cough and " * 30 + "cold " + "or chills " * 30
    asked = [
        Question(context, 300, 304, ("common cold", "low temperature")),
        Question(context, 300, 304, ("common cold", "kidney " * 40, "low temperature")),
        Question("A cold.", 2, 6, ("common cold",)),
    ]
    letters = engine.encoder.letters
    for question, row in zip(asked, Reader(engine).log_probabilities(asked), strict=True):
        short, tokens = engine.encode(question)
        assert len(tokens) <= 420 and len(row) == len(short.options) + 1
        allowed = letters[: len(row)]
        output = engine.model.generate(
            torch.tensor([tokens]), attention_mask=torch.ones(1, len(tokens)), max_new_tokens=1,
            do_sample=False, pad_token_id=1, prefix_allowed_tokens_fn=lambda b, w, a=allowed: a,
        )  # fmt: skip
        assert allowed.index(int(output[0, -1])) == int(row.argmax())


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapters_change_nothing_until_they_are_trained(kind):
    model = tiny_model(kind)
    prompts = prompts_of([20, 30])
    before = LetterScorer(model.model, range(5, 26)).score(prompts)
    engine = LetterEngine(model, 20)
    engine.train(LORA)
    trained = {n for n, p in engine.model.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert not any("lm_head" in name or "embed" in name for name in trained)
    after = LetterScorer(engine.model, range(5, 26)).score(prompts)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_is_written_is_what_was_trained(kind, lora, tmp_path):
    engine = LetterEngine(tiny_model(kind), 20)
    engine.train(lora)
    shake(engine.model)
    expected = plain_logits(engine.model, range(5, 60))
    weights = [p.clone() for p in engine.model.parameters()]
    engine.to_disk(tmp_path / "model")
    assert all(torch.equal(a, b) for a, b in zip(weights, engine.model.parameters(), strict=True))
    # transformers reads it without adapters, and nothing else was written.
    assert {f.suffix for f in (tmp_path / "model").iterdir()} <= {".json", ".safetensors", ".jinja"}
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    assert type(plain) is type(engine.model)
    assert not any("lora" in name for name, _ in plain.named_modules())
    torch.testing.assert_close(plain_logits(plain, range(5, 60)), expected, atol=1e-4, rtol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer("A cold.") == engine.language_model.tokenizer("A cold.")
    # Over the files that it was read from.
    again = LetterEngine(CausalLanguageModel.from_pretrained(tmp_path / "model"), 20)
    again.train(lora)
    (tmp_path / "model" / "model-00001-of-00002.safetensors").write_bytes(b"of another model")
    again.to_disk(tmp_path / "model")
    assert [f.name for f in (tmp_path / "model").glob("*.safetensors")] == ["model.safetensors"]
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    torch.testing.assert_close(plain_logits(plain, range(5, 60)), expected, atol=1e-4, rtol=1e-4)
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


def test_tied_weights_are_written_once(tmp_path):
    model = tiny_model("qwen2")
    model.model.config.tie_word_embeddings = True
    model.model.tie_weights()
    engine = LetterEngine(model, 20)
    engine.train(LORA)
    shake(engine.model)
    engine.to_disk(tmp_path / "model")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    expected = plain_logits(engine.model, range(5, 30))
    torch.testing.assert_close(plain_logits(plain, range(5, 30)), expected, atol=1e-4, rtol=1e-4)


def test_precision(tmp_path):
    tiny_model().save(tmp_path / "model")

    def read(dtype, lora):
        engine = LetterEngine(
            CausalLanguageModel.from_pretrained(tmp_path / "model", device="cpu", dtype=dtype), 20
        )
        engine.train(lora)
        return engine

    frozen = read("bfloat16", LORA)
    precisions = {p.dtype: p.requires_grad for p in frozen.model.parameters()}
    assert precisions == {torch.float32: True, torch.bfloat16: False}
    whole = read("bfloat16", None)
    assert {p.dtype for p in whole.model.parameters()} == {torch.float32}
    prompts = prompts_of([30, 20])
    exact = LetterScorer(whole.model, whole.encoder.letters).score(prompts)
    logits = whole.forward(prompts)
    logits[:, :5].sum().backward()
    assert all(
        p.grad.dtype == torch.float32 for p in whole.model.parameters() if p.grad is not None
    )
    # The arithmetic is in bfloat16, in training and in use: close to, but not the same.
    in_training = torch.log_softmax(logits[:, :5].double(), 1).detach().numpy()
    assert 0 < np.abs(in_training - np.stack(exact)).max() < 1
    question = Question("A cold.", 2, 6, ("x", "y"))
    used = Reader(whole).log_probabilities([question])[0]
    whole.dtype = None
    assert 0 < np.abs(Reader(whole).log_probabilities([question])[0] - used).max() < 1
    frozen.to_disk(tmp_path / "written")
    assert json.loads((tmp_path / "written" / "config.json").read_text())["torch_dtype"]
    with pytest.raises(ModelError, match="float16: set dtype to bfloat16"):
        read("float16", LORA)


def test_settings_that_cannot_be_used():
    for arguments in ({"rank": 0}, {"alpha": 0}):
        with pytest.raises(SettingsError, match="rank of at least 1"):
            LoraSettings(**arguments)
    with pytest.raises(SettingsError, match="options must be from 1 to 20"):
        LetterEngine(tiny_model(), 21)
