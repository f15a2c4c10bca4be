"""`bel calibrate` of a pipeline that links by `longbel_linker`."""

import json

import pytest
import spacy

from spacy_bel.calibration import expected_calibration_error
from spacy_bel.candidates import Candidate
from spacy_bel.corpora.docbin import write_docbin
from spacy_bel.corpora.document import Annotation, CorpusDocument
from tests.longbel.conftest import make_kb, tiny_llama

NAME = "longbel_linker"
#: Of one length, so that none is improbable for its length alone.
NAMES = {"C1": "cold", "C2": "ache", "C3": "burn", "C4": "rash", "C5": "gout"}
MENTIONS = [("cold", "C1"), ("colds", "C1"), ("aches", "C2"), ("burn", "C3"), ("rush", "C4")]


def records(links):
    """Documents of one mention. links: whether it carries candidates, the right one mostly first.

    Names are left out, as formats do that have no place for them.
    """
    for number, (surface, code) in enumerate(MENTIONS * 4):
        first = "C5" if number % 7 == 6 else code
        order = [first, *sorted(NAMES.keys() - {first})]
        found = [Candidate(c, "", 0.9 - i / 10) for i, c in enumerate(order)] if links else []
        text = f"Case {number}: a {surface}."
        start = text.index(surface)
        mention = Annotation(
            start, start + len(surface), surface, "Disorders", [[code]], links=found
        )
        yield CorpusDocument(str(number), text, annotations=[mention])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    make_kb([(code, "Disorders", [name]) for code, name in NAMES.items()]).to_disk(path / "kb")
    tiny_llama(sharpness=0.3).save(path / "model")
    for name, links in (("dev", True), ("bare", False)):
        with (path / f"{name}.spacy").open("wb") as stream:
            write_docbin(records(links), stream, spacy.blank("en"))
    return path


@pytest.fixture
def save(folder, tmp_path):
    def save(**config):
        nlp = spacy.blank("en")
        nlp.add_pipe("bel_retriever", config={"kb": str(folder / "kb")})
        settings = {"kb": str(folder / "kb"), "model": str(folder / "model"), "prompt": "short"}
        fused = {"score": "probability", "candidates": 5, "num_beams": 2}
        nlp.add_pipe(NAME, config={**settings, **fused, **config})
        nlp.to_disk(tmp_path / "pipeline")
        return tmp_path / "pipeline"

    return save


def linked(nlp, folder):
    """Best candidates of the corpus by the linker, and whether each is right."""
    reader = spacy.registry.readers.get("spacy_bel.Corpus.v1")(str(folder / "dev.spacy"))
    linker, found = nlp.get_pipe(NAME), []
    for example in reader(nlp):
        for ent, gold in zip(linker(example.predicted).ents, example.reference.ents, strict=True):
            best = ent._.kb_candidates[0]
            found.append((best.score, best.code == gold.kb_id_))
    return found


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_fitted_is_stored_and_what_the_figures_say(bel, folder, save, overwrite):
    pipeline = save(overwrite=overwrite)
    before = linked(spacy.load(pipeline), folder)
    result = bel("calibrate", pipeline, folder / "dev.spacy", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["component"] == NAME
    assert found["calibration"].keys() == {"temperature", "retriever_weight"}
    assert found["calibration"]["retriever_weight"] > 1
    nlp = spacy.load(pipeline)
    cfg = nlp.get_pipe(NAME).cfg
    assert {key: cfg[key] for key in found["calibration"]} == pytest.approx(
        found["calibration"], rel=1e-4
    )
    # The mentions of a corpus were read for a while; the config says what it said.
    assert cfg["overwrite"] is overwrite and cfg["spans_key"] is None
    for figures, rows in ((found["before"], before), (found["after"], linked(nlp, folder))):
        said, right = zip(*rows, strict=True)
        assert figures["mentions"] == len(rows) == 20
        assert figures["recall@1"] == pytest.approx(sum(right) / len(right))
        assert figures["mean probability"] == pytest.approx(sum(said) / len(said), abs=1e-4)
        error = expected_calibration_error(said, right)
        assert figures["ece"] == pytest.approx(error, abs=1e-3)
    # The retriever knows what the model, which was taught nothing, does not.
    assert found["after"]["recall@1"] > found["before"]["recall@1"]
    assert [path.name for path in pipeline.parent.glob("pipe*")] == ["pipeline"]


def test_without_the_scores_of_the_retriever(bel, folder, save, tmp_path):
    """Candidates that the corpus lacks are those of the component before."""
    pipeline, target = save(), tmp_path / "new"
    arguments = ("calibrate", pipeline, folder / "bare.spacy", "-o", target)
    result = bel(*arguments, "--no-retriever-scores", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    fitted = found["calibration"]
    assert fitted["retriever_weight"] == 0 and fitted["temperature"] != 1
    cfg = spacy.load(target).get_pipe(NAME).cfg
    assert cfg["temperature"] == pytest.approx(fitted["temperature"])
    assert spacy.load(pipeline).get_pipe(NAME).cfg["temperature"] == 1
    # A temperature alone leaves the order as it is.
    assert found["before"]["recall@1"] == found["after"]["recall@1"]
    assert found["before"]["mentions"] == 20


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"score": "likelihood", "candidates": 0}, "set score = 'probability'"),
        ({"ensemble": [{"prompt": "short"}, {"prompt": "mention"}]}, "is an ensemble"),
    ],
)
def test_scores_that_are_no_probabilities(bel, folder, save, config, reason):
    pipeline = save(**config)
    before = sorted((f, f.stat().st_mtime_ns) for f in pipeline.rglob("*"))
    result = bel("calibrate", pipeline, folder / "dev.spacy")
    assert result.exit_code == 1 and reason in result.stderr
    assert sorted((f, f.stat().st_mtime_ns) for f in pipeline.rglob("*")) == before
