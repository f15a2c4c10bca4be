"""`longbel_linker` with several formats and models, whose rankings become one."""

from __future__ import annotations

import pickle
import shutil

import pytest
import spacy

from spacy_bel.errors import SettingsError
from spacy_bel.longbel.engine import Engine
from spacy_bel.longbel.ensemble import EnsembleEngine

from .conftest import tiny_llama
from .helpers import links, make_engine, marked


@pytest.fixture(scope="module")
def other():
    return tiny_llama(7)


@pytest.fixture(scope="module")
def other_dir(other, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "other"
    other.save(path)
    return path


@pytest.fixture
def members(other_dir):
    """Formats of two kinds of trie, one of them before that of the component."""
    return [
        {"prompt": "long"},
        {"prompt": "hybrid_long"},
        {"prompt": "short", "model": str(other_dir)},
    ]


def test_it_is_what_engines_made_by_hand_are(make_nlp, llama, other, kb, members):
    nlp = make_nlp(ensemble=members)
    linker = nlp.get_pipe("longbel_linker")
    read = linker.mark(marked(nlp))
    document = linker.document_of(read, linker.read_mentions(read))
    engines = [
        make_engine(llama, kb, "long"),
        make_engine(llama, kb, "hybrid_long"),
        make_engine(other, kb, "short"),
    ]
    (wanted,) = EnsembleEngine(engines).link([document])
    doc = nlp(marked(nlp))
    for ent, best in zip(doc.ents, wanted, strict=True):
        assert ent.kb_id_ == best[0].code
        # Ranks alone count, so that scores are the same to the last digit.
        assert ent._.kb_candidates == best[:5]
    assert any(ent._.kb_candidates[0].score < 1 for ent in doc.ents)


def test_reports_add_up(make_nlp, members):
    nlp = make_nlp(ensemble=members)
    list(nlp.pipe([marked(nlp), marked(nlp, "A cold.", [("cold", "Disorders")])]))
    linker = nlp.get_pipe("longbel_linker")
    parts = [member.report for member in linker.engine.members]
    assert [part.mentions for part in parts] == [4, 4, 4] and linker.report.mentions == 12
    assert linker.report.prompt_tokens == sum(part.prompt_tokens for part in parts)


def test_equal_parts_are_shared(make_nlp, model_dir, other_dir):
    nlp = make_nlp(
        ensemble=[
            {"prompt": "short"},
            {"prompt": "hybrid_long"},
            {"prompt": "long"},
            {"prompt": "hybrid_short", "model": str(model_dir)},
            {"prompt": "short", "model": str(other_dir)},
            {"prompt": "long", "model": str(other_dir)},
        ]
    )
    linker = nlp.get_pipe("longbel_linker")
    linker.prepare()
    a, b, c, same, d, e = linker.engine.members
    assert a.model is b.model is c.model is same.model is linker.language_model
    assert d.model is e.model is not a.model
    # Tries: by tokenizer, which the models have in common, and by what ends a name.
    assert a.trie is b.trie is same.trie is d.trie
    assert c.trie is e.trie is not a.trie


def test_the_threshold_is_one_of_agreement(make_nlp):
    """No member sees it: were it one on likelihoods, nothing would enter their memory."""
    members = [{"prompt": "hybrid_long"}, {"prompt": "short"}]
    free, strict = make_nlp(ensemble=members), make_nlp(ensemble=members, threshold=1.0)
    expected, found = (nlp(marked(nlp)) for nlp in (free, strict))
    for one, other in zip(expected.ents, found.ents, strict=True):
        assert one._.kb_candidates == other._.kb_candidates
        best = one._.kb_candidates[0]
        assert other.kb_id_ == (best.code if best.score == 1 else "NIL")


def test_a_saved_pipeline_needs_none_of_its_models(make_nlp, tmp_path, model_dir, other, members):
    own, second = tmp_path / "own", tmp_path / "second"
    shutil.copytree(model_dir, own)
    other.save(second)
    members[2]["model"] = str(second)
    nlp = make_nlp(model=str(own), ensemble=members)
    expected = links(nlp(marked(nlp)))
    nlp.to_disk(tmp_path / "pipeline")
    for path in (own, second, tmp_path / "cache"):
        shutil.rmtree(path)
    (tmp_path / "pipeline").rename(tmp_path / "moved")
    for _ in range(2):
        read = spacy.load(tmp_path / "moved")
        assert links(read(marked(read))) == expected
        read.to_disk(tmp_path / "moved")  # over itself
    elsewhere = make_nlp(kb="nowhere", model="./nowhere", ensemble=members)
    elsewhere.from_bytes(read.to_bytes())
    assert links(elsewhere(marked(elsewhere))) == expected


def test_bytes(make_nlp, members):
    nlp = make_nlp(ensemble=members)
    expected = links(nlp(marked(nlp)))
    settings = [*members[:2], {**members[2], "model": "./elsewhere"}]
    read = make_nlp(kb="nowhere", model="./nowhere", ensemble=settings)
    read.from_bytes(nlp.to_bytes())
    assert links(read(marked(read))) == expected


def test_other_processes(make_nlp, members):
    nlp = make_nlp(ensemble=members)
    expected = [row[:3] for row in links(nlp(marked(nlp)))]
    for doc in nlp.pipe([marked(nlp) for _ in range(3)], n_process=2, batch_size=1):
        assert [row[:3] for row in links(doc)] == expected
    # As started processes get it, which share nothing with this one.
    linker = pickle.loads(pickle.dumps(nlp.get_pipe("longbel_linker")))
    assert [row[:3] for row in links(linker(marked(nlp)))] == expected


def test_a_document_that_one_member_cannot_link(make_nlp, members, monkeypatch):
    nlp = make_nlp(ensemble=members)
    linker = nlp.get_pipe("longbel_linker")
    linker.prepare()
    encode = linker.engine.members[2].tokenizer.encode

    def failing(text):
        if "boom" in text:
            raise ValueError("boom")
        return encode(text)

    monkeypatch.setattr(linker.engine.members[2].tokenizer, "encode", failing)
    failed = []
    nlp.set_error_handler(lambda name, proc, docs, error: failed.append(docs[0].text))
    texts = ["A cold.", "A cold, boom.", "That cold.", "Boom: boom, a cold.", "No cold."]
    docs = [marked(nlp, text, [("cold", "Disorders")]) for text in texts]
    assert [doc.text for doc in nlp.pipe(docs)] == [texts[0], texts[2], texts[4]]
    assert failed == [texts[1], texts[3]]


def test_candidates_of_a_retriever_reach_every_member(make_nlp, kb_dir):
    settings = {"num_beams": 1, "score": "probability", "max_candidates": 50}
    members = [{"prompt": "short"}, {"prompt": "hybrid_long"}]

    def found(candidates):
        nlp = make_nlp(ensemble=members, candidates=candidates, **settings)
        nlp.add_pipe("bel_retriever", config={"kb": str(kb_dir)}, first=True)
        return [ent._.kb_candidates for ent in nlp(marked(nlp)).ents]

    for few, more in zip(found(0), found(5), strict=True):
        assert {c.code for c in few} < {c.code for c in more}
        assert max(c.score for c in more) <= 1


def test_as_many_candidates_are_kept_as_are_asked_for(make_nlp, other_dir):
    """Members find different names: together more than any of them has beams."""
    settings = {"num_beams": 2, "prompt": "short", "max_candidates": 50}
    nlp = make_nlp(ensemble=[{}, {"model": str(other_dir)}], **settings)
    doc = nlp(marked(nlp))
    alone = [make_nlp(**settings), make_nlp(**{**settings, "model": str(other_dir)})]
    docs = [one(marked(one)) for one in alone]
    for i, ent in enumerate(doc.ents):
        codes = {c.code for other in docs for c in other.ents[i]._.kb_candidates}
        assert {c.code for c in ent._.kb_candidates} == codes
    assert max(len(ent._.kb_candidates) for ent in doc.ents) > 2


def test_what_needs_a_single_engine_says_so(make_nlp, members):
    nlp = make_nlp(ensemble=members, score="probability")
    linker = nlp.get_pipe("longbel_linker")
    for call in (lambda: linker.sample([]), lambda: linker.calibrate([])):
        with pytest.raises(SettingsError, match="longbel_linker is an ensemble"):
            call()
    one = make_nlp().get_pipe("longbel_linker")
    assert isinstance(one.single_engine("this"), Engine)
