import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.retriever.training.loss import multi_similarity_loss


def plain_loss(vectors, positive, negative, alpha, beta, base, margin, margin_of):
    """The definition, anchor by anchor and triplet by triplet."""
    unit = [v / np.linalg.norm(v) for v in vectors]
    count = len(unit)
    similarity = [[float(a @ b) for b in unit] for a in unit]

    def far(i, j):
        if margin_of == "cosine":
            return -similarity[i][j]
        return float(np.linalg.norm(unit[i] - unit[j]))

    total = 0.0
    for i in range(count):
        pairs = {
            (p, n)
            for p in range(count)
            for n in range(count)
            if positive[i][p] and negative[i][n] and far(i, n) - far(i, p) < margin
        }
        near = sum(math.exp(-alpha * (similarity[i][p] - base)) for p in {p for p, _ in pairs})
        away = sum(math.exp(beta * (similarity[i][n] - base)) for n in {n for _, n in pairs})
        total += math.log1p(near) / alpha + math.log1p(away) / beta
    return total / count


@st.composite
def batches(draw):
    count = draw(st.integers(2, 9))
    seed = draw(st.integers(0, 10_000))
    labels = np.array(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
    random = np.random.default_rng(seed)
    same = labels[:, None] == labels
    neutral = random.random((count, count)) < 0.1
    positive = same & ~np.eye(count, dtype=bool)
    return random.normal(size=(count, 5)), positive, ~same & ~neutral


@settings(max_examples=60, deadline=None)
@given(
    batches(),
    st.sampled_from([(1.0, 60.0), (2.0, 50.0), (2.0, 10.0)]),
    st.sampled_from([0.0, 0.2, 3.0]),
    st.sampled_from(["cosine", "distance"]),
)
def test_equals_the_definition(batch, alpha_beta, margin, margin_of):
    vectors, positive, negative = batch
    alpha, beta = alpha_beta
    found = multi_similarity_loss(
        torch.tensor(vectors, dtype=torch.float32),
        torch.from_numpy(positive),
        torch.from_numpy(negative),
        alpha=alpha,
        beta=beta,
        margin=margin,
        margin_of=margin_of,
    )
    expected = plain_loss(vectors, positive, negative, alpha, beta, 0.5, margin, margin_of)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_gradient_by_finite_differences():
    random = np.random.default_rng(1)
    vectors = random.normal(size=(6, 4))
    labels = np.array([0, 0, 1, 1, 2, 2])
    same = labels[:, None] == labels
    positive, negative = same & ~np.eye(6, dtype=bool), ~same
    # Everything is in some hard triplet, so that the chosen pairs do not change with a small step.
    options = {"alpha": 2.0, "beta": 10.0, "base": 0.5, "margin": 3.0}
    tensor = torch.tensor(vectors, dtype=torch.float32, requires_grad=True)
    masks = torch.from_numpy(positive), torch.from_numpy(negative)
    multi_similarity_loss(tensor, *masks, **options).backward()
    step = 1e-5
    for place in [(0, 0), (1, 3), (4, 2)]:
        moved = [vectors.copy(), vectors.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (plain_loss(v, positive, negative, margin_of="cosine", **options) for v in moved)
        assert tensor.grad[place].item() == pytest.approx((up - down) / (2 * step), abs=1e-4)


def test_nothing_to_learn_gives_zero_and_no_gradient():
    vectors = torch.eye(3, requires_grad=True)
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    loss = multi_similarity_loss(vectors, nothing, nothing)
    loss.backward()
    assert loss.item() == 0 and not vectors.grad.any()


def test_vectors_of_16_bits_do_not_overflow():
    vectors = torch.ones(4, 3, dtype=torch.bfloat16)
    same = torch.tensor([0, 0, 1, 1])[:, None] == torch.tensor([0, 0, 1, 1])
    loss = multi_similarity_loss(vectors, same & ~torch.eye(4, dtype=torch.bool), ~same, beta=500.0)
    assert torch.isfinite(loss)
