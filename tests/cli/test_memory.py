"""`bel memory`."""

from __future__ import annotations

import json

import pytest

from spacy_bel.corpora import read_documents
from spacy_bel.longbel.training import fold_models
from tests.longbel.conftest import make_kb, tiny_llama

NAMES = {"C1": "cold", "C2": "ache", "C3": "burn", "C4": "rash"}
MENTIONS = [("cold", "C1"), ("aches", "C2"), ("burns", "C3"), ("rush", "C4"), ("colds", "C1")]


def pubtator(ids, label="Disorders"):
    pages = []
    for number, identifier in enumerate(ids):
        (first, code), (second, other) = (MENTIONS[(number + i) % 5] for i in (0, 1))
        text = f"Case {identifier}. A {first}, then {second}."
        rows = "".join(
            f"{identifier}\t{text.index(m)}\t{text.index(m) + len(m)}\t{m}\t{label}\t{c}\n"
            for m, c in ((first, code), (second, other))
        )
        pages.append(f"{identifier}|t|{text}\n{identifier}|a|\n{rows}")
    return "\n".join(pages)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    make_kb([(code, "Disorders", [name]) for code, name in NAMES.items()]).to_disk(path / "kb")
    tiny_llama(sharpness=0.3).save(path / "model")
    (path / "train.txt").write_text(pubtator(["11", "12", "13", "14"]), encoding="utf-8")
    (path / "dev.txt").write_text(pubtator(["21"]), encoding="utf-8")
    (path / "one.txt").write_text(pubtator(["31"]), encoding="utf-8")
    (path / "alien.txt").write_text(pubtator(["41", "42"], "Planets"), encoding="utf-8")
    (path / "longbel.cfg").write_text(
        "[paths]\nkb = null\n\n[nlp]\nlang = \"en\"\npipeline = [\"longbel_linker\"]\n\n"
        "[components]\n\n[components.longbel_linker]\nfactory = \"longbel_linker\"\n"
        "kb = ${paths.kb}\nprompt = \"hybrid_long\"\nnum_beams = 7\n"
        f"model = \"{path / 'model'}\"\n\n"
        "[components.longbel_linker.learning]\ntarget = \"title\"\nmemory = \"predicted\"\n\n"
        "[longbel_training]\nmax_steps = 1\nlearning_rate = 0.001\nbatch_tokens = 200\n",
        encoding="utf-8",
    )  # fmt: skip
    return path


@pytest.fixture
def options(folder):
    return (
        *("--kb", folder / "kb", "--model", folder / "model", "--prompt", "short"),
        *("--longbel_training.max_steps", "1", "--longbel_training.batch_tokens", "200"),
    )


@pytest.fixture
def learned(monkeypatch):
    """Ids of the documents that each model was trained with, as the real trainer is called."""
    calls, real = [], fold_models.train

    def train(model, prompt, examples, settings, output, **kwargs):
        calls.append((prompt.name, settings, {example.document for example in examples}))
        return real(model, prompt, examples, settings, output, progress=False, **kwargs)

    monkeypatch.setattr(fold_models, "train", train)
    return calls


def test_documents_get_links_of_models_that_have_not_learned_them(
    bel, folder, options, learned, tmp_path
):
    out, dev_out = tmp_path / "out.spacy", tmp_path / "dev.spacy"
    result = bel(
        "memory", folder / "train.txt", out, *options, "--folds", "2",
        "--dev", folder / "dev.txt", "--dev-output", dev_out,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    documents = list(read_documents(out))
    assert [d.id for d in documents] == ["11", "12", "13", "14"]
    for document, before in zip(documents, read_documents(folder / "train.txt"), strict=True):
        assert [a.codes for a in document.annotations] == [a.codes for a in before.annotations]
        assert document.sentences
        for annotation in document.annotations:
            # Greedily, and constrained to names of the terminology.
            (link,) = annotation.links
            assert NAMES[link.code] == link.name
        about = document.meta["candidates"]
        (_, settings, ids) = learned[about["fold"]]
        assert document.id not in ids and settings.max_steps == 1
        assert (about["folds"], about["prompt"]) == (2, "short")
    assert [ids for _, _, ids in learned] == [
        {d.id for d in documents if d.meta["candidates"]["fold"] != fold} for fold in (0, 1)
    ]
    (dev,) = read_documents(dev_out)
    assert dev.id == "21" and dev.meta["candidates"]["fold"] == 0
    assert all(a.links for a in dev.annotations)
    assert not (tmp_path / "out.spacy.work").exists()
    assert "recall@1" in result.stdout


def test_a_config_says_what_is_trained_and_its_values_can_be_given(bel, folder, learned, tmp_path):
    arguments = (
        *("--config", folder / "longbel.cfg", "--paths.kb", folder / "kb", "--folds", "2"),
        *("--longbel_training.learning_rate", "0.002", "--prompt", "hybrid_short", "--keep"),
    )
    result = bel("memory", folder / "train.txt", tmp_path / "out.spacy", *arguments)
    assert result.exit_code == 0, result.stderr
    assert [prompt for prompt, _, _ in learned] == ["hybrid_short"] * 2
    assert {settings.learning_rate for _, settings, _ in learned} == {0.002}
    run = json.loads((tmp_path / "out.spacy.work" / "run.json").read_text("utf-8"))
    assert run["targets"] == "title" and run["training"]["max_steps"] == 1
    assert len(list((tmp_path / "out.spacy.work").glob("fold-*/model/model.safetensors"))) == 2


def test_an_interrupted_run_goes_on_where_it_was(bel, folder, options, monkeypatch, tmp_path):
    command = ("memory", folder / "train.txt")
    whole, broken = tmp_path / "whole.spacy", tmp_path / "broken.spacy"
    calls, real = [], fold_models.train

    def train(*args, **kwargs):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args, progress=False, **kwargs)

    monkeypatch.setattr(fold_models, "train", train)
    rest = (*options, "--folds", "2")
    assert bel(*command, whole, *rest).exit_code == 0
    result = bel(*command, broken, *rest)
    assert result.exit_code == 130 and "Give the same command again" in result.stderr
    assert not broken.exists() and (tmp_path / "broken.spacy.work").is_dir()
    # Another run does not get in between, unless that is wanted.
    other = bel(*command, broken, *rest, "--seed", "5")
    assert other.exit_code == 1 and "other seed" in other.stderr
    assert bel(*command, broken, *rest).exit_code == 0
    assert len(calls) == 5
    links = [
        [[a.links for a in d.annotations] for d in read_documents(path)] for path in (whole, broken)
    ]
    assert links[0] == links[1]


def test_force_replaces_the_work_of_another_run(bel, folder, options, learned, tmp_path):
    command = ("memory", folder / "train.txt", tmp_path / "out.spacy", *options, "--folds", "2")
    assert bel(*command, "--keep").exit_code == 0
    refused = bel(*command, "--keep")
    assert refused.exit_code == 1 and "exists already" in refused.stderr
    # The same run again: everything is there.
    assert bel(*command, "--keep", "--force").exit_code == 0 and len(learned) == 2
    assert bel(*command, "--seed", "3", "--force").exit_code == 0 and len(learned) == 4


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["one.txt"], "1 different document cannot be drawn into 5 folds"),
        (["alien.txt", "--folds", "2"], "Planets"),
        (["train.txt", "--folds", "2", "--dev", "train.txt", "--dev-output", "d.spacy"],
         "in the training corpus, too"),
        (["train.txt", "--longbel_training.epoch", "3"], "did you mean epochs"),
    ],
)  # fmt: skip
def test_bad_input_is_named(bel, folder, options, tmp_path, monkeypatch, arguments, error):
    corpus, *rest = [folder / a if a.endswith(".txt") else a for a in arguments]
    monkeypatch.chdir(tmp_path)
    kb = tmp_path / "kb"
    # Two groups, so that a label has to be mapped.
    make_kb([("C1", "Disorders", ["cold"]), ("P1", "Phenomena", ["wind"])]).to_disk(kb)
    result = bel("memory", corpus, "out.spacy", *options, "--kb", kb, *rest)
    assert result.exit_code == 1 and error in result.stderr, result.stderr
    assert not (tmp_path / "out.spacy").exists()


@pytest.mark.parametrize(
    "arguments", [["--prompt", "longer"], ["--dev", "x.txt"], ["--training.seed", "3"]]
)
def test_wrong_options(bel, folder, options, tmp_path, arguments):
    result = bel("memory", folder / "train.txt", tmp_path / "out.spacy", *options, *arguments)
    assert result.exit_code == 2, result.stderr
