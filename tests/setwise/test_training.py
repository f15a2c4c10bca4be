"""`bel_setwise` learns: by heart, from where it left off, in parts, and what it is sure of."""

from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import pytest
import spacy
import torch
from spacy.cli.train import train as spacy_train
from spacy.tokens import DocBin
from spacy.training import Example
from thinc.api import Adam

from spacy_bel.candidates import get_candidates, nil_probability
from spacy_bel.errors import ModelError, SettingsError, TrainingError

from .conftest import links, same
from .teaching import LEARNED, LORA, codes, example, learn, learner, unlinked


@pytest.fixture(scope="session")
def learner_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("learner") / "model"
    learner().save(path)
    return path


@pytest.fixture
def make_learner(kb_dir, learner_dir):
    def make(**config):
        nlp = spacy.blank("en")
        chosen = {"kb": str(kb_dir), "model": str(learner_dir), "hidden": 0.0, "resamplings": 3}
        nlp.add_pipe("bel_setwise", config={**chosen, **config})
        return nlp

    return make


@pytest.fixture(scope="module", params=[None, LORA], ids=["full", "lora"])
def learned(request, kb_dir, learner_dir):
    nlp = spacy.blank("en")
    chosen = {"kb": str(kb_dir), "model": str(learner_dir), "hidden": 0.0, "resamplings": 3}
    nlp.add_pipe("bel_setwise", config={**chosen, "lora": request.param})
    nlp.initialize(lambda: [example(nlp)])
    losses = learn(nlp, 150, rate=3e-3 if request.param is None else 1e-2)
    return nlp, losses


def test_learns_a_small_set_by_heart(learned):
    nlp, losses = learned
    assert losses[0] > 1 and losses[-1] < 0.1
    assert codes(nlp) == LEARNED
    scores = nlp.evaluate([example(nlp)])
    assert scores["bel_recall_at_1"] == pytest.approx(3 / 5)  # the other two cannot be found
    # What is put first is what generation among the letters would write.
    pipe = nlp.get_pipe("bel_setwise")
    letters = pipe.engine.encoder.letters
    marked = pipe.mark(unlinked(nlp))
    model = pipe.language_model.model
    for question, mention in zip(pipe._questions(marked), marked.mentions, strict=True):
        ids = torch.tensor([pipe.engine.encode(question)[1]])
        allowed = letters[: len(question.options) + 1]
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False,
            pad_token_id=1, prefix_allowed_tokens_fn=lambda batch, written, a=allowed: a,
        )  # fmt: skip
        written = allowed.index(int(output[0, -1]))
        best = [*(c.code for c in get_candidates(mention.span)), "NIL"][written]
        assert best == LEARNED[mention.index]


def test_what_was_learned_lasts(learned, tmp_path):
    nlp, _ = learned
    expected = links(nlp(unlinked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    same(links(spacy.load(tmp_path / "pipeline")(unlinked(nlp))), expected)
    other = spacy.blank("en")
    other.add_pipe("bel_setwise", config={"kb": "nowhere", "model": "./nowhere"})
    other.from_bytes(nlp.to_bytes())
    same(links(other(unlinked(other))), expected)
    for doc in nlp.pipe([unlinked(nlp) for _ in range(3)], n_process=2, batch_size=1):
        same(links(doc), expected)


def test_other_processes_get_what_was_learned(learned, make_learner):
    nlp, _ = learned
    expected = links(nlp(unlinked(nlp)))
    pipe = pickle.loads(pickle.dumps(nlp.get_pipe("bel_setwise")))  # as where they are spawned
    same(links(pipe(unlinked(nlp))), expected)
    fresh = make_learner().get_pipe("bel_setwise")
    fresh.prepare()
    sent = pickle.dumps(fresh)
    assert len(sent) < 100_000  # files are read again instead of being sent
    same(links(pickle.loads(sent)(unlinked(nlp))), links(fresh(unlinked(nlp))))


def test_training_goes_on_from_what_was_stored(learned, tmp_path):
    nlp, losses = learned
    nlp.to_disk(tmp_path / "model-last")
    resumed = spacy.blank("en")
    resumed.add_pipe("bel_setwise", source=spacy.load(tmp_path / "model-last"))
    assert codes(resumed) == LEARNED
    resumed.resume_training()
    further = learn(resumed, 10, rate=1e-3, seed=1)
    assert further[0] < 0.5 < losses[0] and further[-1] < 0.1
    assert resumed.get_pipe("bel_setwise").engine is not nlp.get_pipe("bel_setwise").engine


def plain_step(pipe, items):
    """Loss and gradients as transformers give them, prompt by prompt."""
    model = copy.deepcopy(pipe.language_model.model).train()
    model.zero_grad()
    losses = []
    for item in items:
        logits = model(input_ids=torch.tensor([item.prompt.ids])).logits[0, -1]
        chosen = logits[pipe.engine.encoder.letters[: item.prompt.letters]]
        losses.append(torch.nn.functional.cross_entropy(chosen, torch.tensor(item.answer)))
    loss = torch.stack(losses).mean()
    loss.backward()
    return loss.item(), [p.grad for p in model.parameters() if p.requires_grad]


def step(nlp, monkeypatch, change=lambda: None):
    """One update: the items it learned from, its loss, and its gradients."""
    pipe = nlp.get_pipe("bel_setwise")
    seen = []
    training_items = type(pipe).training_items
    monkeypatch.setattr(
        type(pipe), "training_items",
        lambda self, examples: seen.append(training_items(self, examples)) or seen[-1],
    )  # fmt: skip
    random.seed(3)
    pipe.engine.train(pipe.lora)
    change()
    loss = nlp.update([example(nlp)], losses={}, sgd=False)["bel_setwise"]
    gradients = [p.grad for p in pipe.language_model.model.parameters() if p.requires_grad]
    monkeypatch.undo()
    return seen[0], loss, gradients


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("batch_tokens", [1, 200, 4096])
def test_loss_and_gradients_are_those_of_a_plain_loop(
    make_learner, monkeypatch, lora, batch_tokens
):
    nlp = make_learner(lora=lora, batch_tokens=batch_tokens)
    items, loss, gradients = step(nlp, monkeypatch)
    assert len(items) == 12  # three draws of each mention with candidates
    expected, wanted = plain_step(nlp.get_pipe("bel_setwise"), items)
    assert loss == pytest.approx(expected, rel=1e-4)
    for got, gradient in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(got, gradient, atol=1e-5, rtol=1e-3)


def test_memory_that_runs_out(make_learner, monkeypatch, caplog):
    nlp = make_learner()
    pipe = nlp.get_pipe("bel_setwise")
    forward = pipe.engine.forward

    def small_memory(batch):
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(batch)

    def no_memory(batch):
        raise MemoryError

    def shrink():
        monkeypatch.setattr(pipe.engine, "forward", small_memory)

    items, loss, gradients = step(nlp, monkeypatch, shrink)
    assert pipe.batch_tokens < 4096 and "memory ran out" in caplog.text
    expected, wanted = plain_step(pipe, items)
    assert loss == pytest.approx(expected, rel=1e-4)
    for got, gradient in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(got, gradient, atol=1e-5, rtol=1e-3)
    monkeypatch.setattr(pipe.engine, "forward", no_memory)
    with pytest.raises(ModelError, match="too little memory"):
        nlp.update([example(nlp)])


def test_frozen_weights_take_no_memory_of_the_optimizer(make_learner):
    nlp = make_learner(lora=LORA)
    optimizer = Adam(1e-3)
    before = {n: p.clone() for n, p in nlp.get_pipe("bel_setwise").engine.model.named_parameters()}
    nlp.update([example(nlp)], sgd=optimizer)
    model = nlp.get_pipe("bel_setwise").engine.model
    names = {name for _, name in optimizer.mom1}
    assert names == {n for n, p in model.named_parameters() if p.requires_grad}
    assert names and all("lora_" in name for name in names)
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            assert parameter.grad is None
            assert torch.equal(parameter, before[name.replace(".base_layer", "")])


def test_after_an_update_everything_is_read_anew(make_learner):
    nlp = make_learner()
    nlp(unlinked(nlp))  # what prompts begin with is kept
    nlp.update([example(nlp)], sgd=Adam(1e-2))
    pipe = nlp.get_pipe("bel_setwise")
    marked = pipe.mark(unlinked(nlp))
    for question, row in zip(
        pipe._questions(marked),
        pipe.reader.log_probabilities(pipe._questions(marked)),
        strict=True,
    ):
        with torch.no_grad():
            logits = pipe.engine.model(torch.tensor([pipe.engine.encode(question)[1]])).logits
        chosen = logits[0, -1, pipe.engine.encoder.letters[: len(row)]].double()
        np.testing.assert_allclose(row, torch.log_softmax(chosen, 0).numpy(), atol=1e-4)


def test_nothing_to_learn_from(make_learner):
    nlp = make_learner()
    empty = Example(nlp.make_doc("No mentions."), nlp.make_doc("No mentions."))
    with pytest.raises(TrainingError, match="can learn nothing"):
        nlp.initialize(lambda: [empty])
    assert nlp.update([empty], sgd=Adam(1e-3), losses={})["bel_setwise"] == 0


def test_temperature(make_learner, tmp_path):
    nlp = make_learner()
    pipe = nlp.get_pipe("bel_setwise")
    learn(nlp, 12)
    plain = nlp(unlinked(nlp))
    found = pipe.calibrate([example(nlp)])
    assert found == {"temperature": pipe.cfg["temperature"]} and found["temperature"] != 1
    marked = pipe.mark(unlinked(nlp))
    rows = pipe.reader.log_probabilities(pipe._questions(marked))
    right = [1, 0, 1, 2]  # of the mentions with candidates

    def likelihood(temperature):
        shares = [torch.log_softmax(torch.from_numpy(row) / temperature, 0) for row in rows]
        return sum(share[i].item() for share, i in zip(shares, right, strict=True))

    tried = np.exp(np.linspace(-4, 4, 400))
    assert likelihood(found["temperature"]) >= max(map(likelihood, tried)) - 1e-4
    doc = nlp(unlinked(nlp))
    assert codes(nlp) == [ent.kb_id_ for ent in plain.ents]  # the order stays
    spans = [mention.span for mention in pipe.mark(doc).mentions]
    for span, row in zip(spans, rows, strict=True):
        shares = torch.softmax(torch.from_numpy(row) / found["temperature"], 0)
        scores = [candidate.score for candidate in get_candidates(span)]
        assert scores == pytest.approx(sorted(shares[:-1].tolist(), reverse=True))
        assert nil_probability(span) == pytest.approx(shares[-1].item())
    nlp.to_disk(tmp_path / "pipeline")
    read = spacy.load(tmp_path / "pipeline")
    assert read.get_pipe("bel_setwise").cfg["temperature"] == pytest.approx(found["temperature"])
    stored = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (kept,) = DocBin().from_bytes(stored).get_docs(nlp.vocab)
    assert [nil_probability(e) for e in kept.ents] == [nil_probability(e) for e in doc.ents]
    assert nil_probability(kept.ents[3]) == 1  # nothing to choose from


def test_nothing_to_calibrate_with(make_learner):
    nlp = make_learner()
    empty = Example(nlp.make_doc("No mentions."), nlp.make_doc("No mentions."))
    with pytest.raises(SettingsError, match="development documents"):
        nlp.get_pipe("bel_setwise").calibrate([empty])


def test_settings_that_cannot_be_used(make_learner):
    for config, message in (
        ({"max_candidates": 9}, "max_candidates .9. must be at least options .10."),
        ({"resamplings": 0}, "resamplings must be at least 1"),
        ({"hidden": 1.5}, "hidden from 0 to 1"),
        ({"lora": {"size": 3}}, "Settings are rank and alpha"),
        ({"lora": {"rank": 0}}, "rank of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make_learner(**config)


def test_the_config(make_learner, kb_dir, learner_dir, tmp_path, capsys):
    nlp = make_learner()
    stored = DocBin(store_user_data=True)
    stored.add(example(nlp).reference)
    stored.to_disk(tmp_path / "corpus.spacy")
    spacy_train(
        "configs/setwise.cfg",
        tmp_path / "models",
        overrides={
            "paths.kb": str(kb_dir),
            "paths.model": str(learner_dir),
            "paths.train": str(tmp_path / "corpus.spacy"),
            "paths.dev": str(tmp_path / "corpus.spacy"),
            "training.max_steps": 4,
            "training.eval_frequency": 2,
            "training.optimizer.learn_rate.warmup_steps": 1,
        },
    )
    shown = capsys.readouterr().out
    assert "LOSS BEL_S" in shown and "BEL_R" in shown
    best = spacy.load(tmp_path / "models" / "model-best")
    assert best.meta["performance"]["bel_setwise_loss"] > 0
    assert 0 <= best.meta["performance"]["bel_recall_at_1"] <= 1
    assert best.get_pipe("bel_setwise").lora is not None and len(codes(best)) == 5
