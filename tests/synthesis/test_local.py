"""Texts by a model in this process."""

from collections import Counter

import pytest
import torch

from spacy_bel.errors import SettingsError
from spacy_bel.longbel.models.chat import ChatEncoder
from spacy_bel.synthesis import Answer, Failure, Request
from spacy_bel.synthesis.base import Message
from spacy_bel.synthesis.local import CausalLMGenerator
from tests.setwise.tiny_models import TEMPLATE, tiny_model
from tests.synthesis.service import good_answer


def request(user, attempt=0):
    return Request("C", (Message("system", "Rules."), Message("user", user)), attempt)


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")


def test_a_text_depends_on_its_request_and_seed_alone(model):
    settings = {"max_tokens": 12, "temperature": 0.8}
    requests = [request("one"), request("another, longer one"), request("one", 1)]
    together = CausalLMGenerator(model, batch_size=3, **settings).generate(requests)
    alone = CausalLMGenerator(model, batch_size=1, **settings).generate(requests[::-1])[::-1]
    assert together == alone and together[0] != together[2]
    other = CausalLMGenerator(model, seed=1, **settings).generate(requests)
    assert [a.text for a in other] != [a.text for a in together]
    encoder = ChatEncoder(model.tokenizer)
    lengths = [
        len(encoder.ids(encoder.prompt("\n\n".join(m[1] for m in r.messages)))) for r in requests
    ]
    assert [answer.prompt_tokens for answer in together] == lengths


def test_texts_are_drawn_as_the_model_has_them(model):
    """First characters of many texts against the probabilities of a plain forward pass."""
    generator = CausalLMGenerator(model, max_tokens=1, temperature=0.7, top_p=0.8, batch_size=200)
    asked = [request("one", attempt) for attempt in range(2000)]
    drawn = Counter(answer.text for answer in generator.generate(asked))
    encoder = ChatEncoder(model.tokenizer)
    ids = encoder.ids(encoder.prompt("Rules.\n\none"))
    with torch.no_grad():
        logits = model.model(torch.tensor([ids])).logits[0, -1].double() / 0.7
    probabilities = torch.softmax(logits, -1)
    order = probabilities.argsort(descending=True)
    before = probabilities[order].cumsum(0) - probabilities[order]
    nucleus = order[before < 0.8]
    expected = probabilities[nucleus] / probabilities[nucleus].sum()
    texts = [model.tokenizer.decode([i], skip_special_tokens=True) for i in nucleus.tolist()]
    assert set(drawn) <= set(texts)
    for text, share in zip(texts, expected.tolist(), strict=True):
        if texts.count(text) == 1:
            # Five standard deviations.
            assert abs(drawn[text] / 2000 - share) < 5 * (share * (1 - share) / 2000) ** 0.5


def test_the_models_own_settings_play_no_part_and_are_kept(model):
    before = model.model.generation_config
    plain = CausalLMGenerator(model, max_tokens=6).generate([request("one")])
    model.model.generation_config.temperature = 9.0
    model.model.generation_config.repetition_penalty = 3.0
    try:
        assert CausalLMGenerator(model, max_tokens=6).generate([request("one")]) == plain
        assert model.model.generation_config is before
    finally:
        model.model.generation_config.temperature = 1.0
        model.model.generation_config.repetition_penalty = 1.0


def test_prompts_that_do_not_fit_are_refused():
    generator = CausalLMGenerator(tiny_model("llama", window=60), max_tokens=20)
    outcomes = generator.generate([request("x" * 50), request("one")])
    assert isinstance(outcomes[0], Failure) and outcomes[0].kind == "refused"
    assert "of which 40 fit" in outcomes[0].message
    assert isinstance(outcomes[1], Answer) and outcomes[1].completion_tokens <= 20


def test_memory_that_runs_out_halves_the_batch(model, monkeypatch):
    generator = CausalLMGenerator(model, max_tokens=4, batch_size=4)
    asked = [request(f"number {i}") for i in range(5)]
    expected = generator.generate(asked)
    sample, sizes = generator._sample, []

    def scarce(prompts, seeds):
        sizes.append(len(prompts))
        if len(prompts) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return sample(prompts, seeds)

    monkeypatch.setattr(generator, "_sample", scarce)
    assert generator.generate(asked) == expected and sizes == [4, 2, 1, 1, 1, 1, 1]


def test_sentences_by_a_local_model(run, monkeypatch):
    """The way through; a random model writes nothing that is accepted: its words are replaced."""
    model = tiny_model("llama", window=8192)
    model.tokenizer.chat_template = TEMPLATE
    generator = CausalLMGenerator(model, max_tokens=4, batch_size=2)
    documents, report, _ = run(["DIS:0", "DIS:1"], generator=generator, retries=1)
    assert not documents and report["paid"]["answers"] == 4
    assert report["answers"]["unreadable"] == 4 and report["paid"]["uncounted"] == 0
    monkeypatch.setattr(
        generator, "_answer", lambda new, n, ends: Answer(good_answer("DIS:0"), n, len(new))
    )
    documents, report, _ = run(["DIS:0", "DIS:1"], generator=generator, retries=2)
    assert report["concepts"]["complete"] == 2 and report["paid"]["answers"] == 6


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_p": 0.0}, {"batch_size": 0}])
def test_settings_that_cannot_be_used(wrong):
    with pytest.raises(SettingsError, match="at least 1"):
        CausalLMGenerator("m", **wrong)
