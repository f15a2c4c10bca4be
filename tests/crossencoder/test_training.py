"""`spacy train` with the configs of the package, on a tiny corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import spacy
from spacy.cli.find_threshold import find_threshold
from spacy.cli.train import train as spacy_train
from spacy.util import load_config
from thinc.api import Adam

from spacy_bel.corpora.docbin import write_docbin

from .tiny_pipelines import WITH_NIL, make_nlp, records, samples, train

NAME = "bel_crossencoder"
CONFIGS = sorted(
    (Path(__file__).parents[2] / "configs").glob("crossencoder_*.cfg"), key=lambda file: file.name
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.spacy"
    with path.open("wb") as stream:
        write_docbin(records(WITH_NIL), stream, spacy.blank("en"), sentences=True)
    return path


@pytest.fixture
def overrides(corpus, kb_dir, encoder_dir):
    return {
        "paths.kb": str(kb_dir),
        "paths.encoder": str(encoder_dir),
        "paths.train": str(corpus),
        "paths.dev": str(corpus),
        "training.max_steps": 12,
        "training.eval_frequency": 4,
        "training.dropout": 0.0,
        "training.logger.progress_bar": False,
        "components.bel_crossencoder.shuffle": "never",
        "training.optimizer.learn_rate.initial_rate": 0.005,
        "training.optimizer.learn_rate.warmup_steps": 1,
    }


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_each_config_trains(config, overrides, corpus, tmp_path, capsys):
    spacy_train(config, tmp_path, overrides=overrides)
    assert {path.name for path in tmp_path.iterdir()} == {"model-best", "model-last"}
    log = capsys.readouterr().out
    assert "LOSS BEL_C" in log and "BEL_R" in log  # columns of the loss and of recall@1
    best = spacy.load(tmp_path / "model-best")
    layout = best.get_pipe(NAME).engine.layout
    assert config.stem == f"crossencoder_{layout.name}"
    performance = json.loads((tmp_path / "model-best" / "meta.json").read_text())["performance"]
    last = json.loads((tmp_path / "model-last" / "meta.json").read_text())["performance"]
    assert performance["bel_recall_at_1"] >= last["bel_recall_at_1"]
    # What was kept scores as it did.
    reader = spacy.registry.readers.get("spacy_bel.Corpus.v1")(str(corpus))
    scores = best.evaluate(list(reader(best)))
    assert scores["bel_recall_at_1"] == pytest.approx(performance["bel_recall_at_1"])
    assert scores["bel_recall_at_1"] > 1 / 3
    files = [path.name for path in (tmp_path / "model-best" / NAME).rglob("*")]
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl", ".pickle"))]


def test_the_best_model_is_kept(overrides, corpus, tmp_path, capsys):
    """A learning rate that ruins the model later on does not reach it."""
    ruinous = {
        **overrides,
        "training.max_steps": 8,
        "training.eval_frequency": 1,
        "training.optimizer.learn_rate": {
            "@schedules": "constant_then.v1",
            "rate": 0.003,
            "steps": 6,
            "schedule": {"@schedules": "constant.v1", "rate": 5.0},
        },
    }
    for key in [key for key in ruinous if key.startswith("training.optimizer.learn_rate.")]:
        del ruinous[key]
    config = load_config(CONFIGS[0])
    config["training"]["optimizer"]["learn_rate"] = ruinous.pop("training.optimizer.learn_rate")
    config.to_disk(tmp_path / "ruinous.cfg")
    spacy_train(tmp_path / "ruinous.cfg", tmp_path / "out", overrides=ruinous)
    log = [line.split() for line in capsys.readouterr().out.splitlines()]
    recalls = [float(row[3]) for row in log if len(row) > 5 and row[0].isdigit()]
    meta = json.loads((tmp_path / "out" / "model-best" / "meta.json").read_text())
    assert recalls[-1] < max(recalls)
    assert meta["performance"]["bel_recall_at_1"] == pytest.approx(max(recalls) / 100, abs=1e-3)


def test_training_goes_on_from_a_stored_model(overrides, corpus, tmp_path, capsys):
    """A component that is taken from a pipeline keeps what it has learned."""
    # So little that there is enough left to learn.
    slow = {"training.max_steps": 4, "training.optimizer.learn_rate.initial_rate": 0.001}
    overrides = {**overrides, **slow}
    config = load_config(CONFIGS[0])
    spacy_train(CONFIGS[0], tmp_path / "first", overrides=overrides)
    first = spacy.load(tmp_path / "first" / "model-last")
    config["components"][NAME] = {"source": str(tmp_path / "first" / "model-last")}
    config.to_disk(tmp_path / "more.cfg")
    kept = {k: v for k, v in overrides.items() if not k.startswith("components.")}
    capsys.readouterr()
    spacy_train(tmp_path / "more.cfg", tmp_path / "more", overrides=kept)
    more = spacy.load(tmp_path / "more" / "model-last")
    reader = spacy.registry.readers.get("spacy_bel.Corpus.v1")(str(corpus))
    losses = []
    for nlp in (first, more):
        nlp.get_pipe(NAME).shuffle = "never"
        losses.append(nlp.get_pipe(NAME).update(list(reader(nlp)), drop=0.0)[NAME])
    assert losses[1] < 0.9 * losses[0]


def test_candidates_of_a_component_before_it(overrides, corpus, kb_dir, tmp_path):
    """A retriever in the pipeline gives them where the corpus has none."""
    bare = [(text, [(surface, gold, []) for surface, gold, _ in rows]) for text, rows in WITH_NIL]
    path = tmp_path / "bare.spacy"
    with path.open("wb") as stream:
        write_docbin(records(bare), stream, spacy.blank("en"))
    config = load_config(CONFIGS[0])
    config["nlp"]["pipeline"] = ["bel_retriever", NAME]
    config["components"]["bel_retriever"] = {"factory": "bel_retriever", "kb": str(kb_dir)}
    config["training"]["annotating_components"] = ["bel_retriever"]
    config["training"]["frozen_components"] = ["bel_retriever"]
    config.to_disk(tmp_path / "both.cfg")
    paths = {"paths.train": str(path), "paths.dev": str(path)}
    spacy_train(tmp_path / "both.cfg", tmp_path / "out", overrides={**overrides, **paths})
    nlp = spacy.load(tmp_path / "out" / "model-best")
    doc = nlp.make_doc("no heart attack")
    doc.ents = [doc.char_span(3, 15, label="Disorders")]
    (ent,) = nlp(doc).ents
    assert ent._.kb_candidates and 0 < ent._.kb_candidates[0].score <= 1


def test_find_threshold(kb_dir, encoder_dir, tmp_path, capsys):
    """spaCy's command varies the probability below which a mention gets no link."""
    nlp = make_nlp(kb_dir, encoder_dir, nil=False)
    optimizer = Adam(0.003, L2=0.0, use_averages=False)
    train(nlp, samples(nlp), steps=20, optimizer=optimizer, below=0.1)
    nlp.add_pipe("bel_dictionary", config={"kb": str(kb_dir)}, first=True)
    nlp.add_pipe("bel_retriever", config={"kb": str(kb_dir)}, after="bel_dictionary")
    nlp.to_disk(tmp_path / "pipeline")
    with (tmp_path / "corpus.spacy").open("wb") as stream:
        write_docbin(records(WITH_NIL), stream, nlp)
    best, score, scores = find_threshold(
        str(tmp_path / "pipeline"), tmp_path / "corpus.spacy", NAME, "threshold", "bel_micro_f",
        n_trials=3,
    )  # fmt: skip
    assert list(scores) == [0.0, 0.5, 1.0] and score == max(scores.values())
    assert scores[1.0] == 0.0 < scores[0.0] and best < 1.0
