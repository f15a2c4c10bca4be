"""The command that trains a pipeline, in one process and in two."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import torch
from spacy.tokens import DocBin, Span
from typer.testing import CliRunner

from spacy_bel.candidates import get_candidates
from spacy_bel.errors import SettingsError
from spacy_bel.longbel.training.__main__ import app
from spacy_bel.longbel.training.distributed import AcceleratedWorkers
from spacy_bel.longbel.training.settings import TrainingSettings
from spacy_bel.longbel.training.spacy_config import training_settings

from ..conftest import make_kb
from .tiny_runs import copy_model

CONFIG = """
[paths]
train = null
dev = null
kb = null
model = null

[nlp]
lang = "en"
pipeline = ["longbel_linker"]

[components]

[components.longbel_linker]
factory = "longbel_linker"
kb = ${paths.kb}
model = ${paths.model}
prompt = "short"
num_beams = 2
label_groups = {"DISEASE": "Disorders"}
device = "cpu"

[components.longbel_linker.learning]
target = "levenshtein"
memory = "gold"

[corpora]

[corpora.train]
@readers = "spacy_bel.Corpus.v1"
path = ${paths.train}

[corpora.dev]
@readers = "spacy_bel.Corpus.v1"
path = ${paths.dev}

[training]
seed = 3
gpu_allocator = "pytorch"
dropout = 0.0
accumulate_gradient = 1
patience = 0
max_epochs = 0
max_steps = 25
eval_frequency = 5

[training.optimizer]
@optimizers = "Adam.v1"
L2 = 0.01
L2_is_weight_decay = true
grad_clip = 1.0
beta1 = 0.8

[training.optimizer.learn_rate]
@schedules = "warmup_linear.v1"
warmup_steps = 4
total_steps = 25
initial_rate = 0.01

[longbel_training]
batch_tokens = 800
checkpoint_every = 0
"""

KB = [
    ("D1", "Disorders", ["heart attack", "infarct"]),
    ("D2", "Disorders", ["common cold"]),
    ("D3", "Disorders", ["headache"]),
    ("D4", "Disorders", ["asthma"]),
]
MENTIONS = {"infarcts": "D1", "colds": "D2", "head ache": "D3", "asthmas": "D4", "attack": "D1"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Config, corpus, knowledge base and model, as options of the command."""
    path = tmp_path_factory.mktemp("files")
    make_kb(KB).to_disk(path / "kb")
    copy_model().save(path / "model")
    nlp = spacy.blank("en")
    docs = DocBin(store_user_data=True)
    for text, code in MENTIONS.items():
        doc = nlp(f"He has {text} .")
        doc.ents = [Span(doc, 2, len(doc) - 1, label="DISEASE", kb_id=code)]
        docs.add(doc)
    docs.to_disk(path / "corpus.spacy")
    (path / "train.cfg").write_text(CONFIG)
    given = {"kb": "kb", "model": "model", "train": "corpus.spacy", "dev": "corpus.spacy"}
    options = [part for key, file in given.items() for part in (f"--paths.{key}", path / file)]
    return [str(part) for part in (path / "train.cfg", *options)]


@pytest.fixture(scope="module")
def trained(files, tmp_path_factory):
    """Output of one process."""
    output = tmp_path_factory.mktemp("trained") / "models"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = CliRunner().invoke(app, [*files, "--output", str(output)])
    torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    return output


def history(output):
    return json.loads((output / "generator" / "training.json").read_text())["history"]


def test_the_command_writes_a_pipeline_that_links(trained):
    nlp = spacy.load(trained / "model-best")
    doc = nlp.make_doc("He has head ache .")
    doc.ents = [Span(doc, 2, 4, label="DISEASE")]
    doc = nlp.get_pipe("longbel_linker")(doc)
    assert doc.ents[0].kb_id_ == "D3" and get_candidates(doc.ents[0])
    figures = history(trained)
    assert [entry["step"] for entry in figures] == [5, 10, 15, 20, 25]
    assert figures[-1]["loss"] < figures[0]["loss"] / 2
    # Of the schedule in the config: four steps up, then down to zero.
    assert figures[0]["learning_rate"] == pytest.approx(0.01)
    assert figures[-1]["learning_rate"] == pytest.approx(0.01 / 21)


def test_the_same_command_again_changes_nothing(trained, files):
    before = (trained / "generator" / "model.safetensors").read_bytes()
    result = CliRunner().invoke(app, [*files, "--output", str(trained)])
    assert result.exit_code == 0
    assert (trained / "generator" / "model.safetensors").read_bytes() == before


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("accelerate", "psutil"))), reason="needs accelerate"
)
def test_two_processes_have_the_loss_curve_of_one(trained, files, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What accelerate calls several GPUs are several processors where there are none.
    launch = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        str(port),
    ]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch]
    command += ["-m", "spacy_bel.longbel.training", *files, "--output", str(tmp_path / "models")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "models" / "generator" / "training.json").read_text())
    assert report["processes"] == 2
    for one, two in zip(history(trained), report["history"], strict=True):
        for key in ("loss", "dev_loss", "dev_exact_match"):
            assert two[key] == pytest.approx(one[key], abs=1e-3)
    assert (tmp_path / "models" / "model-best" / "longbel_linker").is_dir()


def test_help_teaches():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for word in ("accelerate launch", "[longbel_training]", "micro_batch_tokens", "model-best"):
        assert word in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--longbel_training.batch_token", "9"], "batch_tokens"),
        (["--longbel_training.learning_rate", "0.1"], "learn_rate"),
        (["--nlp.pipeline", "[]"], "0 components"),
        (["--training.max_steps", "0"], "max_steps"),
        (
            [
                *("--components.longbel_linker.learning.memory", "predicted"),
                *("--components.longbel_linker.prompt", "hybrid_short"),
            ],
            "candidate",
        ),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(files, tmp_path, options, message):
    result = CliRunner().invoke(app, [*files, *options, "--output", str(tmp_path / "out")])
    assert result.exit_code == 1 and message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_config_is_told(tmp_path):
    result = CliRunner().invoke(app, [str(tmp_path / "no.cfg"), "--output", str(tmp_path)])
    assert result.exit_code == 1 and "no.cfg" in result.stderr


class Optimizer:
    L2, b1, b2, eps, grad_clip, learn_rate = 0.1, 0.7, 0.8, 1e-6, 0.0, 0.5


TRAINING = {
    "optimizer": Optimizer,
    "max_epochs": 2,
    "max_steps": 0,
    "dropout": 0.1,
    "eval_frequency": 30,
    "patience": 100,
    "seed": 5,
    "accumulate_gradient": 4,
}


def test_settings_come_from_two_sections():
    found = training_settings(TRAINING, {"batch_tokens": 100, "lora": {"rank": 2}})
    assert (found.weight_decay, found.betas, found.epsilon) == (0.1, (0.7, 0.8), 1e-6)
    assert (found.epochs, found.max_steps, found.eval_every, found.patience) == (2, None, 30, 4)
    assert (found.batch_tokens, found.micro_batch_tokens) == (400, 100)
    assert found.max_grad_norm > 1e20 and found.lora.rank == 2 and found.seed == 5
    assert found.checkpoint_every == TrainingSettings(max_steps=1).checkpoint_every


def test_models_split_among_processes_are_refused():
    class Accelerator:
        distributed_type = "FSDP"

    with pytest.raises(SettingsError, match="lora"):
        AcceleratedWorkers(Accelerator())
