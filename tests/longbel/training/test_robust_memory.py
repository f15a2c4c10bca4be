"""Robust memory with a trainer that only notes what it was given."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.errors import FingerprintMismatchError, SettingsError, TrainingError
from spacy_bel.longbel.training.robust_memory import RobustMemory


def document(identifier, mention="cold"):
    text = f"Paper {identifier} is about a {mention}."
    start = text.index(mention)
    annotation = Annotation(start, start + len(mention), mention, "D", [["D1"]])
    return CorpusDocument(identifier, text, annotations=[annotation], meta={"journal": "J"})


CORPUS = [document(identifier) for identifier in "abcdefg"]
DEV = [document("x"), document("y")]


class Lab:
    """A trainer whose models are the ids they were trained with, and their predictor.

    stop: raise KeyboardInterrupt at so many calls of the trainer, or of the predictor.
    """

    def __init__(self, work, **stop):
        self.work, self.stop = work, stop
        self.trained, self.predicted = [], []

    def _call(self, kind, calls, what):
        if len(calls) + 1 == self.stop.get(kind):
            self.stop = {}
            raise KeyboardInterrupt
        calls.append(what)

    def train(self, documents, directory):
        directory.mkdir(exist_ok=True)
        (directory / "begun").touch()  # what a trainer leaves when it is stopped
        ids = [d.id for d in documents]
        self._call("train", self.trained, ids)
        (directory / "ids.json").write_text(json.dumps(ids))

    def predict(self, directory, documents):
        known = json.loads((directory / "ids.json").read_text())
        self._call("predict", self.predicted, [d.id for d in documents])
        name = "+".join(known)
        return [[[Candidate("D9", name, 0.1 + 0.2)] for _ in d.annotations] for d in documents]

    def memory(self, **settings):
        about = {"prompt": "long", "kb_fingerprint": "f"}
        settings = {"folds": 3, "seed": 1, "about": about, **settings}
        return RobustMemory(self.train, self.predict, self.work, **settings)


@pytest.fixture
def lab(tmp_path):
    return lambda **stop: Lab(tmp_path / "out.work", **stop)


def test_links_are_by_models_that_have_not_seen_the_document(lab):
    run = lab()
    linked, others = run.memory().link(CORPUS, DEV)
    assert [d.id for d in linked] == list("abcdefg")
    for before, after in zip(CORPUS, linked, strict=True):
        (link,) = after.annotations[0].links
        # The fake model's name says what it has learned from.
        assert before.id not in link.name.split("+")
        assert set(link.name.split("+")) < set("abcdefg")
        assert link.score == 0.1 + 0.2
        assert after.annotations[0].codes == [["D1"]] and after.text == before.text
        about = after.meta.pop("candidates")
        assert (about["prompt"], about["folds"], about["seed"]) == ("long", 3, 1)
        assert after.meta == {"journal": "J"}
    for ids, held_out in zip(run.trained, [run.predicted[0], *run.predicted[2:]], strict=True):
        assert not set(ids) & set(held_out) and set(ids) | set(held_out) == set("abcdefg")
    # A development corpus is linked by the first fold's model.
    assert run.predicted[1] == ["x", "y"]
    assert [d.annotations[0].links[0].name for d in others] == ["+".join(run.trained[0])] * 2


def test_copies_are_held_out_together(lab):
    copies = [*CORPUS, replace(document("h"), text=CORPUS[0].text), document("b", "turn")]
    run = lab()
    linked, _ = run.memory().link(copies)
    for i, j in ((0, 7), (1, 8)):
        assert linked[i].annotations[0].links == linked[j].annotations[0].links
        names = linked[j].annotations[0].links[0].name.split("+")
        assert not {copies[i].id, copies[j].id} & set(names)


@pytest.mark.parametrize(
    ("stop", "trained_again"),
    [({"train": 1}, 3), ({"train": 3}, 1), ({"predict": 1}, 2), ({"predict": 2}, 2)],
)
def test_an_interrupted_run_goes_on_and_ends_alike(lab, tmp_path, stop, trained_again):
    whole = Lab(tmp_path / "whole").memory().link(CORPUS, DEV)
    broken = lab(**stop)
    with pytest.raises(KeyboardInterrupt):
        broken.memory().link(CORPUS, DEV)
    resumed = lab()
    assert resumed.memory().link(CORPUS, DEV) == whole
    # Models that were finished are not trained again; one that was begun is found by its trainer.
    assert len(resumed.trained) == trained_again
    trained = broken.trained + resumed.trained
    assert len(trained) == 3 == len({*map(tuple, trained)})
    predictions = broken.predicted + resumed.predicted
    assert len(predictions) == len({*map(tuple, predictions)})
    again = lab()
    assert again.memory().link(CORPUS, DEV) == whole
    assert again.trained == again.predicted == []


def test_models_are_kept_on_demand(lab):
    run = lab()
    run.memory().link(CORPUS)
    assert not list(run.work.glob("*/model"))
    shutil.rmtree(run.work)
    run.memory(keep_models=True).link(CORPUS)
    assert len(list(run.work.glob("*/model/ids.json"))) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"folds": 2}, "folds"),
        ({"seed": 2}, "seed"),
        ({"about": {"prompt": "short", "kb_fingerprint": "f"}}, "prompt"),
    ],
)
def test_work_of_another_run_is_refused(lab, change, named):
    lab().memory().link(CORPUS)
    with pytest.raises(FingerprintMismatchError, match=f"other {named}: .* delete the directory"):
        lab().memory(**change).link(CORPUS)


def test_work_with_other_documents_is_refused(lab):
    lab().memory().link(CORPUS)
    recoded = [replace(a, codes=[["D2"]]) for a in CORPUS[0].annotations]
    for corpus in (CORPUS[1:], [replace(CORPUS[0], annotations=recoded), *CORPUS[1:]]):
        with pytest.raises(FingerprintMismatchError, match="other documents"):
            lab().memory().link(corpus)
    with pytest.raises(FingerprintMismatchError, match="other development documents"):
        lab().memory().link(CORPUS, DEV)
    # Links that a corpus came with are replaced, and change nothing.
    linked = [replace(a, links=[Candidate("D3", "x", 1.0)]) for a in CORPUS[0].annotations]
    lab().memory().link([replace(CORPUS[0], annotations=linked), *CORPUS[1:]])


def test_foreign_and_damaged_directories_are_named(lab):
    run = lab()
    run.work.mkdir()
    (run.work / "thesis.txt").touch()
    with pytest.raises(TrainingError, match="holds something else"):
        run.memory().link(CORPUS)
    (run.work / "thesis.txt").unlink()
    run.memory().link(CORPUS)
    (run.work / "fold-1" / "held_out.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(TrainingError, match="fold-1, and what was in it is done again"):
        run.memory().link(CORPUS)
    shutil.rmtree(run.work / "fold-1")
    run.memory().link(CORPUS)
    assert len(run.trained) == 4


def test_one_document_for_five_folds(lab):
    run = lab()
    with pytest.raises(SettingsError, match="two documents at least. Examples with gold memory"):
        run.memory(folds=5).link(CORPUS[:1])
    assert not run.work.exists() and not run.trained


def test_development_documents_must_be_new(lab):
    with pytest.raises(SettingsError, match="in the training corpus, too"):
        lab().memory().link(CORPUS, [replace(CORPUS[2], id="other")])


def test_a_full_disk_is_named_and_loses_nothing(lab, monkeypatch):
    from pathlib import Path

    run, write = lab(), Path.write_text

    def full(path, *args, **kwargs):
        if path.name.startswith("held_out") and path.parent.name == "fold-1":
            raise OSError(28, "No space left on device")
        return write(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(TrainingError, match="No space left on device.* make room"):
            run.memory().link(CORPUS)
    run.memory().link(CORPUS)
    assert len(run.trained) == 3


def test_strange_names_survive(lab):
    run = lab()
    name = "a\u2028b\ud800 \x85"
    run.predict = lambda model, texts: [
        [[Candidate("D", name, 1.0)] for _ in t.annotations] for t in texts
    ]
    linked, _ = run.memory().link(CORPUS)
    assert {d.annotations[0].links[0].name for d in linked} == {name}
