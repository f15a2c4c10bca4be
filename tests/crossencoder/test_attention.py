from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForTokenClassification

from spacy_bel.crossencoder import rows
from spacy_bel.crossencoder.attention import forward_of, padded, row_forward
from spacy_bel.crossencoder.inputs import Batch, collate
from spacy_bel.crossencoder.layouts import Layout
from spacy_bel.crossencoder.packing import Packer
from spacy_bel.crossencoder.padding import Padded, block_ways, plain_forward
from spacy_bel.crossencoder.rows import Row, RowAttention
from spacy_bel.crossencoder.tokenization import PieceTokenizer
from tests.crossencoder.samples import KINDS, LAYOUTS, document, documents, write_model
from tests.retriever.tiny_encoders import wordpiece

CPU = torch.device("cpu")
PACKERS = {
    layout: Packer(PieceTokenizer(wordpiece()), layout, 512)
    for layout in (
        Layout(name=name, attention=attention, repeat_mention=repeat, max_length=128)
        for name in LAYOUTS
        for attention in ("full", "block")
        for repeat in (True, False)
    )
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    return {kind: write_model(folder / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def networks(paths):
    torch.manual_seed(0)  # the heads are new
    return {
        kind: AutoModelForTokenClassification.from_pretrained(
            path, num_labels=2, attn_implementation="sdpa"
        ).eval()
        for kind, path in paths.items()
    }


def side_by_side(network, layout):
    """The same model with padding and, for block attention, a mask of all pairs of tokens."""
    if layout.attention == "full":
        return padded(plain_forward)
    return padded(block_ways(network.base_model)[0])


@st.composite
def batches(draw):
    layout = draw(st.sampled_from(list(PACKERS)))
    docs = draw(st.lists(documents(most_candidates=5), min_size=1, max_size=3))
    inputs, _ = PACKERS[layout].pack(docs)
    return layout, collate(inputs, layout) if inputs else None


@settings(deadline=None, max_examples=60)
@given(batches(), st.sampled_from(KINDS))
def test_a_row_is_read_as_inputs_side_by_side_are(networks, sample, kind):
    layout, batch = sample
    if batch is None:
        return
    network = networks[kind]
    batch = readable(batch, network)
    assert forward_of(network, layout.attention) is row_forward
    weights = torch.linspace(-1, 1, 2 * len(batch.ids)).view(-1, 2)
    results = []
    for forward in (row_forward, side_by_side(network, layout)):
        network.zero_grad()
        found = forward(network, batch)
        (found * weights).sum().backward()
        results.append((found.detach(), {n: p.grad for n, p in network.named_parameters()}))
    (found, gradients), (expected, others) = results
    assert found.shape == (len(batch.ids), 2)
    # The large weights of the random encoders make much of the order of additions.
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], atol=2e-4, rtol=1e-3)


def brute_force(query, key, value, batch, scale, window=None):
    """One softmax over all tokens of the row that are seen, in double precision."""
    owner = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
    blocks, parts, positions = batch.blocks, batch.parts, batch.positions
    seen = np.zeros((len(owner), len(owner)), bool)
    for i in range(len(owner)):
        for j in range(len(owner)):
            own = blocks[i] == blocks[j] and parts[j] in (-1, parts[i])
            seen[i, j] = owner[i] == owner[j] and (blocks[j] == -1 or own)
            if window is not None and abs(positions[i] - positions[j]) > window:
                seen[i, j] = False
    weights = torch.einsum("ihd,jhd->hij", query.double(), key.double()) * scale
    weights = weights.masked_fill(~torch.from_numpy(seen), -torch.inf).softmax(-1)
    return torch.einsum("hij,jhd->ihd", weights, value.double())


@settings(deadline=None, max_examples=40)
@given(
    batches(), st.integers(0, 99), st.sampled_from([1.0, 30.0]), st.none() | st.integers(0, 9)
)  # fmt: skip
def test_attention_against_brute_force(sample, seed, size, window):
    """Also where some weights are very large, and in layers with local attention."""
    _, batch = sample
    if batch is None or len(batch.ids) > 300:
        return
    random = torch.Generator().manual_seed(seed)
    query, key, value, weights = torch.randn(4, len(batch.ids), 2, 8, generator=random)
    tensors = [(query * size).requires_grad_(), key.requires_grad_(), value.requires_grad_()]
    row = Row(batch, CPU, window)
    attend = row.attend if window is None else row.attend_near
    gradients = []
    for found in (attend(*tensors, 0.3), brute_force(*tensors, batch, 0.3, window)):
        gradients.append(torch.autograd.grad((found * weights).sum(), tensors, retain_graph=True))
        gradients[-1] = (found.float(), *gradients[-1])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * size, rtol=1e-3)


@settings(deadline=None, max_examples=20)
@given(batches())
def test_without_the_kernel_masks_do_the_same(networks, sample):
    _, batch = sample
    if batch is None:
        return
    with torch.no_grad():
        expected = row_forward(networks["bert"], batch)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows, "available", lambda query: False)
            found = row_forward(networks["bert"], batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def readable(batch, network):
    """The batch with tokens that the model knows, none of which is padding."""
    return replace(batch, ids=batch.ids % (network.config.vocab_size - 5) + 5)


def one_batch(layout=None, words=40) -> Batch:
    layout = layout or Layout(name="document", attention="block")
    doc = document("acute MI on " * words, *[("MI", ["heart attack", "MI", "ataxia"])] * 4)
    return collate(Packer(PieceTokenizer(wordpiece()), layout, 512).pack([doc])[0], layout)


@pytest.mark.parametrize("attention", ["full", "block"])
def test_an_encoder_that_computes_attention_itself_reads_side_by_side(paths, networks, attention):
    eager = AutoModelForTokenClassification.from_pretrained(
        paths["bert"], num_labels=2, attn_implementation="eager"
    ).eval()
    eager.load_state_dict(networks["bert"].state_dict())
    batch = one_batch(Layout(name="document", attention=attention))
    with pytest.raises(ValueError, match="computes attention by itself"):
        row_forward(eager, batch)
    with torch.no_grad():
        found = forward_of(eager, attention)(eager, batch)
        expected = row_forward(networks["bert"], batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_autocast_in_training(networks, kind):
    network = networks[kind]
    batch = readable(one_batch(), network)
    results = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found = row_forward(network, batch).float()
        found.square().mean().backward()
        results.append((found.detach(), network.classifier.weight.grad.clone()))
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() < 0.1 * one.norm()
    gradients = [weights.grad for weights in network.parameters() if weights.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_weights_of_attention_are_not_dropped_out(paths):
    network = AutoModelForTokenClassification.from_pretrained(
        paths["bert"],
        attn_implementation="sdpa",
        attention_probs_dropout_prob=0.5,
        hidden_dropout_prob=0.0,
        classifier_dropout=0.0,
    )
    batch = one_batch()
    with torch.no_grad():
        expected = row_forward(network.eval(), batch)
        found = row_forward(network.train(), batch)
    torch.testing.assert_close(found, expected)


def test_attention_of_another_kind_is_refused():
    batch = one_batch()
    query = torch.zeros(1, 2, len(batch.ids), 8)
    with RowAttention(Row(batch, CPU)) as mode:
        attend = torch.nn.functional.scaled_dot_product_attention
        assert attend(query, query, query).shape == query.shape
        with pytest.raises(ValueError, match="no attention of a row to itself"):
            attend(query, query, query, is_causal=True)
        with pytest.raises(ValueError, match="no attention of a row to itself"):
            attend(query, query[:, :, :4], query[:, :, :4])
    assert mode.calls == 3
    assert attend(query, query, query, is_causal=True).shape == query.shape


def test_padding_sees_something():
    """A token that sees nothing gives NaN."""
    assert Padded(one_batch(), CPU).seen.any(-1).all()
