"""`bel calibrate`."""

import json

import pytest
import spacy

from spacy_bel.calibration import expected_calibration_error
from spacy_bel.corpora.docbin import write_docbin
from tests.crossencoder.samples import write_model
from tests.crossencoder.tiny_pipelines import WITH_NIL, make_nlp, records, write_kb

NAME = "bel_crossencoder"
BARE = [(text, [(surface, gold, []) for surface, gold, _ in rows]) for text, rows in WITH_NIL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    write_kb(path / "kb")
    write_model(path / "encoder", "bert")
    for name, texts in (("dev", WITH_NIL * 3), ("bare", BARE), ("none", [("no mention", [])])):
        with (path / f"{name}.spacy").open("wb") as stream:
            write_docbin(records(texts), stream, spacy.blank("en"))
    return path


@pytest.fixture
def pipeline(folder, tmp_path):
    make_nlp(folder / "kb", folder / "encoder").to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def top(nlp):
    """The candidate of a mention that is put first, and its score."""
    doc = nlp.make_doc("acute MI on chronic")
    doc.ents = [doc.char_span(6, 8, label="Disorders")]
    doc.ents[0]._.kb_candidates = [("D5", "", 0.9), ("D1", "", 0.4)]
    return nlp(doc).ents[0]._.kb_candidates[0]


def test_fitted_values_are_stored(bel, folder, pipeline):
    before = top(spacy.load(pipeline))
    result = bel("calibrate", pipeline, folder / "dev.spacy", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    nlp = spacy.load(pipeline)
    cfg = nlp.get_pipe(NAME).cfg
    assert found["component"] == NAME and found["calibration"].keys() == {
        "temperature", "retriever_weight", "bias"
    }  # fmt: skip
    assert {key: cfg[key] for key in found["calibration"]} == pytest.approx(found["calibration"])
    assert cfg["spans_key"] is None
    assert top(nlp).score != pytest.approx(before.score)
    first, then = found["before"], found["after"]
    assert first["mentions"] == then["mentions"] == 21
    assert then["mean probability"] != pytest.approx(first["mean probability"])
    # Nothing is left over beside it.
    assert [path.name for path in pipeline.parent.iterdir()] == ["pipeline"]


def test_no_word_of_the_corpus_is_stored(bel, folder, pipeline):
    before = (pipeline / "vocab" / "strings.json").read_text()
    assert bel("calibrate", pipeline, folder / "dev.spacy").exit_code == 0
    assert (pipeline / "vocab" / "strings.json").read_text() == before and "chronic" not in before


def test_figures_are_those_of_the_pipeline(bel, folder, pipeline):
    """Recall, and what was said of first candidates, counted by hand from a corpus read anew."""
    found = json.loads(bel("calibrate", pipeline, folder / "dev.spacy", "--json").stdout)
    nlp = spacy.load(pipeline)
    reader = spacy.registry.readers.get("spacy_bel.Corpus.v1")(str(folder / "dev.spacy"))
    said, right = [], []
    for example in reader(nlp):
        doc = nlp(example.predicted)
        for ent, gold in zip(doc.ents, example.reference.ents, strict=True):
            said.append(ent._.kb_candidates[0].score)
            right.append(ent._.kb_candidates[0].code == gold.kb_id_)
    assert found["after"]["recall@1"] == pytest.approx(sum(right) / len(right))
    assert found["after"]["mean probability"] == pytest.approx(sum(said) / len(said), abs=1e-5)
    error = expected_calibration_error(said, right)
    assert found["after"]["ece"] == pytest.approx(error, abs=1e-4)


def test_another_directory_and_a_table(bel, folder, pipeline, tmp_path):
    before = top(spacy.load(pipeline))
    arguments = ("calibrate", pipeline, folder / "dev.spacy", "--output", tmp_path / "new")
    result = bel(*arguments)
    assert result.exit_code == 0, result.stderr
    for words in ("recall@1", "ece", "before", "after", "temperature", "retriever_weight"):
        assert words in result.stdout
    assert top(spacy.load(pipeline)) == before
    assert top(spacy.load(tmp_path / "new")).score != pytest.approx(before.score)
    again = bel(*arguments)
    assert again.exit_code == 1 and "exists already" in again.stderr
    assert bel(*arguments, "--force", "--no-retriever-scores").exit_code == 0
    assert spacy.load(tmp_path / "new").get_pipe(NAME).cfg["retriever_weight"] == 0


def test_components_before_it_give_what_the_corpus_lacks(bel, folder, tmp_path):
    nlp = make_nlp(folder / "kb", folder / "encoder")
    nlp.add_pipe("bel_dictionary", config={"kb": str(folder / "kb")}, first=True)
    nlp.add_pipe("bel_retriever", config={"kb": str(folder / "kb")}, before=NAME)
    nlp.to_disk(tmp_path / "pipeline")
    bare = bel("calibrate", tmp_path / "pipeline", folder / "bare.spacy", "--json", "-o",
               tmp_path / "new")  # fmt: skip
    assert bare.exit_code == 0, bare.stderr
    assert 3 <= json.loads(bare.stdout)["before"]["mentions"] <= 7
    result = bel("calibrate", tmp_path / "pipeline", folder / "dev.spacy", "--json", "--component",
                 NAME)  # fmt: skip
    assert json.loads(result.stdout)["before"]["mentions"] == 21


def test_nothing_is_written_if_there_is_nothing_to_fit(bel, folder, pipeline):
    before = sorted((f, f.stat().st_mtime_ns) for f in pipeline.rglob("*"))
    for corpus in ("none", "bare"):
        result = bel("calibrate", pipeline, folder / f"{corpus}.spacy")
        assert result.exit_code == 1 and "No mention" in result.stderr
    assert sorted((f, f.stat().st_mtime_ns) for f in pipeline.rglob("*")) == before


def test_what_cannot_be_calibrated(bel, folder, pipeline, tmp_path):
    def told(*arguments):
        result = bel("calibrate", *arguments)
        assert result.exit_code != 0
        return " ".join(result.stderr.replace("│", " ").split())

    dev = folder / "dev.spacy"
    assert "no component 'other'" in told(pipeline, dev, "--component", "other")
    assert "no file" in told(pipeline, dev, "--code", tmp_path / "no.py")
    assert "PIPELINE is no directory" in told("nowhere", dev)
    assert "Cannot load the pipeline" in told("nowhere", dev, "-o", tmp_path / "new")
    nlp = spacy.blank("en")
    nlp.add_pipe("bel_retriever", config={"kb": str(folder / "kb")})
    nlp.to_disk(tmp_path / "retriever")
    assert "has 0 components" in told(tmp_path / "retriever", dev)
    assert not (tmp_path / "new").exists()


def test_functions_of_the_pipeline(bel, folder, tmp_path):
    (tmp_path / "code.py").write_text(
        "from pathlib import Path\n"
        "import spacy\n"
        "(Path(__file__).parent / 'ran').touch()\n"
        "@spacy.registry.misc('tiny_kb_of_the_tests')\n"
        "def make(path: str):\n"
        "    from spacy_bel.kb import KnowledgeBase\n"
        "    return lambda: KnowledgeBase.from_disk(path)\n"
    )
    spacy.util.import_file("tiny_code", tmp_path / "code.py")
    nlp = make_nlp(
        {"@misc": "tiny_kb_of_the_tests", "path": str(folder / "kb")}, folder / "encoder"
    )
    nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "ran").unlink()
    arguments = ("calibrate", tmp_path / "pipeline", folder / "dev.spacy")
    assert bel(*arguments, "--code", tmp_path / "code.py").exit_code == 0
    assert (tmp_path / "ran").exists()
