"""`bel_crossencoder` in a pipeline: candidates in another order, NIL, processes and disks."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import spacy
import torch
from scipy.special import softmax
from spacy.tokens import DocBin
from thinc.api import Adam
from transformers import AutoModelForTokenClassification, AutoTokenizer

from spacy_bel.calibration import Calibration
from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.crossencoder.component import CrossEncoderPipe
from spacy_bel.crossencoder.documents import to_document
from spacy_bel.errors import KnowledgeBaseError, ModelError, SettingsError

from .samples import LAYOUTS
from .tiny_pipelines import (
    CONCEPTS,
    TEXTS,
    WITH_NIL,
    links,
    make_nlp,
    samples,
    scores,
    train,
    write_kb,
)

NAME = "bel_crossencoder"


def docs_of(nlp, texts=WITH_NIL):
    return [example.predicted for example in samples(nlp, texts)]


def one(nlp, text="acute MI on chronic", surface="MI", candidates=("D1", "D5")):
    """A document with one mention and its candidates."""
    doc = nlp.make_doc(text)
    start = text.index(surface)
    span = doc.char_span(start, start + len(surface), label="Disorders")
    set_candidates(span, [Candidate(c, "", 1 / (i + 2)) for i, c in enumerate(candidates)])
    doc.ents = [span]
    return doc


@pytest.fixture(scope="module")
def trained(tmp_path_factory, kb_dir, encoder_dir):
    """Directories of trained pipelines by layout and attention."""
    found = {}

    def directory(layout, attention="block"):
        if (layout, attention) not in found:
            # Of many pairs in one input, candidates in any order take full attention many steps.
            shuffle = "never" if attention == "full" else "training"
            nlp = make_nlp(kb_dir, encoder_dir, layout=layout, attention=attention, shuffle=shuffle)
            nlp.initialize(lambda: samples(nlp, WITH_NIL))
            optimizer = Adam(0.003, L2=0.0, use_averages=False)
            losses = train(nlp, samples(nlp, WITH_NIL), steps=200, optimizer=optimizer, below=0.02)
            path = tmp_path_factory.mktemp("trained") / f"{layout}-{attention}"
            nlp.to_disk(path)
            found[layout, attention] = path, losses, nlp
        return found[layout, attention]

    return directory


EXPECTED = [(gold, codes) for _, rows in WITH_NIL for _, gold, codes in rows]


@pytest.mark.parametrize("attention", ["full", "block"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_learns_a_small_set_by_heart(trained, layout, attention):
    path, losses, nlp = trained(layout, attention)
    assert losses[-1] < 0.02 < losses[0]
    assert nlp.evaluate(samples(nlp, WITH_NIL))["bel_recall_at_1"] == 1.0
    docs = list(nlp.pipe(docs_of(nlp)))
    assert [code for code, _ in links(docs)] == [gold for gold, _ in EXPECTED]  # NIL, too
    for (_, found), (_, given) in zip(links(docs), EXPECTED, strict=True):
        assert sorted(found) == sorted(given)
    read = spacy.load(path)
    again = list(read.pipe(docs_of(read)))
    assert links(again) == links(docs) and scores(again) == pytest.approx(scores(docs), abs=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_processes(trained, layout):
    _, _, nlp = trained(layout)
    expected = list(nlp.pipe(docs_of(nlp)))
    docs = list(nlp.pipe(docs_of(nlp), n_process=2, batch_size=2))
    assert links(docs) == links(expected)
    assert scores(docs) == pytest.approx(scores(expected), abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_goes_on_where_it_ended(trained, layout, kb_dir, encoder_dir):
    half = make_nlp(kb_dir, encoder_dir, layout=layout)
    half.initialize(lambda: samples(half, WITH_NIL))
    optimizer = Adam(0.001, L2=0.0, use_averages=False)
    first = train(half, samples(half, WITH_NIL), steps=3, optimizer=optimizer)
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, source=half)
    optimizer = nlp.resume_training(sgd=Adam(0.001, L2=0.0, use_averages=False))
    assert list(nlp.pipe(docs_of(nlp)))
    more = train(nlp, samples(nlp, WITH_NIL), steps=200, optimizer=optimizer, below=first[-1] / 3)
    assert more[0] < first[0] and more[-1] < first[-1] / 3


def test_scores_are_those_of_a_plain_forward(build, kb_dir, tmp_path):
    """In the layout "base": the softmax over the written pairs, and that of none of them."""
    nlp = build(layout="base", attention="full", repeat_mention=True)
    pipe = nlp.get_pipe(NAME)
    doc = one(nlp, candidates=["D5", "D3", "D1"])
    nlp(doc)
    pipe.engine.to_disk(tmp_path)
    model = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    logits = []
    for name in ("obstructive disease", "chronic ataxia", "heart attack", ""):
        text = f"acute MI on chronic{tokenizer.sep_token} MI{tokenizer.mask_token} {name}"
        encoded = tokenizer(text, return_tensors="pt")
        at = encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)
        with torch.no_grad():
            row = model(**{k: encoded[k] for k in ("input_ids", "attention_mask")}).logits[0, at]
        logits.append(float(row[1] - row[0]))
    shares = softmax(logits)
    assert len(set(np.round(shares, 4))) == 4
    expected = sorted(zip(shares[:3], ["D5", "D3", "D1"], strict=True), reverse=True)
    (ent,) = doc.ents
    assert [c.code for c in ent._.kb_candidates] == [code for _, code in expected]
    found = [c.score for c in ent._.kb_candidates]
    assert found == pytest.approx([share for share, _ in expected], abs=1e-5)
    assert ent.kb_id_ == ("NIL" if shares[3] > shares[:3].max() else expected[0][1])


def test_the_loss_is_that_of_the_probabilities(build):
    """Of a mention: the negative logarithm of what the right candidates are given."""
    for settings in ({}, {"objective": "pairwise"}, {"nil": False}):
        nlp = build(shuffle="never", **settings)
        nlp.initialize(lambda nlp=nlp: samples(nlp))
        expected = []
        for doc, (_, rows) in zip(nlp.pipe(docs_of(nlp, TEXTS)), TEXTS, strict=True):
            for ent, (_, gold, _) in zip(doc.ents, rows, strict=True):
                said = {c.code: c.score for c in ent._.kb_candidates}
                if settings.get("objective") == "pairwise":
                    each = [p if code == gold else 1 - p for code, p in said.items()]
                    expected.append(-np.mean(np.log(each)))
                else:
                    expected.append(-np.log(said[gold]))
        loss = nlp.update(samples(nlp), drop=0.0)[NAME]
        assert loss == pytest.approx(np.mean(expected), rel=1e-4)


def test_a_mention_without_candidates_stays_as_it_is(build):
    nlp = build()
    doc = one(nlp, candidates=())
    other = one(nlp, candidates=())
    other.ents = [spacy.tokens.Span(other, 1, 2, label="Disorders", kb_id="NIL")]
    assert links([nlp(doc)]) == [("", [])] and links([nlp(other)]) == [("NIL", [])]
    assert links([nlp(nlp.make_doc("")), nlp(nlp.make_doc("no mention"))]) == []
    assert nlp.get_pipe(NAME).report.pairs == 0


def test_a_single_candidate(build):
    without = build(nil=False)
    doc = without(one(without, candidates=["D1"]))
    assert links([doc]) == [("D1", ["D1"])] and scores([doc]) == [1.0]
    nlp = build()
    doc = nlp(one(nlp, candidates=["D1"]))
    assert 0 < scores([doc])[0] < 1
    assert links([doc]) == [("D1" if scores([doc])[0] >= 0.5 else "NIL", ["D1"])]


def test_what_is_not_read_follows_in_its_order(build):
    nlp = build(candidates=2, max_candidates=4)
    doc = nlp(one(nlp, candidates=["D3", "D1", "D5", "D2", "D4"]))
    (ent,) = doc.ents
    codes = [c.code for c in ent._.kb_candidates]
    assert set(codes[:2]) == {"D3", "D1"} and codes[2:] == ["D5", "D2"]
    assert [c.score for c in ent._.kb_candidates[2:]] == [0.0, 0.0]
    assert nlp.get_pipe(NAME).report.pairs == 3  # with that of "none of them"


@pytest.mark.parametrize("attention", ["full", "block"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_hundred_candidates(tmp_path, encoder_dir, layout, attention):
    """More than one input of 512 tokens holds: none is dropped."""
    from spacy_bel.kb import Concept, KnowledgeBaseBuilder

    builder = KnowledgeBaseBuilder("large")
    codes = [f"C{number}" for number in range(200)]
    for number, code in enumerate(codes):
        builder.add(
            Concept(
                code=code,
                names=(f"heart attack {number} on chronic renal failure",),
                groups=("Disorders",),
            )
        )
    builder.write(tmp_path / "kb")
    nlp = make_nlp(
        tmp_path / "kb", encoder_dir, layout=layout, attention=attention, candidates=200,
        max_candidates=200, input_tokens=None if attention == "full" else 1024,
    )  # fmt: skip
    doc = nlp(one(nlp, candidates=codes))
    found = doc.ents[0]._.kb_candidates
    assert {c.code for c in found} == set(codes) and min(c.score for c in found) > 0
    report = nlp.get_pipe(NAME).report
    assert report.pairs == 201 and (report.split > 0) == (layout != "base")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_context_longer_than_the_window(build, layout):
    nlp = build(layout=layout, max_length=64)
    text = "acute chronic " * 100 + "MI " + "renal failure " * 100
    doc = nlp(one(nlp, text, candidates=["D1", "D5"]))
    report = nlp.get_pipe(NAME).report
    assert report.windowed + report.shrunk > 0
    assert sorted(links([doc])[0][1]) == ["D1", "D5"] and min(scores([doc])) > 0


def test_candidates_of_another_terminology(build):
    nlp = build()
    failed = []
    nlp.set_error_handler(lambda name, proc, docs, error: failed.append((docs[0].text, error)))
    docs = [one(nlp, "A MI"), one(nlp, "No MI", candidates=["D1", "X9"]), one(nlp, "The MI")]
    assert [doc.text for doc in nlp.pipe(docs)] == ["A MI", "The MI"]
    ((text, error),) = failed
    assert text == "No MI" and isinstance(error, KnowledgeBaseError)
    assert "X9" in str(error) and "give bel_crossencoder the one of the retriever" in str(error)
    with pytest.raises(KnowledgeBaseError, match="X9"):
        nlp.update(samples(nlp, [("No MI", [("MI", "D1", ["D1", "X9"])])]))


def test_definitions_that_are_not_there(build, tmp_path):
    text = {"definition": True}
    nlp = build(candidate_text=text)
    with pytest.raises(SettingsError, match="knowledge base 'tiny' has none: build it from files"):
        nlp(one(nlp))
    with pytest.raises(SettingsError, match="asks for definitions"):
        nlp.initialize(lambda: samples(nlp))
    write_kb(tmp_path / "kb", definitions=True)
    with_them = build(kb=tmp_path / "kb", candidate_text=text)
    assert links([with_them(one(with_them))])


def test_an_encoder_without_mask_token(build, encoder_dir, tmp_path):
    shutil.copytree(encoder_dir, tmp_path / "copy")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = tmp_path / "copy" / name
        content = json.loads(file.read_text())
        content.pop("mask_token", None)
        file.write_text(json.dumps(content))
    nlp = build(encoder=tmp_path / "copy")
    with pytest.raises(ModelError, match="no mask token, at which scores are read"):
        nlp.initialize(lambda: samples(nlp))
    # It is no fault of the first document.
    nlp.set_error_handler(lambda *_: None)
    with pytest.raises(ModelError, match="no mask token"):
        list(nlp.pipe([one(nlp)]))


def test_a_checkpoint_of_another_layout(build, trained):
    path, _, _ = trained("document")
    with pytest.raises(ModelError, match="was trained with name='document', not 'base'"):
        nlp = build(encoder=path / NAME / "model", layout="base")
        nlp(one(nlp))
    nlp = build(encoder=path / NAME / "model", layout="document")
    assert links([nlp(one(nlp))])


def test_a_model_that_is_not_there(build):
    nlp = build(encoder="./nowhere")
    with pytest.raises(ModelError, match="no model directory './nowhere'|no model directory"):
        nlp(one(nlp))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": 0}, "candidates is 0: give 1 or more"),
        ({"batch_tokens": 0}, "batch_tokens is 0: give 1 or more"),
        ({"candidate_text": {"colour": 1}}, "Settings are name, synonyms, group and definition"),
        ({"candidate_text": {"name": "first"}}, "use 'preferred', 'matched' or 'both'"),
        ({"layout": "star"}, "name is 'star': use one of 'base', 'parallel'"),
        ({"objective": "triplet"}, "objective"),
        ({"shuffle": "sometimes"}, "shuffle"),
    ],
)
def test_settings_that_cannot_be_used(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
    if set(settings) & {"objective", "shuffle"}:  # spaCy has refused it before
        with pytest.raises(SettingsError, match=f"{message} is '.*': use one of"):
            CrossEncoderPipe(spacy.blank("en"), model=build().get_pipe(NAME).model, **settings)


def test_threshold_is_a_probability(build):
    nlp = build(nil=False)
    (ent,) = nlp(one(nlp)).ents
    best = ent._.kb_candidates[0]
    assert 0.5 <= best.score < 1 and ent.kb_id_ == best.code
    for threshold, code in ((best.score - 1e-4, best.code), (best.score + 1e-4, "NIL")):
        nlp.get_pipe(NAME).cfg["threshold"] = threshold
        (ent,) = nlp(one(nlp)).ents
        assert ent.kb_id_ == code and ent._.kb_candidates[0].code == best.code


def test_span_groups(build):
    nlp, plain = build(spans_key="mentions"), build()
    docs, expected = docs_of(nlp), list(plain.pipe(docs_of(plain)))
    for doc in docs:
        doc.ents = []
    found = [(s.kb_id_, s._.kb_candidates) for d in nlp.pipe(docs) for s in d.spans["mentions"]]
    assert [(c, [x.code for x in cs]) for c, cs in found] == links(expected)
    losses = nlp.update(samples(nlp))
    assert losses[NAME] > 0


def orders(nlp, monkeypatch):
    """The candidates of each input that the engine packs, in the order in which they are read."""
    engine, seen = nlp.get_pipe(NAME).engine, []
    pack = engine.pack

    def noted(documents, *, seed=None):
        inputs, report = pack(documents, seed=seed)
        seen.append([tuple(packed.pairs[:, 2]) for packed in inputs])
        return inputs, report

    monkeypatch.setattr(engine, "pack", noted)
    return seen


@pytest.mark.parametrize("shuffle", ["never", "training", "always"])
def test_the_order_in_which_candidates_are_read(build, monkeypatch, shuffle):
    nlp = build(layout="parallel", attention="full", shuffle=shuffle)
    example = samples(nlp, [("acute MI", [("MI", "D1", ["D1", "D2", "D3", "D4", "D5"])])])
    seen = orders(nlp, monkeypatch)
    for _ in range(4):
        nlp.update(example)
    in_training = len({str(order) for order in seen})
    seen.clear()
    found = []
    for _ in range(4):
        doc = nlp(example[0].predicted.copy())
        found.append(scores([doc]))
    in_use = len({str(order) for order in seen})
    assert (in_training > 1, in_use > 1) == {
        "never": (False, False), "training": (True, False), "always": (True, True)
    }[shuffle]  # fmt: skip
    if shuffle != "always":
        assert seen[0] == [(0, 1, 2, 3, 4, 5)] and found == [found[0]] * 4


def test_pair_wise(build):
    nlp = build(objective="pairwise", nil=True)
    nlp.initialize(lambda: samples(nlp, WITH_NIL))
    optimizer = Adam(0.003, L2=0.0, use_averages=False)
    losses = train(nlp, samples(nlp, WITH_NIL), steps=200, optimizer=optimizer, below=0.02)
    assert losses[-1] < 0.02
    nlp.get_pipe(NAME).cfg["threshold"] = 0.5
    docs = list(nlp.pipe(docs_of(nlp)))
    assert [code for code, _ in links(docs)] == [gold for gold, _ in EXPECTED]
    *_, nil = (ent for doc in docs for ent in doc.ents)
    assert max(c.score for c in nil._.kb_candidates) < 0.2  # each is wrong by itself


def surprise(docs):
    """Mean negative logarithm of the probability of what is right, or that nothing is."""
    found = []
    for ent, (gold, _) in zip((e for doc in docs for e in doc.ents), EXPECTED, strict=True):
        said = {c.code: c.score for c in ent._.kb_candidates}
        found.append(-np.log(1 - sum(said.values()) if gold == "NIL" else said[gold]))
    return np.mean(found)


def test_calibration(build, tmp_path):
    nlp = build(layout="document", attention="full")
    pipe = nlp.get_pipe(NAME)
    before = surprise(nlp.pipe(docs_of(nlp)))
    alone = pipe.calibrate(samples(nlp, WITH_NIL), use_retriever=False)
    assert alone["retriever_weight"] == 0.0
    found = pipe.calibrate(samples(nlp, WITH_NIL))
    assert set(found) == {"temperature", "retriever_weight", "bias"}
    assert dict(found) == {key: pipe.cfg[key] for key in found}
    after = list(nlp.pipe(docs_of(nlp)))
    assert surprise(after) < before
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert scores(again.pipe(docs_of(again))) == pytest.approx(scores(after), abs=1e-5)
    other = build(layout="document", attention="full")
    other.from_bytes(nlp.to_bytes())
    assert scores(other.pipe(docs_of(other))) == pytest.approx(scores(after), abs=1e-5)
    with pytest.raises(SettingsError, match="No mention to calibrate with"):
        pipe.calibrate(samples(nlp, [("no mention", [])]))


def test_calibration_reads_what_is_read_in_use(build, monkeypatch):
    """With full attention a mention of two concepts, which teaches nothing, bears on the others."""
    rows = [("MI", "D1", ["D5", "D1"]), ("chronic ataxia", "D3+D1", ["D3", "D1"])]
    texts = [("acute MI on chronic ataxia", rows)]
    nlp = build(layout="document", attention="full")
    judged = []

    def fit(mentions, objective, *, use_retriever):
        judged.extend(mentions)
        return Calibration()

    monkeypatch.setattr("spacy_bel.crossencoder.component.fit_calibration", fit)
    nlp.get_pipe(NAME).calibrate(samples(nlp, texts))
    (mention,) = judged
    assert mention.right.tolist() == [False, True]
    assert mention.retriever_scores.tolist() == pytest.approx([1.0, 0.5])
    (doc,) = nlp.pipe(docs_of(nlp, texts))
    said = {c.code: c.score for c in doc.ents[0]._.kb_candidates}
    shares = softmax(np.append(mention.logits, mention.nil))
    assert shares[:2].tolist() == pytest.approx([said["D5"], said["D1"]], abs=1e-6)
    alone = docs_of(nlp, [("acute MI on chronic ataxia", rows[:1])])
    assert scores(nlp.pipe(alone)) != pytest.approx(scores([doc])[:2], abs=1e-4)


def test_a_copy_for_another_process(trained):
    """Processes that are spawned get the component by pickle."""
    _, _, nlp = trained("document")
    pipe = nlp.get_pipe(NAME)
    pipe.cfg["temperature"] = 2.0
    copy = pickle.loads(pickle.dumps(pipe))
    pipe.cfg["temperature"] = 1.0
    assert copy.calibration.temperature == 2.0 and copy.name == NAME
    copy.cfg["temperature"] = 1.0
    found, expected = list(copy.pipe(docs_of(nlp))), list(pipe.pipe(docs_of(nlp)))
    assert links(found) == links(expected) and scores(found) == scores(expected)
    texts = samples(nlp, WITH_NIL)
    for example, doc in zip(texts, found, strict=True):
        example.predicted = doc
    assert copy.score(texts)["bel_recall_at_1"] == 1.0


def test_bytes_and_stored_documents(trained, build):
    _, _, nlp = trained("document")
    data = nlp.to_bytes()
    other = build(kb="nowhere", encoder="./nowhere", layout="document")
    other.from_bytes(data)
    docs = list(nlp.pipe(docs_of(nlp)))
    assert scores(other.pipe(docs_of(other))) == pytest.approx(scores(docs), abs=1e-6)
    stored = DocBin(docs=docs, store_user_data=True).to_bytes()
    read = list(DocBin().from_bytes(stored).get_docs(nlp.vocab))
    assert links(read) == links(docs) and scores(read) == scores(docs)


def test_disk_without_the_files_it_was_made_from(kb_dir, encoder_dir, tmp_path):
    shutil.copytree(kb_dir, tmp_path / "kb")
    shutil.copytree(encoder_dir, tmp_path / "encoder")
    nlp = make_nlp(tmp_path / "kb", tmp_path / "encoder")
    expected = scores(nlp.pipe(docs_of(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    for name in ("kb", "encoder"):
        shutil.rmtree(tmp_path / name)
    read = spacy.load(tmp_path / "pipeline")
    read.to_disk(tmp_path / "pipeline")  # over files that are in use
    assert scores(read.pipe(docs_of(read))) == pytest.approx(expected, abs=1e-6)
    (tmp_path / "pipeline").rename(tmp_path / "elsewhere")
    read = spacy.load(tmp_path / "elsewhere")
    assert scores(read.pipe(docs_of(read))) == pytest.approx(expected, abs=1e-6)
    weights = tmp_path / "elsewhere" / NAME / "model"
    assert (weights / "model.safetensors").is_file() and not list(weights.glob("*.bin"))


def test_documents_become_what_the_engine_reads():
    nlp = spacy.blank("en")
    doc = nlp.make_doc("A cold. No\ncold here")
    span = doc.char_span(11, 15, label="Disorders")
    plain = to_document(doc, [(span, ("a", ""))])
    assert plain.sentences == ((0, 8), (8, 20)) and plain.passages == ()
    (mention,) = plain.mentions
    assert (mention.start, mention.end, mention.text, mention.group) == (
        11,
        15,
        "cold",
        "Disorders",
    )
    assert mention.candidates == ("a", "")
    doc.spans["passages"] = [doc[6:], doc[:6]]
    starts = [p.start_char for p in doc.spans["passages"]]
    split = to_document(doc, [])
    assert [start for start, _ in split.passages] == sorted(starts)
    assert {start for start, _ in split.sentences} == {0, 8, *starts}
    for token in doc:
        token.is_sent_start = token.i == 0
    assert {start for start, _ in to_document(doc, []).sentences} == {0, *starts}
    empty = to_document(nlp.make_doc(""), [])
    assert (empty.text, empty.sentences) == ("", ())


def test_the_terminology_of_the_tests():
    """ "MI" is ambiguous: no name tells which concept is meant."""
    assert [code for code, names in CONCEPTS.items() if "MI" in names] == ["D1", "D5"]
