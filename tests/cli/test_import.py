"""`spacy bel import longbel`: a pipeline from a released checkpoint."""

from __future__ import annotations

import shutil

import pytest
import spacy

from tests.longbel.released import CARD, TABLE, edit, write_released


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return write_released(tmp_path_factory.mktemp("released") / "checkpoint")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path / "cache"))


def link(nlp):
    doc = nlp.make_doc("Encore un cold.")
    doc.ents = [doc.char_span(10, 14, label="Disorders")]
    return nlp(doc).ents[0]._.kb_candidates


def test_a_pipeline_of_its_own(bel, released, tmp_path):
    checkpoint = shutil.copytree(released, tmp_path / "checkpoint")
    result = bel("import", "longbel", checkpoint, "-o", tmp_path / "pipeline")
    assert result.exit_code == 0, result.output
    assert "5 codes with 9 names in 2 semantic groups" in result.stderr
    assert "Disorders: 4 codes" in result.stderr
    assert "Prompt hybrid_long, 2,0" in result.stderr  # the window less the longest name
    assert "composite mentions: yes" in result.stderr
    assert "All names survive tokenization." in result.stderr
    assert "'fr_tiny_1b'" in result.stderr
    # What it was made from is not needed any more, nor named.
    shutil.rmtree(checkpoint)
    shutil.rmtree(tmp_path / "cache")
    assert str(checkpoint) not in (tmp_path / "pipeline" / "config.cfg").read_text()
    nlp = spacy.load(tmp_path / "pipeline")
    assert (nlp.lang, nlp.meta["name"]) == ("fr", "tiny_1b")
    linker = nlp.get_pipe("longbel_linker")
    assert (linker.compat, linker.prompt.name) == ("longbel", "hybrid_long")
    candidates = link(nlp)
    assert candidates
    assert all(TABLE["Disorders"][c.name] == c.code for c in candidates)


def test_options(bel, released, tmp_path, kb_path):
    output = tmp_path / "pipeline"
    options = ["--name", "My model", "--lang", "es", "--prompt", "short", "--spans-key", "sc"]
    result = bel("import", "longbel", released, "-o", output, *options, "--kb", kb_path)
    assert result.exit_code == 0, result.output
    assert "3 codes with 5 names" in result.stderr
    nlp = spacy.load(output)
    linker = nlp.get_pipe("longbel_linker")
    assert (nlp.lang, nlp.meta["name"]) == ("es", "my_model")
    assert (linker.prompt.name, linker.spans_key) == ("short", "sc")
    assert linker.kb.groups == ("Defects", "Findings")
    # What is there is replaced when asked for, and only if it is a pipeline.
    again = bel("import", "longbel", released, "-o", output)
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    assert bel("import", "longbel", released, "-o", output, "--force").exit_code == 0
    other = tmp_path / "home"
    other.mkdir()
    refused = bel("import", "longbel", released, "-o", other, "--force")
    assert refused.exit_code == 1
    assert "no pipeline" in refused.stderr


def test_names_that_do_not_survive_are_counted(bel, tmp_path):
    table = {"G": {"fine": "1", "snowman ☃": "2", **{f"☃{i}": "3" for i in range(6)}}}
    checkpoint = write_released(tmp_path / "checkpoint", table=table)
    result = bel("import", "longbel", checkpoint, "-o", tmp_path / "pipeline")
    assert result.exit_code == 0, result.output
    assert "7 names read otherwise" in result.stderr
    assert "and 2 more" in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "text_to_code.json").unlink(), "has no text_to_code.json"),
        (lambda d: (d / "text_to_code.json").write_text("{"), "not the expected JSON"),
        (lambda d: (d / "config.json").unlink(), "no released LongBEL or SynCABEL checkpoint"),
        (lambda d: (d / "config.json").write_text("{"), "not valid JSON"),
        (lambda d: [f.unlink() for f in d.glob("*.safetensors")], "Cannot read"),
        (lambda d: (d / "tokenizer.json").unlink(), "has no tokenizer"),
    ],
)
def test_bad_checkpoints_leave_nothing(bel, released, tmp_path, change, message):
    checkpoint = shutil.copytree(released, tmp_path / "checkpoint")
    change(checkpoint)
    result = bel("import", "longbel", checkpoint, "-o", tmp_path / "pipeline")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "pipeline").exists()


def test_syncabel_needs_a_language(bel, released, tmp_path):
    checkpoint = shutil.copytree(released, tmp_path / "checkpoint")
    edit(checkpoint / "config.json", model_type="llama_syncabel")
    (checkpoint / "README.md").write_text(CARD.replace("- fr", "- fr\n- en"))
    result = bel("import", "longbel", checkpoint, "-o", tmp_path / "pipeline")
    assert result.exit_code == 1
    assert "Set prompt to 'syncabel_en'" in result.stderr
