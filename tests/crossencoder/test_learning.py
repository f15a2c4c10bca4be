"""What inputs teach: the loss and its gradient, and which inputs are learned from together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.crossencoder.inputs import Batch, PackedInput
from spacy_bel.crossencoder.learning import LearningInput, learning_inputs, loss_and_gradients

_NONE = np.zeros(0, np.int64)


def batch_of(pairs):
    return Batch(*[_NONE] * 7, np.array(pairs, np.int64).reshape(-1, 3))


def input_of(pairs):
    return PackedInput(*[_NONE] * 5, np.array(pairs, np.int64).reshape(-1, 3))


def target(right):
    return np.array(right, bool)


@st.composite
def read_mentions(draw, listwise=True):
    """Targets by document and mention, their pairs in any order, and borders of batches."""
    targets = {}
    for document in range(draw(st.integers(1, 2))):
        for mention in range(draw(st.integers(1, 3))):
            right = draw(st.lists(st.booleans(), min_size=1, max_size=5))
            if listwise and not any(right):
                right[draw(st.integers(0, len(right) - 1))] = True
            targets[document, mention] = target(right)
    pairs = draw(st.permutations([(*key, c) for key, t in targets.items() for c in range(len(t))]))
    cuts = draw(st.sets(st.integers(1, len(pairs) - 1), max_size=3)) if len(pairs) > 1 else set()
    seed = draw(st.integers(0, 10**6))
    logits = np.random.default_rng(seed).normal(0, 4, (len(pairs), 2)).astype(np.float32)
    return targets, pairs, [0, *sorted(cuts), len(pairs)], logits


def reference(targets, pairs, logits, objective):
    """The loss of each mention by torch's own functions."""
    row = {pair: i for i, pair in enumerate(pairs)}
    total = logits.new_zeros(())
    for key, wanted in targets.items():
        own = logits[[row[(*key, c)] for c in range(len(wanted))]]
        right = torch.tensor(wanted)
        if objective == "pairwise":
            total = total + torch.nn.functional.cross_entropy(own, right.long())
        else:
            shares = torch.softmax(own[:, 1] - own[:, 0], 0)
            total = total - torch.log(shares[right].sum())
    return total


@pytest.mark.parametrize("objective", ["listwise", "pairwise"])
@settings(deadline=None)
@given(data=st.data())
def test_loss_and_gradient_are_those_of_autograd(objective, data):
    targets, pairs, borders, logits = data.draw(read_mentions(objective == "listwise"))
    items = [LearningInput((), {key: wanted}) for key, wanted in targets.items()]
    cuts = list(pairwise(borders))
    loss, gradients = loss_and_gradients(
        items,
        [batch_of(pairs[a:b]) for a, b in cuts],
        [logits[a:b] for a, b in cuts],
        objective,
    )
    tensor = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    expected = reference(targets, pairs, tensor, objective)
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    assert [len(array) for array in gradients] == [b - a for a, b in cuts]
    np.testing.assert_allclose(np.concatenate(gradients), tensor.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("objective", ["listwise", "pairwise"])
@pytest.mark.parametrize("size", [1e3, 1e30])
def test_logits_of_any_size_give_numbers(objective, size):
    pairs = [(0, 0, 0), (0, 0, 1), (0, 0, 2)]
    logits = np.array([[size, -size], [-size, size], [0, 0]], np.float32)
    items = [LearningInput((), {(0, 0): target([True, False, True])})]
    loss, (gradient,) = loss_and_gradients(items, [batch_of(pairs)], [logits], objective)
    assert np.isfinite(loss) and loss > size / 3
    assert np.isfinite(gradient).all() and np.abs(gradient).max() <= 1


def test_what_is_right_beyond_doubt_costs_nothing():
    items = [LearningInput((), {(0, 0): target([False, True, True])})]
    logits = np.array([[50, 0], [0, 50], [0, 50]], np.float32)
    for objective in ("listwise", "pairwise"):
        loss, (gradient,) = loss_and_gradients(
            items, [batch_of([(0, 0, 0), (0, 0, 1), (0, 0, 2)])], [logits], objective
        )
        assert loss == pytest.approx(0, abs=1e-9) and np.abs(gradient).max() < 1e-9


def connected(mentions):
    """Inputs that have mentions in common, directly or by others, as sets of their indices."""
    groups = [{i} for i in range(len(mentions))]
    while True:
        for a, b in ((a, b) for a in groups for b in groups if a is not b):
            if any(mentions[i] & mentions[j] for i in a for j in b):
                groups.remove(b)
                a |= b
                break
        else:
            return {frozenset(group) for group in groups}


@settings(deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 3)),
            min_size=1,
            max_size=4,
        ),
        max_size=9,
    )
)
def test_inputs_that_have_mentions_in_common_are_learned_together(pairs):
    inputs = [input_of(some) for some in pairs]
    targets = [[target([True] * (1 + d + m)) for m in range(5)] for d in range(2)]
    items = learning_inputs(inputs, targets)
    number = {id(packed): i for i, packed in enumerate(inputs)}
    found = [frozenset(number[id(packed)] for packed in item.inputs) for item in items]
    mentions = [{(d, m) for d, m, _ in some} for some in pairs]
    assert set(found) == connected(mentions) and len(found) == len(set(found))
    assert sum(len(item.inputs) for item in items) == len(inputs)
    for item, members in zip(items, found, strict=True):
        assert set(item.right) == set().union(*(mentions[i] for i in members))
        assert all(item.right[d, m] is targets[d][m] for d, m in item.right)
        assert item.weight == len(item.right)


def test_the_size_of_what_is_learned_together():
    inputs = [
        PackedInput(np.zeros(n, np.int64), *[_NONE] * 4, np.array([(0, 0, c)]))
        for c, n in enumerate((5, 7))
    ]
    (item,) = learning_inputs(inputs, [[target([True, False])]])
    assert (item.tokens, item.weight) == (12, 1)
