"""What components that re-order candidates share: whom they learn from, memory, NIL."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Span
from spacy.training import Example
from thinc.api import Adam

from spacy_bel.candidates import Candidate
from spacy_bel.dropout import set_dropout
from spacy_bel.errors import ModelError, TrainingError
from spacy_bel.reranking_pipe import judged_mentions, reordered

from .crossencoder.samples import write_model
from .crossencoder.tiny_pipelines import TEXTS, WITH_NIL, make_nlp, samples, train, write_kb

NAME = "bel_crossencoder"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_kb(folder / "kb")
    write_model(folder / "encoder", "bert")
    return lambda **settings: make_nlp(folder / "kb", folder / "encoder", **settings)


def gradients(nlp):
    model = nlp.get_pipe(NAME).engine.model
    return {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}


def assert_same_gradients(found, expected):
    assert found.keys() == expected.keys() and len(expected) > 10
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=5e-6, rtol=1e-3)


def learn(nlp, found, drop=0.0):
    """Learn without a step of an optimizer, which `nlp.update` always makes."""
    return nlp.get_pipe(NAME).update(found, drop=drop)


LARGE = TEXTS * 3


@pytest.fixture(scope="module")
def undisturbed(build):
    """Losses and gradients of a batch that is read at once."""
    nlp = build(layout="base", shuffle="never", batch_tokens=10_000)
    losses = learn(nlp, samples(nlp, LARGE))
    return losses, gradients(nlp)


@pytest.mark.parametrize("tokens", [1, 100, 400])
def test_how_much_is_read_at_once_does_not_matter(build, undisturbed, tokens):
    nlp = build(layout="base", shuffle="never", batch_tokens=tokens)
    losses = learn(nlp, samples(nlp, LARGE))
    assert losses == pytest.approx(undisturbed[0], rel=1e-5)
    assert_same_gradients(gradients(nlp), undisturbed[1])


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_memory_that_runs_out_halves_what_is_read(build, undisturbed, monkeypatch, caplog, where):
    nlp = build(layout="base", shuffle="never", batch_tokens=10_000)
    pipe = nlp.get_pipe(NAME)
    engine, room = pipe.engine, 500
    read_at_once = []
    original_forward, original_learn = engine.forward, pipe._learn

    def watched(items, *rest):
        read_at_once.append(sum(item.tokens for item in items))
        return original_learn(items, *rest)

    def forward(batch):
        if where == "forward" and read_at_once[-1] > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return original_forward(batch)

    def fail(gradient):
        """Once the gradients of the layers above are there."""
        if where == "backward" and read_at_once[-1] > room:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …")
        return gradient

    monkeypatch.setattr(pipe, "_learn", watched)
    monkeypatch.setattr(engine, "forward", forward)
    engine.model.bert.embeddings.word_embeddings.weight.register_hook(fail)
    with caplog.at_level(logging.WARNING, logger="spacy_bel"):
        losses = learn(nlp, samples(nlp, LARGE))
    assert read_at_once[0] > room and pipe.batch_tokens <= room
    failed = [size for size in read_at_once if size > room]
    assert read_at_once[: len(failed)] == failed and len(failed) <= 5  # never again
    assert "memory ran out" in caplog.text
    assert losses == pytest.approx(undisturbed[0], rel=1e-5)
    assert_same_gradients(gradients(nlp), undisturbed[1])


def test_memory_too_small_for_one_mention(build, monkeypatch):
    nlp = build()

    def failing(batch):
        raise MemoryError

    monkeypatch.setattr(nlp.get_pipe(NAME).engine, "forward", failing)
    with pytest.raises(ModelError, match=r"too little memory to learn from \d+ tokens"):
        nlp.update(samples(nlp))


def test_other_errors_are_not_taken_for_memory(build, monkeypatch):
    nlp = build()

    def failing(batch):
        raise RuntimeError("index out of range")

    monkeypatch.setattr(nlp.get_pipe(NAME).engine, "forward", failing)
    with pytest.raises(RuntimeError, match="index out of range"):
        nlp.update(samples(nlp))


def test_a_loss_that_is_no_number(build):
    nlp = build()
    with torch.no_grad():
        nlp.get_pipe(NAME).engine.model.classifier.bias[1] = float("nan")
    with pytest.raises(TrainingError, match="loss of bel_crossencoder is not a number: lower"):
        nlp.update(samples(nlp))


def test_batches_of_which_nothing_is_learned_change_nothing(build):
    nlp = build()
    optimizer = Adam(0.1)
    pipe = nlp.get_pipe(NAME)
    before = [w.detach().clone() for w in pipe.engine.model.parameters()]
    texts = [("no mention", []), ("A MI", [("MI", "D1", [])]), ("A MI", [("MI", "D1+D2", ["D1"])])]
    assert nlp.update(samples(nlp, texts), sgd=optimizer) == {NAME: 0.0}
    assert pipe.update([], sgd=optimizer) == {NAME: 0.0}
    after = pipe.engine.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_gradients_of_several_batches_add_up(build):
    """As spaCy asks for with accumulate_gradient."""
    parts = [samples(build(), [text]) for text in TEXTS]
    nlp = build(shuffle="never")
    total = None
    for part in parts:
        other = build(shuffle="never")
        learn(other, part)
        found = gradients(other)
        total = found if total is None else {n: total[n] + g for n, g in found.items()}
        learn(nlp, part)
    assert_same_gradients(gradients(nlp), total)


def test_losses_are_added_to_those_given(build):
    nlp = build(shuffle="never")
    losses = {NAME: 1.0, "other": 2.0}
    (first,) = learn(build(shuffle="never"), samples(nlp)).values()
    nlp.get_pipe(NAME).update(samples(nlp), losses=losses)
    assert losses == {NAME: pytest.approx(1 + first), "other": 2.0}


def test_dropout(build):
    nlp = build(shuffle="never")
    still = [learn(nlp, samples(nlp))[NAME] for _ in range(2)]
    moving = [learn(nlp, samples(nlp), drop=0.5)[NAME] for _ in range(2)]
    assert still[0] == still[1] and len({*still, *moving}) == 3
    model = nlp.get_pipe(NAME).engine.model
    set_dropout(model, 0.25)
    rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.25}


def test_initialize_looks_at_what_there_is_to_learn(build, caplog):
    nlp = build()
    bare = [("A MI", [("MI", "D1", [])]), ("no MI", [("MI", "D1", [])])]
    with pytest.raises(TrainingError, match="of 2 mentions with gold codes none has candidates"):
        nlp.initialize(lambda: samples(nlp, bare))
    with caplog.at_level(logging.WARNING, logger="spacy_bel"):
        nlp.initialize(lambda: samples(nlp, [*TEXTS, *bare]))
    assert "2 of the first 8 mentions have no candidates" in caplog.text
    absent = [("A MI", [("MI", "D1", ["D2", "D3"])])]
    nlp.initialize(lambda: samples(nlp, absent))  # that none of them is right can be learned
    without = build(nil=False)
    with pytest.raises(TrainingError, match="no mention .* single gold concept .* first 10 cand"):
        without.initialize(lambda: samples(without, absent))


def test_gold_that_is_not_among_the_candidates_is_learned_as_none(build):
    texts = [
        ("acute MI on chronic", [("MI", "D1", ["D2", "D3"])]),  # not found by the retriever
        ("a chronic renal ataxia", [("ataxia", "NIL", ["D2", "D3"])]),  # in no terminology
        ("heart attack, on", [("heart attack", "X:1", ["D2", "D3"])]),  # in another one
        ("respiratory failure", [("respiratory failure", "D4", ["D2", "D4"])]),
    ]
    nlp = build(shuffle="never")
    nlp.initialize(lambda: samples(nlp, texts))
    optimizer = Adam(0.003, L2=0.0, use_averages=False)
    losses = train(nlp, samples(nlp, texts), steps=60, optimizer=optimizer, below=0.02)
    assert losses[-1] < 0.02
    docs = nlp.pipe([example.predicted for example in samples(nlp, texts)])
    (*absent, (last,)) = [doc.ents for doc in docs]
    assert [ent.kb_id_ for (ent,) in absent] == ["NIL"] * 3 and last.kb_id_ == "D4"
    assert all({c.code for c in ent._.kb_candidates} == {"D2", "D3"} for (ent,) in absent)
    # Without the option these mentions teach nothing, and a candidate is always right.
    without = build(nil=False)
    assert without.update(samples(without, texts[:3])) == {NAME: 0.0}
    docs = without.pipe([example.predicted for example in samples(without, WITH_NIL)])
    assert "NIL" not in {ent.kb_id_ for doc in docs for ent in doc.ents}


def test_mentions_and_their_gold_codes():
    nlp = spacy.blank("en")
    words = "a b c d e"

    def doc(*rows):
        made = nlp.make_doc(words)
        made.spans["m"] = [Span(made, i, j, label=label, kb_id=k) for i, j, label, k in rows]
        return made

    reference = doc(
        (0, 1, "X", "A"), (1, 2, "X", ""), (2, 3, "X", "NIL"), (3, 4, "X", "C"), (3, 4, "Y", "D"),
        (4, 5, "X", "E+F"),
    )  # fmt: skip
    predicted = doc(
        (0, 1, "Z", ""), (0, 2, "X", ""), (1, 2, "X", ""), (2, 3, "X", ""), (3, 4, "Y", ""),
        (3, 4, "Z", ""), (4, 5, "X", ""),
    )  # fmt: skip
    found = judged_mentions(Example(predicted, reference), "m")
    assert [(s.start, s.end, s.label_, codes) for s, codes in found] == [
        (0, 1, "Z", [["A"]]),  # another label, but the only mention there
        (2, 3, "X", []),
        (3, 4, "Y", [["D"]]),
        (4, 5, "X", [["E"], ["F"]]),
    ]
    assert not list(judged_mentions(Example(predicted, reference), None))


def test_the_new_order():
    given = [Candidate(code, code.lower(), 1.0) for code in "ABCDE"]
    found = reordered(given, np.array([0.2, 0.3, 0.2]))
    assert found == [
        ("B", "b", 0.3), ("A", "a", 0.2), ("C", "c", 0.2), ("D", "d", 0.0), ("E", "e", 0.0)
    ]  # fmt: skip
    assert reordered(given[:1], np.array([0.5])) == [("A", "a", 0.5)]
