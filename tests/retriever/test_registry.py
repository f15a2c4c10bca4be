"""Retrievers in configs: nested blocks, defaults, mistakes."""

from __future__ import annotations

import inspect
import pickle

import pytest
import spacy
from confection import Config, ConfigValidationError
from spacy.util import registry

from spacy_bel import registry as functions
from spacy_bel.errors import SettingsError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.retriever.ensemble import EnsembleRetriever
from spacy_bel.retriever.exact import ExactRetriever
from spacy_bel.retriever.ngrams import NgramRetriever
from spacy_bel.retriever.scispacy import ScispacyRetriever

ENSEMBLE = """
[nlp]
lang = "en"
pipeline = ["bel_retriever"]

[components]

[components.bel_retriever]
factory = "bel_retriever"
kb = null
abbreviations = false

[components.bel_retriever.retriever]
@misc = "spacy_bel.EnsembleRetriever.v1"
fusion = "weighted"

[components.bel_retriever.retriever.weights]
exact = 0.75
ngrams = 0.25

[components.bel_retriever.retriever.members]

[components.bel_retriever.retriever.members.exact]
@misc = "spacy_bel.ExactRetriever.v1"

[components.bel_retriever.retriever.members.ngrams]
@misc = "spacy_bel.NgramRetriever.v1"
ngram_range = [3, 3]
"""


def resolve(block):
    return registry.resolve({"retriever": block})["retriever"]


def kb(directory):
    builder = KnowledgeBaseBuilder("test")
    builder.add(Concept("D1", ("heart attack",), ("Disorders",)))
    builder.add(Concept("D2", ("heart failure",), ("Disorders",)))
    return builder.write(directory)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spacy_bel.ExactRetriever.v1", ExactRetriever()),
        ("spacy_bel.NgramRetriever.v1", NgramRetriever()),
        ("spacy_bel.ScispacyRetriever.v1", ScispacyRetriever()),
    ],
)
def test_a_block_without_settings_is_the_default(name, expected):
    assert resolve({"@misc": name}) == expected


@pytest.mark.parametrize(
    ("function", "module", "name"),
    [
        ("ngram_retriever", "ngrams", "NgramRetriever"),
        ("dense_retriever", "dense", "DenseRetriever"),
        ("ensemble_retriever", "ensemble", "EnsembleRetriever"),
        ("scispacy_retriever", "scispacy", "ScispacyRetriever"),
        ("causal_lm_reformulator", "reformulation.causal_lm", "CausalLMReformulator"),
    ],
)
def test_every_setting_of_a_retriever_can_be_written_in_a_config(function, module, name):
    retriever = getattr(pytest.importorskip(f"spacy_bel.retriever.{module}"), name)
    in_configs = inspect.signature(getattr(functions, function)).parameters
    settings = inspect.signature(retriever).parameters
    assert {key: p.default for key, p in in_configs.items()} == {
        key: p.default for key, p in settings.items()
    }


def test_settings_reach_the_retriever():
    block = {"@misc": "spacy_bel.NgramRetriever.v1", "char_side": "back", "char_count": 8}
    assert resolve(block) == NgramRetriever(char_side="back", char_count=8)


def test_an_ensemble_in_the_config_of_a_pipeline(tmp_path):
    kb(tmp_path / "kb")
    config = Config().from_str(ENSEMBLE)
    config["components"]["bel_retriever"]["kb"] = str(tmp_path / "kb")
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    expected = EnsembleRetriever(
        members={"exact": ExactRetriever(), "ngrams": NgramRetriever(ngram_range=(3, 3))},
        fusion="weighted",
        weights={"exact": 0.75, "ngrams": 0.25},
    )
    assert nlp.get_pipe("bel_retriever").retriever == expected
    assert nlp.config["components"]["bel_retriever"]["composites"] is True
    nlp.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    assert loaded.get_pipe("bel_retriever").retriever == expected
    assert loaded.config["components"]["bel_retriever"]["abbreviations"] is False
    doc = loaded.make_doc("A heart attak.")
    doc.ents = [doc.char_span(2, 13, label="Disorders")]
    assert loaded(doc).ents[0].kb_id_ == "D1"


def test_retrievers_go_to_other_processes():
    nested = resolve(Config().from_str(ENSEMBLE)["components"]["bel_retriever"]["retriever"])
    assert pickle.loads(pickle.dumps(nested)) == nested


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"@misc": "spacy_bel.NgramRetriever.v1", "ngrams": 3}, "ngrams"),
        ({"@misc": "spacy_bel.NgramRetriever.v1", "min_df": 0}, "min_df"),
        ({"@misc": "spacy_bel.NgramRetriever.v1", "char_side": "middle"}, "char_side"),
        ({"@misc": "spacy_bel.EnsembleRetriever.v1"}, "members"),
        ({"@misc": "spacy_bel.EnsembleRetriever.v1", "members": {}}, "members"),
    ],
)
def test_mistakes_in_a_config_are_named(block, message):
    with pytest.raises((ConfigValidationError, SettingsError), match=message):
        resolve(block)
