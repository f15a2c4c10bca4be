"""Rows without padding against rows side by side, and both against plain forward passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacy_bel.errors import ModelError
from spacy_bel.longbel.models.base import Segment
from spacy_bel.longbel.models.padded import read_padded
from spacy_bel.longbel.models.ragged import RaggedCache
from spacy_bel.longbel.models.static_cache import StaticCache
from spacy_bel.longbel.search import PROMPT

from .architectures import ARCHITECTURES, NOT_READ, readings, tiny
from .disturbed import brute_force
from .helpers import make_document, make_engine
from .test_engine import DOCUMENTS, same_links

assert PROMPT == -1  # as `readings` writes it


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request):
    return tiny(request.param)


def compared(pairs):
    return max(float((found - expected).abs().max()) for found, expected in pairs)


def padded(model):
    return lambda segments, cache: read_padded(model.forward, segments, cache, model.device)


def test_padded_reading_equals_plain_forward_passes(model):
    assert compared(readings(model, padded(model))) < 1e-4


def test_reading_equals_plain_forward_passes(model):
    assert compared(readings(model, model.read)) < 1e-4


@pytest.mark.parametrize("join", [False, True])
def test_ragged_reading_equals_plain_forward_passes(model, join, monkeypatch):
    """Joined, as on a GPU, several rows share a call."""
    if type(model.model).__name__ == "GPTJForCausalLM":
        assert not model._ragged  # computes attention by itself: read side by side
        return
    assert model._ragged
    monkeypatch.setattr(model, "_join_rows", join)
    assert compared(readings(model, model.read_ragged, seed=1)) < 1e-4


@pytest.mark.parametrize("architecture", NOT_READ)
def test_models_that_cannot_be_read_are_named(architecture):
    with pytest.raises(ModelError, match=f"(?i){architecture.removeprefix('GPT')}.*Llama"):
        tiny(architecture)


@pytest.mark.parametrize("architecture", ["Llama", "GPT2", "Qwen3"])
def test_links_do_not_depend_on_how_rows_are_read(kb, architecture):
    model = tiny(architecture)

    def links(**settings):
        return list(make_engine(model, kb, "hybrid_long", **settings).link(DOCUMENTS))

    expected = links(batch_size=1, reuse_prefix=False, read_ahead=False)
    same_links(links(batch_size=3), expected)
    model._join_rows = True
    same_links(links(batch_size=3), expected)
    model._ragged = False
    same_links(links(batch_size=3), expected)


def test_no_token_reads_beyond_a_sliding_window(kb):
    model = tiny("Mistral")
    assert model.max_length == 160
    text = "It was a cold, cold day. " * 12 + "And then the headache. " + "It was cold. " * 9
    sentences, start = [], 0
    for part in text.rstrip().split(". "):
        sentences.append((start, min(start + len(part) + 1, len(text.rstrip()))))
        start += len(part) + 2
    document = make_document(
        text, [("cold", "Phenomena"), ("headache", "Disorders")], sentences=sentences
    )
    engine = make_engine(model, kb, "hybrid_long", num_beams=20)
    (traces,) = engine.trace([document])
    assert engine.report.context_cut == 2
    for trace, mention in zip(traces, document.mentions, strict=True):
        assert len(trace.prompt) + engine.trie.trie.depth <= 160
        best = brute_force(model, engine, trace.prompt, mention.groups)[0]
        assert trace.hypotheses[0].tokens == best[1]
        assert trace.hypotheses[0].log_score == pytest.approx(best[0], rel=1e-4)


def test_half_precision_reads_as_plain_forward_passes_do():
    """To the precision of the numbers, which is that of the plain pass as well."""
    model = tiny("Llama", dtype=torch.bfloat16)
    exact = tiny("Llama")
    with torch.no_grad():
        for own, other in zip(exact.model.parameters(), model.model.parameters(), strict=True):
            own.copy_(other.float())
    for (found, plain), (_, true) in zip(
        readings(model, model.read), readings(exact, exact.read), strict=True
    ):
        spread = float((plain - true).abs().mean())
        assert float((found - true).abs().mean()) <= 3 * spread + 0.02


def test_a_token_whose_heads_come_in_groups():
    """As newer versions of transformers hand over a single token to attention."""
    torch.manual_seed(0)
    cache = StaticCache(1, 4)
    segment = Segment(0, np.array([1]), np.array([0]), np.array([0]), None, 1)
    view = RaggedCache(cache, [segment], torch.float32, torch.device("cpu"), join=False)
    view.update(torch.randn(1, 2, 1, 8), torch.randn(1, 2, 1, 8), 0)
    query = torch.randn(1, 6, 1, 8)
    packed = view.attend(query.reshape(1, 2, 3, 8), None)
    torch.testing.assert_close(packed.reshape(1, 6, 1, 8), view.attend(query, None))
