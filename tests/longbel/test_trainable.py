"""`longbel_linker` learns: losses, gradients, links afterwards, disks, bad corpora."""

from __future__ import annotations

import pytest
import spacy
import torch
from spacy.training import Example
from thinc.api import Adam

from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.errors import SettingsError, TrainingError

from ..retriever.tiny_encoders import write_encoder
from .conftest import tiny_llama
from .helpers import TEXT, links, marked

GOLD = ("D4", "D1", "P1")
TARGETS = ("headache", "heart attack", "cold")
NAME = "longbel_linker"


def rounded(found):
    """Links whose scores may have been computed side by side with others."""
    return [
        (*rest, [(c.code, c.name, pytest.approx(c.score, abs=1e-5)) for c in candidates])
        for *rest, candidates in found
    ]


@pytest.fixture
def build(kb_dir):
    def make(model=None, **settings):
        nlp = spacy.blank("en")
        config = {"kb": str(kb_dir), "learning": settings.pop("learning", {"memory": "gold"})}
        linker = nlp.add_pipe(NAME, config={"prompt": "hybrid_long", **config, **settings})
        linker.set_model(model or tiny_llama(sharpness=0.1))
        return nlp

    return make


def example(nlp, codes=GOLD, predicted=()):
    reference, doc = marked(nlp), marked(nlp)
    for ent, code in zip(reference.ents, codes, strict=True):
        ent.kb_id_ = code
    reference.ents = [
        spacy.tokens.Span(reference, e.start, e.end, label=e.label_, kb_id=code)
        for e, code in zip(reference.ents, codes, strict=True)
    ]
    for ent, name in zip(doc.ents, predicted, strict=False):
        set_candidates(ent, [Candidate("D9", name, 0.5)])
    return Example(doc, reference)


def negative_log_likelihoods(model, memory):
    """Of each target name behind its prompt, by transformers alone; written out by hand."""
    found = []
    shown = []
    for mention, target, remembered in zip(
        ("headache", "heart attak", "cold"), TARGETS, memory, strict=True
    ):
        group = "Phenomena" if mention == "cold" else "Disorders"
        tag = f"[{mention}]{{{group}}}"
        prompt = (
            f"### Context\n{TEXT.replace(mention, f'[{mention}]', 1)}\n\n"
            f"### Previous Normalizations\n{chr(10).join(shown) or 'None'}\n\n### Prediction\n{tag}"
        )
        before = model.tokenizer(prompt)["input_ids"]
        name = model.tokenizer(f" {target}", add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*before, *name, model.tokenizer.eos_token_id]])
        logs = model.model(ids).logits[0].log_softmax(-1)
        taken = logs[len(before) - 1 : -1].gather(1, ids[0, len(before) :, None])
        found.append(-taken[:, 0])
        if remembered is not None:
            shown.append(f"{tag} {remembered}")
    return torch.cat(found)


@pytest.mark.parametrize("batch_tokens", [1, 250, 4096])
def test_update_is_the_mean_over_tokens_and_its_gradient(build, batch_tokens):
    model = tiny_llama(sharpness=0.1)
    nlp = build(model, learning={"memory": "gold", "batch_tokens": batch_tokens})
    loss = nlp.get_pipe(NAME).update([example(nlp)])[NAME]
    expected = negative_log_likelihoods(model, TARGETS).mean()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    found = {n: w.grad.clone() for n, w in model.model.named_parameters()}
    model.model.zero_grad()
    expected.backward()
    for name, weight in model.model.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, rtol=1e-3, atol=1e-6)


def test_memory_is_what_is_asked_for(build):
    nlp = build()
    predicted = example(nlp, predicted=["cephalalgia", "asthma"])
    for memory, shown in (
        ("gold", TARGETS),
        ("predicted", ("cephalalgia", "asthma", None)),
        ("none", (None,) * 3),
    ):
        model = tiny_llama(sharpness=0.1)
        nlp = build(model, learning={"memory": memory})
        loss = nlp.get_pipe(NAME).update([predicted])[NAME]
        expected = negative_log_likelihoods(model, shown).mean().item()
        assert loss == pytest.approx(expected, rel=1e-5), memory


def test_what_was_learned_is_linked_and_stored(build, tmp_path):
    nlp = build(prompt="short", learning={"target": "title", "memory": "none"})
    examples = [example(nlp, ("D2", "D5", "P2"))]
    nlp.initialize(lambda: examples)
    optimizer = Adam(0.02, L2=0.0, use_averages=False)
    for _ in range(60):
        loss = nlp.update(examples, sgd=optimizer, losses={})[NAME]
    assert loss < 0.1
    doc = nlp(marked(nlp))
    assert [ent.kb_id_ for ent in doc.ents] == ["D2", "D5", "P2"]
    (piped,) = nlp.pipe([marked(nlp)], n_process=2)
    assert links(piped) == rounded(links(doc))
    nlp.to_disk(tmp_path / "nlp")
    again = spacy.load(tmp_path / "nlp")
    assert links(again(marked(again))) == rounded(links(doc))
    # Learning goes on from what was stored, and can be stored at the same place.
    again.update(examples, sgd=again.resume_training(), losses={})
    again.to_disk(tmp_path / "nlp")
    from_bytes = build(prompt="short").from_bytes(nlp.to_bytes())
    assert links(from_bytes(marked(from_bytes))) == rounded(links(doc))


@pytest.mark.parametrize(
    ("codes", "learning", "message"),
    [
        (("X1", "X2", "X3"), {"memory": "gold"}, "knowledge base does not have"),
        (("P2", "P2", "D5"), {"memory": "predicted"}, "no mention carries a candidate"),
        (("P1", "P1", "D5"), {"memory": "gold"}, "no name in the groups"),
        (("", "", ""), {"memory": "none"}, "without gold code"),
    ],
)
def test_corpora_that_teach_nothing(build, codes, learning, message):
    nlp = build(learning=learning)
    with pytest.raises(TrainingError, match=message):
        nlp.initialize(lambda: [example(nlp, codes)])


def test_settings(build):
    for learning, message in (
        ({"memory": "some"}, "learning.memory is 'some'"),
        ({"groups": "gold"}, "learning.groups is 'gold'"),
        ({"batch_tokens": 0}, "batch_tokens is 0"),
        ({"batch_token": 5}, "did you mean batch_tokens"),
        ({"target": "nearest"}, "target is 'nearest'"),
    ):
        with pytest.raises(SettingsError, match=message):
            nlp = build(learning=learning)
            nlp.initialize(lambda: [example(nlp)])  # noqa: B023


def test_targets_by_a_bi_encoder(build, tmp_path):
    write_encoder(tmp_path / "encoder", "bert")
    target = {
        "@misc": "spacy_bel.EmbeddingTargets.v1",
        "model": str(tmp_path / "encoder"),
        "preset": "minilm",
    }
    nlp = build(learning={"target": target, "memory": "none"})
    nlp.initialize(lambda: [example(nlp)])
    assert nlp.update([example(nlp)])[NAME] > 0
    # What a model was trained with is no part of what it takes to use it.
    (tmp_path / "encoder").rename(tmp_path / "gone")
    nlp.to_disk(tmp_path / "nlp")
    again = spacy.load(tmp_path / "nlp")
    assert links(again(marked(again))) == rounded(links(nlp(marked(nlp))))
