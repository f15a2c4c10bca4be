"""`longbel_linker` beside a retriever: candidates of both, and scores that are probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from scipy.special import softmax
from spacy.cli.find_threshold import find_threshold
from spacy.tokens import DocBin, Span
from spacy.training import Example

from spacy_bel.candidates import Candidate
from spacy_bel.errors import SettingsError

from .conftest import make_kb, tiny_llama
from .helpers import marked

#: Names of one length: none is improbable for its length alone.
NAMES = {"C1": "cold", "C2": "ache", "C3": "burn", "C4": "rash", "C5": "gout", "C6": "itch"}
SURFACES = ["cold", "colt", "acne", "burns", "rush"]
FUSED = {"prompt": "short", "score": "probability", "candidates": 5, "max_candidates": 50}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    make_kb([(code, "Disorders", [name]) for code, name in NAMES.items()]).to_disk(folder / "kb")
    tiny_llama(sharpness=0.3).save(folder / "model")
    return {"kb": str(folder / "kb"), "model": str(folder / "model")}


@pytest.fixture
def make(make_nlp, paths):
    def make(retriever=False, **config):
        nlp = make_nlp(**{**paths, **FUSED, **config})
        if retriever:
            nlp.add_pipe("bel_retriever", config={"kb": paths["kb"]}, first=True)
        return nlp

    return make


def mention(nlp, surface, candidates=()):
    doc = marked(nlp, f"It was {surface}.", [(surface, "Disorders")])
    doc.ents[0]._.kb_candidates = candidates
    return doc


def candidates(nlp, surface, given=()):
    return nlp(mention(nlp, surface, given)).ents[0]._.kb_candidates


@pytest.fixture(scope="module")
def logs(paths):
    """Log-probability of every code, by a search that leaves nothing out."""
    nlp = spacy.blank("en")
    settings = {**paths, "prompt": "short", "num_beams": 64}
    linker = nlp.add_pipe("longbel_linker", config=settings)
    linker.prepare()
    found = {}
    for surface in SURFACES:
        read = linker.mark(mention(nlp, surface))
        ((hypotheses,),) = linker.engine.generate([linker.document_of(read, read.mentions)])
        trie, kb = linker.trie.trie, linker.kb
        names = [kb.name(int(trie.sequences_at(h.nodes[-1])[0])) for h in hypotheses]
        codes = {name: code for code, name in NAMES.items()}
        found[surface] = {
            codes[name]: h.log_probability for name, h in zip(names, hypotheses, strict=True)
        }
        assert len(found[surface]) == len(NAMES)
    return found


def gold_example(nlp, doc, code):
    reference = doc.copy()
    (ent,) = doc.ents
    reference.ents = [Span(reference, ent.start, ent.end, ent.label_, kb_id=code)]
    return Example(doc, reference)


def drawn(nlp, logs, temperature, weight, count=600):
    """Examples whose gold codes are drawn by the probabilities of a calibration.

    Of each surface there are three candidates, among them what one beam finds.
    """
    rng = np.random.default_rng(0)
    codes = {}
    for surface in SURFACES:
        (beam,) = (c.code for c in candidates(nlp, surface))
        codes[surface] = sorted([beam, *[code for code in NAMES if code != beam][:2]])
    for _ in range(count):
        surface = str(rng.choice(SURFACES))
        scores = dict(zip(codes[surface], rng.uniform(0, 1, 3), strict=True))
        given = [Candidate(code, NAMES[code], score) for code, score in scores.items()]
        z = [logs[surface][c] / temperature + weight * score for c, score in scores.items()]
        code = str(rng.choice(codes[surface], p=softmax(z)))
        yield gold_example(nlp, mention(nlp, surface, sorted(given, key=lambda c: -c.score)), code)


@pytest.mark.parametrize("surface", SURFACES)
def test_candidates_of_both_with_shares_of_one(make, logs, surface):
    """Shares in the model's probability, whichever of the two found the name."""
    beams = {c.code for c in candidates(make(num_beams=1, candidates=0), surface)}
    retriever = make(retriever=True)
    with retriever.select_pipes(enable="bel_retriever"):
        proposed = [c.code for c in candidates(retriever, surface)][:5]
    found = candidates(make(retriever=True, num_beams=1), surface)
    assert len(beams) == 1 and {c.code for c in found} == beams | set(proposed)
    expected = softmax([logs[surface][c.code] for c in found])
    assert [c.score for c in found] == pytest.approx(expected.tolist(), rel=1e-3)
    assert sum(c.score for c in found) == pytest.approx(1)


def test_only_so_many_candidates_are_scored(make):
    given = [Candidate(code, NAMES[code], 1 - i / 10) for i, code in enumerate(NAMES)]
    nlp = make(candidates=2, num_beams=1)
    beams = {c.code for c in candidates(make(num_beams=1, candidates=0), "cold")}
    assert {c.code for c in candidates(nlp, "cold", given)} == beams | {"C1", "C2"}
    # Codes that the knowledge base does not know are none; names it does not know do not matter.
    odd = [Candidate("Q1", "podagra", 0.9), Candidate("C5", "podagra", 0.8)]
    assert {c.code for c in candidates(nlp, "cold", odd)} == beams | {"C5"}


@pytest.mark.parametrize(("temperature", "weight"), [(0.5, 0.0), (2.0, 4.0)])
def test_what_made_the_data_is_found(make, logs, temperature, weight):
    nlp = make(num_beams=1)
    linker = nlp.get_pipe("longbel_linker")
    found = linker.calibrate(drawn(nlp, logs, temperature, weight))
    assert found["temperature"] == pytest.approx(temperature, rel=0.25)
    assert found["retriever_weight"] == pytest.approx(weight, abs=0.4)
    assert {key: linker.cfg[key] for key in found} == found
    # Probabilities are those of the calibration, by hand.
    (beam,) = (c.code for c in candidates(nlp, "cold"))
    others = [code for code in NAMES if code != beam][:3]
    scores = {**dict(zip(others, (0.8, 0.7, 0.5), strict=True)), beam: 0.3}
    ranked = candidates(nlp, "cold", [Candidate(c, NAMES[c], s) for c, s in scores.items()])
    z = [
        logs["cold"][c.code] / found["temperature"] + found["retriever_weight"] * scores[c.code]
        for c in ranked
    ]
    assert [c.score for c in ranked] == pytest.approx(softmax(z).tolist(), rel=1e-3)


def test_without_the_retriever_its_weight_is_none(make, logs):
    for config, options in (({}, {"use_retriever": False}), ({"candidates": 0}, {})):
        nlp = make(num_beams=1, **config)
        linker = nlp.get_pipe("longbel_linker")
        found = linker.calibrate(drawn(nlp, logs, 3.0, 4.0, 60), **options)
        assert found["retriever_weight"] == 0 and found["temperature"] > 0


def test_fitted_values_are_stored(make, logs, tmp_path):
    def said(nlp):
        return pytest.approx([c.score for c in candidates(nlp, "colt")], rel=1e-4)

    nlp = make(retriever=True, num_beams=2)
    plain = said(nlp)
    linker = nlp.get_pipe("longbel_linker")
    with nlp.select_pipes(enable="longbel_linker"):
        fitted = linker.calibrate(drawn(make(num_beams=1), logs, 2.0, 4.0, 200))
    expected = said(nlp)
    assert expected != plain.expected
    nlp.to_disk(tmp_path / "pipeline")
    read = spacy.load(tmp_path / "pipeline")
    assert said(read).expected == expected
    other = make(retriever=True, num_beams=2)
    assert said(other).expected == plain
    assert said(other.from_bytes(nlp.to_bytes())).expected == expected
    for pipeline in (read, other):
        cfg = pipeline.get_pipe("longbel_linker").cfg
        assert {key: cfg[key] for key in fitted} == pytest.approx(fitted)
        assert cfg["overwrite"] is True


def test_what_cannot_be_fitted(make):
    nlp = make(score="likelihood", candidates=0)
    with pytest.raises(SettingsError, match="set score = 'probability'"):
        nlp.get_pipe("longbel_linker").calibrate([])
    nlp = make()
    linker = nlp.get_pipe("longbel_linker")
    doc = mention(nlp, "cold")
    for examples in ([], [gold_example(nlp, doc, "Q1")], [gold_example(nlp, doc, "C1+C2")]):
        with pytest.raises(SettingsError, match="No mention to calibrate with"):
            linker.calibrate(examples)
    assert linker.cfg["temperature"] == 1 and linker.cfg["retriever_weight"] == 0


def test_spacy_finds_the_threshold(make, paths, tmp_path, capsys):
    """By the component's `cfg`, where spaCy's own command looks for it."""
    nlp = make(num_beams=5, candidates=0)
    nlp.add_pipe("bel_dictionary", config={"kb": paths["kb"]}, first=True)
    nlp.to_disk(tmp_path / "pipeline")
    best = {text: nlp(text).ents[0]._.kb_candidates[0] for text in ("The cold.", "A rash.")}
    right, wrong = sorted(best, key=lambda text: -best[text].score)
    assert best[right].score > best[wrong].score
    gold = []
    for text, code in ((right, best[right].code), (wrong, "Q1")):
        doc = nlp.make_doc(text)
        doc.ents = [Span(doc, 1, 2, "Disorders", kb_id=code)]
        gold.append(doc)
    DocBin(docs=gold).to_disk(tmp_path / "dev.spacy")
    _, _, scores = find_threshold(
        str(tmp_path / "pipeline"),
        tmp_path / "dev.spacy",
        "longbel_linker",
        "threshold",
        "bel_micro_p",
        n_trials=5,
    )
    # Precision by hand: of what is linked at a threshold, the first text alone is right.
    for threshold, found in scores.items():
        linked = [text for text in best if best[text].score >= threshold]
        assert found == pytest.approx((right in linked) / len(linked) if linked else 0)
    assert len(set(scores.values())) > 1
