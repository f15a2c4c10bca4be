"""Examples on disk are those that were built, and are built once."""

from __future__ import annotations

import errno
import json
import pickle
import sys

import pytest

from spacy_bel.errors import (
    FingerprintMismatchError,
    MissingExtraError,
    NoSpaceError,
    SettingsError,
    TrainingError,
)
from spacy_bel.longbel.calibrating import GoldDocument
from spacy_bel.longbel.memory_policy import RecentLinks
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.tokenization import PromptTokenizer
from spacy_bel.longbel.training import dataset as module
from spacy_bel.longbel.training.building import ExampleBuilder
from spacy_bel.longbel.training.dataset import ExampleDataset, build_dataset, file_fingerprint
from spacy_bel.longbel.training.report import Reason
from spacy_bel.longbel.training.targets import LevenshteinTargets, TitleTargets

from ..conftest import character_tokenizer, make_kb
from ..helpers import make_document

pytest.importorskip("pyarrow")


def documents(count=6):
    for i in range(count):
        text = f"Patient {i}: heart attak and cold, ümlaut."
        document = make_document(text, [("heart attak", "Disorders"), ("cold", "Disorders")])
        yield f"d{i}", GoldDocument(document, {0: [["D1"]], 1: [["D3", "D9"], ["D2"]]})


def never():
    raise AssertionError("the corpus was read")
    yield


def make_builder(kb, prompt="hybrid_long", **settings):
    settings.setdefault("targets", TitleTargets())
    return ExampleBuilder(kb, get_prompt(prompt), **settings)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "examples"


@pytest.mark.parametrize("prompt", ["hybrid_long", "long"])
def test_what_was_built_is_read_back(kb, path, prompt, monkeypatch):
    monkeypatch.setattr(module, "_GROUP_ROWS", 5)  # several groups, the last one not full
    expected = list(make_builder(kb, prompt).stream(documents()))
    made = build_dataset(path, make_builder(kb, prompt), documents(), corpus="c")
    assert list(made) == expected and len(made) == len(expected) in (12, 6)
    opened = ExampleDataset(path)
    assert [opened[i] for i in range(len(opened))] == expected
    assert [opened[-i] for i in range(1, len(opened) + 1)] == expected[::-1]
    assert opened[1:-1:2] == expected[1:-1:2]
    assert opened[3].document == expected[3].document and expected[3] in opened
    with pytest.raises(IndexError):
        opened[len(opened)]
    lengths = [
        sum(len(t.prompt) + sum(map(len, t.names)) for t in example.turns) for example in expected
    ]
    assert opened.lengths.tolist() == lengths
    assert list(pickle.loads(pickle.dumps(opened))) == expected


def test_a_second_call_builds_nothing(kb, path):
    first = build_dataset(path, make_builder(kb), documents(), corpus="c")
    again = build_dataset(path, make_builder(kb), never(), corpus="c")
    assert list(again) == list(first)
    assert again.report == first.report and again.report.mentions == 12
    assert again.report.examples == len(again)


def test_examples_made_from_something_else_are_not_taken_for_these(kb, path):
    kept = list(build_dataset(path, make_builder(kb), documents(), corpus="c"))
    tokenizer = PromptTokenizer(character_tokenizer(), get_prompt("hybrid_long"))
    other_kb = make_kb([("D1", "Disorders", ["heart attack"])])
    others = {
        "kb": make_builder(other_kb),
        "prompt": make_builder(kb, "short", memory="gold"),
        "targets": make_builder(kb, targets=LevenshteinTargets()),
        "memory": make_builder(kb, memory="none"),
        "policy": make_builder(kb, policy=RecentLinks(2)),
        "groups": make_builder(kb, groups="reference"),
        "tokenizer": make_builder(kb, tokenizer=tokenizer),
        "budget": make_builder(kb, tokenizer=tokenizer, budget=500),
        "composites": make_builder(kb, composites=False),
        "consistent": make_builder(kb, consistent=False),
    }
    for what, builder in others.items():
        with pytest.raises(FingerprintMismatchError, match=what):
            build_dataset(path, builder, never(), corpus="c")
    with pytest.raises(FingerprintMismatchError, match="another corpus: delete"):
        build_dataset(path, make_builder(kb), never(), corpus="other")
    assert list(ExampleDataset(path)) == kept
    replaced = build_dataset(path, others["memory"], documents(), corpus="c", force=True)
    assert list(replaced) == list(make_builder(kb, memory="none").stream(documents()))
    custom = make_builder(kb, encode=list, budget=500)
    with pytest.raises(SettingsError, match="its tokenizer"):
        build_dataset(path, custom, never(), corpus="c")


def test_what_is_no_dataset_is_never_replaced(kb, path):
    path.mkdir()
    (path / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(TrainingError, match="no training examples"):
            build_dataset(path, make_builder(kb), documents(), corpus="c", force=force)
    assert (path / "thesis.txt").read_text() == "mine"


def test_nothing_is_left_of_a_corpus_that_teaches_nothing(kb, path):
    unknown = ((id, replace_gold(gold)) for id, gold in documents())
    with pytest.raises(TrainingError, match="does not have"):
        build_dataset(path, make_builder(kb), unknown, corpus="c")
    assert list(path.parent.iterdir()) == []


def replace_gold(gold):
    return gold._replace(gold=dict.fromkeys(gold.gold, [["Q"]]))


def test_what_was_left_out_is_stored(kb, path):
    unknown = next(documents())[1]._replace(gold={0: [["Q"]], 1: [["Q"], ["D1"]]})
    corpus = [*documents(), ("x", unknown)]
    build_dataset(path, make_builder(kb), corpus, corpus="c")
    report = ExampleDataset(path).report
    assert report.skipped == {Reason.unknown_code: 1, Reason.composite_part: 1}
    assert report.samples[Reason.unknown_code] == ["'heart attak' (x, Disorders, Q)"]
    stored = json.loads((path / "meta.json").read_text("utf-8"))
    assert stored["report"]["skipped"] == {"unknown_code": 1, "composite_part": 1}


@pytest.mark.parametrize("file", ["examples.parquet", "meta.json"])
def test_damage_is_told(kb, path, file):
    build_dataset(path, make_builder(kb), documents(), corpus="c")
    content = (path / file).read_bytes()
    (path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(TrainingError, match="delete it, and they are built again"):
        build_dataset(path, make_builder(kb), documents(), corpus="c")
    with pytest.raises(TrainingError, match="delete it"):
        ExampleDataset(path.parent / "nothing")
    if file == "examples.parquet":  # told to replace, it knows its own
        made = build_dataset(path, make_builder(kb), documents(), corpus="c", force=True)
        assert len(made) == 12


def test_a_full_disk_is_told_and_leaves_what_was_there(kb, path, monkeypatch):
    kept = list(build_dataset(path, make_builder(kb), documents(), corpus="c"))

    class Full:
        def __init__(self, *args, **settings):
            self.left = 1

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def write_table(self, table):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")

    import pyarrow.parquet

    monkeypatch.setattr(pyarrow.parquet, "ParquetWriter", Full)
    monkeypatch.setattr(module, "_GROUP_ROWS", 3)
    with pytest.raises(NoSpaceError, match="make room"):
        build_dataset(path, make_builder(kb), documents(), corpus="other", force=True)
    assert list(ExampleDataset(path)) == kept
    assert [p.name for p in path.parent.iterdir()] == ["examples"]


def test_without_pyarrow_the_extra_is_named(kb, path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"spacy-bel\[train\]"):
        build_dataset(path, make_builder(kb), never(), corpus="c")


def test_only_the_rows_read_last_are_in_memory(kb, path, monkeypatch):
    monkeypatch.setattr(module, "_GROUP_ROWS", 4)
    monkeypatch.setattr(module, "_GROUPS_HELD", 2)
    examples = build_dataset(path, make_builder(kb), documents(50), corpus="c")
    read = []
    monkeypatch.setattr(module, "_example", lambda row: read.append(row) or row["document"])
    assert examples[0] == "d0" and len(read) == 4
    assert examples[3] == "d1" and len(read) == 4
    assert examples[99] == "d49" and len(read) == 8
    assert examples[1] == "d0" and len(read) == 8
    assert examples[4] == "d2" and len(read) == 12  # in the place of the one at 99
    assert examples[0] == "d0" and len(read) == 12
    assert examples[99] == "d49" and len(read) == 16
    assert len(list(examples)) == 100 and len(examples._held) == 2


def test_files_are_known_by_their_content(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.txt").write_text("one")
    before = file_fingerprint([tmp_path / "c"])
    assert file_fingerprint([tmp_path / "c"]) == before
    (tmp_path / "c" / "b.txt").write_text("")
    added = file_fingerprint([tmp_path / "c"])
    (tmp_path / "c" / "a.txt").write_text("two")
    assert len({before, added, file_fingerprint([tmp_path / "c"])}) == 3
    assert file_fingerprint([tmp_path / "c" / "a.txt"]) != file_fingerprint([tmp_path / "c"])
