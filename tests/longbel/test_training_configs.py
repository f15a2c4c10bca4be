"""`spacy train` with the configs of the package, on a tiny corpus and tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import spacy
import torch
from spacy.cli.train import train as spacy_train

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.docbin import write_docbin
from spacy_bel.corpora.document import Annotation, CorpusDocument

from .conftest import tiny_llama
from .encoder_decoders import tiny_bart

NAME = "longbel_linker"
CONFIGS = Path(__file__).parents[2] / "configs"
MENTIONS = [
    ("headache", "Disorders", "D4"),
    ("shock", "Phenomena", "P2"),
    ("cold", "Disorders", "D3"),
]


def records():
    """One document; its mentions carry what another model found."""
    text = "Severe headache after a shock. The cold was worse."
    annotations = []
    for surface, label, code in MENTIONS:
        start, links = text.index(surface), [Candidate("D5", "asthma", 0.5)]
        annotations.append(
            Annotation(start, start + len(surface), surface, label, [[code]], links=links)
        )
    return [CorpusDocument("1", text, annotations=annotations)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.spacy"
    with path.open("wb") as stream:
        write_docbin(records(), stream, spacy.blank("en"), sentences=True)
    return path


@pytest.fixture
def overrides(corpus, kb_dir):
    return {
        "paths.kb": str(kb_dir),
        "paths.train": str(corpus),
        "paths.dev": str(corpus),
        "training.max_steps": 30,
        "training.eval_frequency": 15,
        "training.dropout": 0.0,
        "training.logger.progress_bar": False,
        "training.optimizer.learn_rate.initial_rate": 0.01,
        "training.optimizer.learn_rate.warmup_steps": 1,
        "training.optimizer.learn_rate.total_steps": 60,
    }


def model_for(config, path):
    if config == "genre":
        bart = tiny_bart()
        with torch.no_grad():  # it is made to have strong opinions, which are slow to unlearn
            for weight in bart.model.parameters():
                weight.mul_(0.1 if weight.ndim > 1 else 1.0)
        bart.save(path)
    else:
        tiny_llama(sharpness=0.1).save(path)
    return str(path)


@pytest.mark.parametrize("config", ["longbel", "longbel_llama", "genre"])
def test_each_config_trains(config, overrides, corpus, tmp_path, capsys):
    overrides["paths.model"] = model_for(config, tmp_path / "start")
    if config == "genre":
        overrides.update({"training.max_steps": 90, "training.eval_frequency": 30})
        overrides["training.optimizer.learn_rate.total_steps"] = 180
    spacy_train(CONFIGS / f"{config}.cfg", tmp_path / "out", overrides=overrides)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model-best", "model-last"}
    assert "BEL_R" in capsys.readouterr().out
    best = spacy.load(tmp_path / "out" / "model-best")
    performance = json.loads((tmp_path / "out/model-best/meta.json").read_text())["performance"]
    assert performance["bel_recall_at_1"] == 1.0  # three mentions, learned by heart
    reader = spacy.registry.readers.get("spacy_bel.Corpus.v1")(str(corpus))
    assert best.evaluate(list(reader(best)))["bel_recall_at_1"] == 1.0
    assert best.get_pipe(NAME).prompt.name == ("genre" if config == "genre" else "hybrid_long")
    files = [path.name for path in (tmp_path / "out" / "model-best" / NAME).rglob("*")]
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl", ".pickle"))]
