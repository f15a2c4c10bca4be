import json

import pytest

from spacy_bel.kb import Concept
from tests.retriever.training.conftest import encoder_path, make_kb, word_names  # noqa: F401

CONFIG = """
[encoder]
model = "{encoder}"

[names]

[names.words]
kb = "{folder}/kb"

[development]

[development.dev]
corpus = "{folder}/dev.jsonl"
kb = "{folder}/kb"

[training]
epochs = 2
steps_per_epoch = 2
batch_size = 8
mined_concepts = 10
hard_negatives = 1
"""


@pytest.fixture
def folder(tmp_path, encoder_path):  # noqa: F811
    rows = word_names(12)
    make_kb([Concept(c, (a, b), ("g",)) for c, a, b in rows]).to_disk(tmp_path / "kb")
    records = [
        {
            "id": code,
            "text": f"A {name} here.",
            "entities": [{"start": 2, "end": 2 + len(name), "label": "g", "code": code}],
        }
        for code, _, name in rows
    ]
    lines = [json.dumps(record) for record in records]
    (tmp_path / "dev.jsonl").write_text("\n".join(lines[:8]) + "\n")
    (tmp_path / "train.jsonl").write_text("\n".join(lines[8:]) + "\n")
    (tmp_path / "train.cfg").write_text(CONFIG.format(folder=tmp_path, encoder=encoder_path))
    return tmp_path


def words(result):
    return " ".join(result.stderr.split())


def test_a_trained_encoder_finds_candidates(bel, folder):
    result = bel("train", "retriever", folder / "train.cfg", "-o", folder / "model")
    assert result.exit_code == 0, result.stderr
    for part in (
        "12 concepts, 12 pairs of synonyms, 0 training mentions",
        "Development dev: 8 mentions",
        "epoch loss names/s min development recall@1 recall@5 recall@25 mrr",
        "dev recall@1, before and after each epoch:",
        "is the best by the mean of mrr",
        f"Wrote the encoder to {folder / 'model'}",
    ):
        assert part in words(result)
    assert f'model = "{folder / "model"}"' in result.stdout
    report = json.loads((folder / "model" / "training.json").read_text())
    assert [epoch["epoch"] for epoch in report["epochs"]] == [0, 1, 2]
    assert report["config"]["training"]["batch_size"] == 8

    options = ["--kb", folder / "kb", "--retriever", "dense", "--model", folder / "model"]
    found = bel("evaluate-retriever", folder / "dev.jsonl", *options, "--no-costs", "--json")
    assert found.exit_code == 0, found.stderr
    (system,) = json.loads(found.stdout)["systems"].values()
    assert system["scores"]["recall@1"]["value"] == 1.0  # every mention is a name

    again = bel("train", "retriever", folder / "train.cfg", "-o", folder / "model")
    assert again.exit_code == 1 and "finished result of this very run" in words(again)


def test_values_on_the_command_line(bel, folder):
    arguments = ["train", "retriever", folder / "train.cfg", "-o", folder / "model"]
    result = bel(*arguments, "--training.epochs", 1, "--training.seed=3")
    assert result.exit_code == 0, result.stderr
    report = json.loads((folder / "model" / "training.json").read_text())
    assert len(report["epochs"]) == 2 and report["settings"]["seed"] == 3
    replaced = bel(*arguments, "--training.epochs", 1, "--force")
    assert replaced.exit_code == 0, replaced.stderr
    report = json.loads((folder / "model" / "training.json").read_text())
    assert report["settings"]["seed"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--training.epoch", "1"], "[training] has no setting 'epoch': did you mean epochs?"),
        (["--names.words.kb", "nowhere"], "[names.words]"),
        (["--encoder.model", "./nowhere"], "[encoder] There is no model directory"),
        (["--nothing.x", "1"], "nothing -> x"),
    ],
)
def test_mistakes_are_told(bel, folder, arguments, message):
    if arguments[0] == "--training.epoch":
        (folder / "train.cfg").write_text(
            (folder / "train.cfg").read_text().replace("epochs = 2", "epoch = 2")
        )
    result = bel("train", "retriever", folder / "train.cfg", "-o", folder / "model", *arguments)
    assert result.exit_code == 1
    assert message in words(result)
    assert not (folder / "model").exists()


def test_tuned_options_are_a_config(bel, folder):
    output = folder / "best.cfg"
    arguments = ["tune", "ngrams", folder / "dev.jsonl", "--kb", folder / "kb"]
    extra = ["--training-mentions", folder / "train.jsonl", "--objective", "mrr"]
    result = bel(*arguments, *extra, "-o", output)
    assert result.exit_code == 0, result.stderr
    assert "best mrr first: dev.jsonl, searched in toy + training mentions" in result.stdout
    assert "8 mentions." in result.stdout
    # Every mention is a name, so that all options are equal and the first one is taken.
    assert "ngram_range = [2, 3]" in output.read_text()
    options = ["--kb", folder / "kb", "--config", output, "--no-costs", "--json"]
    found = bel("evaluate-retriever", folder / "dev.jsonl", *options)
    (system,) = json.loads(found.stdout)["systems"].values()
    assert system["scores"]["mrr"]["value"] == 1.0
    again = bel(*arguments, "-o", output)
    assert again.exit_code == 1 and "exists already" in words(again)


def test_a_grid_too_coarse_for_the_names(bel, folder):
    arguments = ["tune", "ngrams", folder / "dev.jsonl", "--kb", folder / "kb"]
    result = bel(*arguments, "--grid", "published")
    assert result.exit_code == 1
    assert "32 options leave no n-gram of any name" in words(result)
    assert "use --grid default" in words(result)
