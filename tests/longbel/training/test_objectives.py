"""Objectives against plain forward passes over one sequence at a time, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import ModelError, SettingsError
from spacy_bel.longbel.models.copy_lm import CopyConfig, CopyLanguageModel, CopyNetwork
from spacy_bel.longbel.training.objectives import objective_of
from spacy_bel.longbel.training.objectives.copy_lm import CopyObjective
from spacy_bel.longbel.training.sequence import TokenSequence

from ..architectures import ARCHITECTURES, tiny
from ..conftest import character_tokenizer, tiny_llama
from ..encoder_decoders import MAKERS, model_of

OPEN, CLOSE = 3, 4


def sequence(ids, *learned, source=None):
    source = None if source is None else np.array(source, np.int32)
    return TokenSequence(np.array(ids, np.int32), tuple(learned), source)


def random_sequences(vocabulary, lengths, seed=0, source=False):
    """Of these lengths; the last third of each is learned, and in long ones a part before."""
    random = np.random.default_rng(seed)
    made = []
    for n in lengths:
        learned = [(n - max(1, n // 3), n)]
        if n > 12 and not source:
            learned.insert(0, (4, 7))
        read = random.integers(8, vocabulary, random.integers(3, 40)) if source else None
        made.append(sequence(random.integers(8, vocabulary, n), *learned, source=read))
    return made


def gradients(module, loss):
    module.zero_grad(set_to_none=True)
    loss.backward()
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def assert_same(module, found, expected, tolerance=1e-4):
    """The same log-probabilities, and the same gradients of a sum that weighs them differently."""
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=tolerance)
    weights = torch.linspace(0.5, 1.5, len(found))
    left = gradients(module, -(found * weights).mean())
    right = gradients(module, -(expected * weights).mean())
    assert left.keys() == right.keys()
    for name in left:
        scale = max(1.0, float(right[name].abs().max()))
        assert torch.allclose(left[name], right[name], atol=tolerance * scale), name


# Causal models


def plain_causal(network, batch):
    """One sequence after another, as transformers reads it, without any cache."""
    found = []
    for each in batch:
        ids = torch.from_numpy(each.ids.astype(np.int64))
        scores = network(ids[None], use_cache=False).logits[0].float().log_softmax(-1)
        for a, b in each.learned:
            found.append(scores[a - 1 : b - 1].gather(1, ids[a:b, None])[:, 0])
    return torch.cat(found)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def causal(request):
    return tiny(request.param)


@pytest.mark.parametrize("packs", [True, False])
def test_causal_models_equal_plain_forward_passes(causal, packs):
    objective = objective_of(causal, dropout=0.0)
    assert objective.packs == causal._ragged  # where PyTorch's attention is used
    objective.packs = objective.packs and packs
    objective.train()
    batch = random_sequences(causal.vocab_size, [9, 30, 14, 13, 2, 30])
    assert_same(objective, objective(batch), plain_causal(causal.model, batch))
    causal.model.eval()


def test_layers_may_be_computed_again():
    plain, again = tiny_llama(), tiny_llama()
    batch = random_sequences(plain.vocab_size, [9, 30, 14])
    first = objective_of(plain).train()
    second = objective_of(again, gradient_checkpointing=True).train()
    assert second.packs
    left = gradients(first, -first(batch).mean())
    right = gradients(second, -second(batch).mean())
    assert left.keys() == right.keys()
    assert all(torch.allclose(left[n], right[n], atol=1e-6) for n in left)


def test_judging_says_where_the_right_token_is_the_best():
    model = tiny_llama()
    batch = random_sequences(model.vocab_size, [9, 30, 14])
    objective = objective_of(model)
    best = []
    for each in batch:
        ids = torch.from_numpy(each.ids.astype(np.int64))
        choice = model.model(ids[None]).logits[0].argmax(-1)
        best += [choice[a - 1 : b - 1] == ids[a:b] for a, b in each.learned]
    # Some that are right beside all those that are wrong by chance.
    ids = batch[0].ids.copy()
    ids[-1] = model.model(torch.from_numpy(ids[None, :-1].astype(np.int64))).logits[0, -1].argmax()
    judged = objective.judge([*batch, sequence(ids, (len(ids) - 1, len(ids)))])
    assert judged.best.tolist() == [*torch.cat(best).tolist(), True]
    assert torch.allclose(judged.log_probs[:-1], objective(batch), atol=1e-6)


def test_dropout_is_that_of_the_settings():
    model = tiny("GPT2")
    batch = random_sequences(model.vocab_size, [9, 30, 14])
    objective = objective_of(model, dropout=0.3).train()
    assert not torch.equal(objective(batch), objective(batch))
    objective = objective_of(model, dropout=0.0).train()
    assert torch.equal(objective(batch), objective(batch))
    model.model.eval()


# Encoder-decoders


@pytest.mark.parametrize("maker", MAKERS)
def test_encoder_decoders_equal_plain_forward_passes(maker):
    model = model_of(maker)
    objective = objective_of(model, dropout=0.0).train()
    batch = [
        sequence(
            [*model.opening, *each.ids],
            (len(model.opening), len(model.opening) + len(each.ids)),
            source=each.source,
        )
        for each in random_sequences(len(model.tokenizer), [9, 3, 12, 5, 7], source=True)
    ]
    found = []
    for each in batch:
        ids = torch.from_numpy(each.ids.astype(np.int64))
        logits = model.model(
            input_ids=torch.from_numpy(each.source.astype(np.int64))[None],
            decoder_input_ids=ids[None],
            use_cache=False,
        ).logits[0]
        [(a, b)] = each.learned
        found.append(logits.log_softmax(-1)[a - 1 : b - 1].gather(1, ids[a:b, None])[:, 0])
    assert_same(objective, objective(batch), torch.cat(found))
    model.model.eval()


# Copy networks


def copy_network(seed=0, **config):
    torch.manual_seed(seed)
    sizes = dict(hidden_size=16, layers=2, heads=4, intermediate_size=24, max_length=64)
    network = CopyNetwork(CopyConfig(20, OPEN, CLOSE, copy_size=8, **{**sizes, **config}))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter *= 3
    return network


def region(ids):
    """By searching from the end, as text: what stands in the last brackets that close."""
    text = "".join("[" if i == OPEN else "]" if i == CLOSE else "x" for i in ids)
    begin = text.rfind("[")
    end = text.find("]", begin)
    return range(begin + 1, end) if begin >= 0 and end >= 0 else range(0)


def plain_copy(network, batch):
    """Token by token in double precision, written as the probability of a mixture."""
    found = []
    for each in batch:
        ids = each.ids.tolist()
        prompt = each.learned[0][0]
        for a, b in each.learned:
            places = list(region(ids[:a]))
            for t in range(a, b):
                mask = torch.ones(t, t, dtype=torch.bool).tril()
                if network.config.bidirectional:
                    mask[:prompt, :prompt] = True
                states = network(torch.tensor([ids[:t]]), torch.arange(t)[None], mask[None])[0]
                logits = network.transform(states[-1]) @ network.tokens.weight.T + network.bias
                p = logits.softmax(-1)[ids[t]]
                if places:
                    gate = network.gate(states[-1]).sigmoid()[0]
                    products = network.copy_key(states[places]) @ network.copy_query(states[-1])
                    pointer = (products / network.config.copy_size**0.5).softmax(-1)
                    same = torch.tensor([float(ids[place] == ids[t]) for place in places])
                    p = gate * p + (1 - gate) * (pointer * same).sum()
                found.append(p.log())
    return torch.stack(found).float()


@st.composite
def copy_sequences(draw):
    """Of few tokens, so that brackets and repeated tokens are frequent."""
    made = []
    for _ in range(draw(st.integers(1, 5))):
        ids = draw(st.lists(st.integers(0, 9), min_size=4, max_size=24))
        cut = sorted(draw(st.sets(st.integers(1, len(ids)), min_size=2, max_size=4)))
        spans = list(zip(cut[::2], cut[1::2], strict=False))
        made.append(sequence(ids, *spans))
    return made


@settings(max_examples=15, deadline=None)
@given(copy_sequences(), st.booleans())
def test_copy_networks_equal_a_mixture_written_out(batch, again):
    network = copy_network().double().train()
    objective = CopyObjective(network, gradient_checkpointing=again)
    assert_same(network, objective(batch), plain_copy(network, batch), 1e-5)


def test_copy_networks_that_see_the_whole_prompt():
    network = copy_network(bidirectional=True).double().train()
    objective = CopyObjective(network)
    batch = [
        sequence([5, OPEN, 6, 7, 6, CLOSE, 8, 6, 9], (7, 9)),
        sequence([5, OPEN, 6, CLOSE, 8, 6, 1, 2], (5, 8)),
        sequence([5, 9, 9], (2, 3)),
    ]
    assert_same(network, objective(batch), plain_copy(network, batch), 1e-5)
    with pytest.raises(SettingsError, match="one prompt per mention"):
        objective([sequence(range(9), (2, 3), (5, 7))])


def test_judging_and_learning_agree_for_copy_networks():
    network = copy_network()
    objective = CopyObjective(network).eval()
    batch = [
        sequence([5, OPEN, 6, 7, 6, CLOSE, 8, 6, 7, 9, OPEN, 2, CLOSE, 2], (7, 9), (13, 14)),
        sequence([5, 9, 9], (2, 3)),
    ]
    judged = objective.judge(batch)
    assert torch.allclose(judged.log_probs, objective(batch), atol=1e-5)
    best = []  # the best of all tokens that could stand there
    for each in batch:
        for a, b in each.learned:
            for t in range(a, b):
                tried = [sequence([*each.ids[:t], i], (t, t + 1)) for i in range(20)]
                # The mention of the prompt, not one within the name.
                scores = [
                    CopyObjective.forward(objective, [sequence(s.ids, (a, t + 1))])[-1]
                    for s in tried
                ]
                best.append(int(torch.stack(scores).argmax()) == each.ids[t])
    assert judged.best.tolist() == best


def test_copy_networks_drop_what_the_settings_say():
    model = CopyLanguageModel(copy_network(), character_tokenizer())
    batch = [sequence([5, OPEN, 6, 7, CLOSE, 6, 7, 9], (5, 8))]
    objective = objective_of(model, dropout=0.2).train()
    assert not torch.equal(objective(batch), objective(batch))
    objective.eval()
    assert torch.equal(objective(batch), objective(batch))


def test_other_models_are_refused():
    with pytest.raises(ModelError, match="cannot be trained"):
        objective_of(object())


def test_smoothed_labels():
    model = tiny_llama(sharpness=0.1)
    learned = sequence([5, 9, 12, 20], (2, 4))
    logits = model.model(torch.tensor([[5, 9, 12, 20]])).logits[0, 1:3]
    smoothed = torch.nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none")
    expected = -smoothed(logits, torch.tensor([12, 20]))
    torch.testing.assert_close(objective_of(model, label_smoothing=0.1)([learned]), expected)
    network = CopyNetwork(
        CopyConfig(vocab_size=30, open_id=3, close_id=4, hidden_size=8, layers=1, heads=2)
    )
    copies = CopyLanguageModel(network, character_tokenizer())
    with pytest.raises(SettingsError, match="label_smoothing is 0.1"):
        objective_of(copies, label_smoothing=0.1)
