from __future__ import annotations

from pathlib import Path

import pytest

from spacy_bel.errors import KnowledgeBaseError, ReadError, UnknownGroupError
from spacy_bel.kb import Concept
from spacy_bel.retriever.training.config import RetrieverTrainingConfig

from .conftest import make_kb

CONFIG = """
[paths]
kb = "{folder}/kb"

[encoder]
model = "{encoder}"

[names]

[names.toy]
kb = ${{paths.kb}}
groups = ["Heart"]

[mentions]

[mentions.train]
corpus = "{folder}/corpus.pubtator"
kb = ${{paths.kb}}

[development]

[development.dev]
corpus = "{folder}/corpus.pubtator"
kb = ${{paths.kb}}
label_groups = {{"Problem": "Heart"}}

[data]
pairs_per_concept = 5

[training]
epochs = 2
"""
# Heart attack and its abbreviation; a composite; no concept; a label that is not mapped.
CORPUS = (
    "1|t|A heart attack (HA), kidney stone or stroke, pain, HA.\n1|a|\n"
    "1\t2\t14\theart attack\tProblem\tOLD:1\n"
    "1\t21\t43\tkidney stone or stroke\tProblem\tC:1|C:2\n"
    "1\t45\t49\tpain\tProblem\t-\n"
    "1\t51\t53\tHA\tProblem\tC:1\n"
    "1\t16\t18\tHA\tOther\tC:1\n"
)


@pytest.fixture
def folder(tmp_path, encoder_path):
    kb = make_kb(
        [
            Concept("C:1", ("infarct", "MI"), ("Heart",), alternative_codes=("OLD:1",)),
            Concept("C:2", ("kidney stone", "stone"), ("Kidney",)),
        ]
    )
    kb.to_disk(tmp_path / "kb")
    (tmp_path / "corpus.pubtator").write_text(CORPUS)
    text = CONFIG.format(folder=tmp_path, encoder=encoder_path)
    (tmp_path / "train.cfg").write_text(text)
    return tmp_path


def read(folder, **overrides):
    return RetrieverTrainingConfig.from_file(folder / "train.cfg", overrides)


def test_what_a_config_gives(folder):
    config = read(folder)
    assert config.load_encoder().width == 32
    assert config.training.epochs == 2
    names = config.training_names()
    assert list(names.codes) == ["C:1"]
    mentions = [names.texts[text] for _, text in names.mentions.tolist()]
    # The abbreviation as its long form; the composite teaches nothing.
    assert mentions == ["heart attack"] * 3
    (development,) = config.development_sets()
    # The composite counts, since it has a concept; the label "Other" does not.
    assert len(development) == 3
    assert "heart attack" in development.queries and "pain" not in development.queries


def test_overrides(folder):
    overrides = {"training.epochs": 7, "paths.kb": "nowhere"}
    config = read(folder, **overrides)
    assert config.training.epochs == 7 and config.names["toy"].kb == "nowhere"
    with pytest.raises(ReadError, match="training -> epoch"):
        read(folder, **{"training.epoch.x": 7})


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("epochs = 2", "epoch = 2", r"\[training\] has no setting 'epoch': did you mean epochs"),
        ("epochs = 2", 'epochs = "many"', r"\[training\] epochs: Input should be a valid integer"),
        ("epochs = 2", "epochs = 0", r"\[training\] epochs is 0: give more than 0"),
        ("epochs = 2", 'dtype = "int8"', r"\[training\] dtype: .*'bfloat16'"),
        ("[encoder]\nmodel", "[vars]\nmodel", r"the section \[encoder\] is missing"),
        ("[data]", "[dat]", "the config has no 'dat'"),
        ("pairs_per_concept", "pairs", r"\[data\] has no 'pairs'"),
        ('groups = ["Heart"]', "group = 1", r"\[names.toy\] has no 'group'"),
        ("[names.toy]\nkb", "[names.toy]\ngroups", r"\[names.toy\] lacks kb"),
        ("[data]", "data]", "Cannot read the config"),
    ],
)
def test_mistakes_are_told_with_section_and_key(folder, before, after, message):
    path = folder / "train.cfg"
    text = path.read_text()
    assert before in text
    if after.endswith("groups"):
        text = text.replace('groups = ["Heart"]\n', "")
    path.write_text(text.replace(before, after))
    with pytest.raises(ReadError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"names.toy.kb": "nowhere"}, KnowledgeBaseError, r"\[names.toy\] .*nowhere"),
        ({"names.toy.groups": ["Liver"]}, UnknownGroupError, r"\[names.toy\] .*'Liver'"),
        ({"mentions.train.corpus": "nowhere.txt"}, ReadError, r"\[mentions.train\] nowhere.txt"),
    ],
)
def test_what_the_names_need_and_is_not_there(folder, overrides, error, message):
    config = read(folder, **overrides)
    with pytest.raises(error, match=message):
        config.training_names()


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"label_groups": {"Problem": ["Liver"]}}, UnknownGroupError, "'Liver'"),
        ({"label_groups": {"Typo": ["Heart"]}}, ReadError, "has no mention with a code of 'toy'"),
        ({"corpus": "nowhere.txt"}, ReadError, "nowhere.txt"),
    ],
)
def test_what_development_needs_and_is_not_there(folder, overrides, error, message):
    config = read(folder, **{f"development.dev.{key}": value for key, value in overrides.items()})
    with pytest.raises(error, match=rf"\[development.dev\] .*{message}"):
        config.development_sets()


def test_the_example_is_a_config():
    path = Path(__file__).parents[3] / "configs" / "retriever.cfg"
    overrides = {"paths.model": "m", "paths.ncbi_dev": "n.txt", "paths.bc5cdr_dev": "b.txt"}
    config = RetrieverTrainingConfig.from_file(path, overrides)
    assert config.encoder.model == "m" and config.development["ncbi"].corpus == "n.txt"
    with pytest.raises(ReadError, match=r"\[encoder\] model"):
        RetrieverTrainingConfig.from_file(path)
