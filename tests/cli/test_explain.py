import re
import sys

import pytest
import spacy

from spacy_bel.longbel.engine import Engine
from tests.longbel.conftest import make_kb, tiny_llama
from tests.longbel.traces import traces
from tests.visual.test_links import Page

COLOURS = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def linking(tmp_path, monkeypatch):
    """A pipeline whose searches find the mentions' own text as names; fails on some texts."""

    def trace(engine, documents):
        for document in documents:
            if "explode" in document.passages[0].text:
                raise ValueError("it exploded")
            yield from traces(engine)(iter([document]))

    monkeypatch.setattr(Engine, "trace", trace, raising=False)
    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path / "cache"))
    kb = make_kb([("D1", "Disorders", ["cold"]), ("D2", "Disorders", ["asthma"])])
    kb.to_disk(tmp_path / "kb")
    tiny_llama().save(tmp_path / "model")
    nlp = spacy.blank("en")
    settings = {"kb": str(tmp_path / "kb"), "store_kb": False}
    nlp.add_pipe("bel_dictionary", config=settings)
    nlp.add_pipe("longbel_linker", config={**settings, "model": str(tmp_path / "model")})
    nlp.to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_prompts_are_printed_in_colours(bel, linking, tmp_path):
    note = write(tmp_path / "note.txt", "A cold and asthma.")
    result = bel("explain", note, "-p", linking)
    assert result.exit_code == 0, result.output
    first, second = COLOURS.sub("", result.stdout).strip().split("\n\n### Context")
    assert "A [cold] and asthma." in first
    assert first.endswith("[cold]{Disorders} → cold (D1)")
    assert second.endswith("[asthma]{Disorders} → asthma (D2)")
    assert "Explained 2 mentions." in result.stderr


def test_a_page_of_chosen_mentions(bel, linking, tmp_path):
    note = write(tmp_path / "note.txt", "A cold <b> and asthma.")
    page = tmp_path / "page.html"
    result = bel("explain", note, "-p", linking, "--mention", "ASTHMA", "-o", page)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    text = "".join(Page(page.read_text(encoding="utf-8")).text)
    assert "asthma → asthma (D2)" in text
    assert "cold → " not in text
    assert "A cold <b> and [asthma]." in text
    assert bel("explain", note, "-p", linking, "-o", page).exit_code == 1


def test_failures_are_reported_and_the_others_go_on(bel, linking, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    write(notes / "a.txt", "A cold will explode.")
    write(notes / "b.txt", "Then asthma.")
    result = bel("explain", notes, "-p", linking)
    assert result.exit_code == 1
    assert "it exploded" in result.stderr
    assert "asthma (D2)" in result.stdout


def test_pipelines_that_generate_nothing_are_named(bel, pipeline, tmp_path, linking, monkeypatch):
    note = write(tmp_path / "note.txt", "A cold.")
    result = bel("explain", note, "-p", pipeline)
    assert result.exit_code == 1
    assert "longbel_linker" in result.stderr
    assert bel("explain", tmp_path / "no.txt", "-p", linking).exit_code == 1
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    result = bel("explain", note, "-p", linking, "--method", "integrated_gradients")
    assert result.exit_code == 1
    assert "spacy-bel[saliency]" in result.stderr
