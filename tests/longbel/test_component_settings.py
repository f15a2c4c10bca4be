"""`longbel_linker` by its settings, given in a config and read from a file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import spacy
from thinc.api import Config, ConfigValidationError

from spacy_bel.candidates import Candidate
from spacy_bel.errors import ModelError, SettingsError
from spacy_bel.longbel.document import Document
from spacy_bel.longbel.memory_policy import ConfidentLinks, RecentLinks
from spacy_bel.longbel.merging import Merging

from .conftest import tiny_llama
from .helpers import MENTIONS, TEXT, links, make_document, make_engine, marked
from .released import write_released

AGAIN = [*MENTIONS, ("Headache", "Disorders")]
RETRIEVED = [Candidate("D5", "asthma", 0.9), Candidate("D2", "cardiac failure", 0.4)]

#: Settings, and what an engine made by hand is given in their place.
SETTINGS = [
    ({"num_beams": 1}, {"num_beams": 1}),
    ({"decoding": "exact", "num_beams": 1}, {"decoding": "exact", "num_beams": 1}),
    ({"decoding": "free"}, {"decoding": "free"}),
    ({"length_penalty": 0.0}, {"length_penalty": 0.0}),
    ({"merge": "logsumexp"}, {"merging": Merging("logsumexp")}),
    ({"score": "probability"}, {"merging": Merging("max", "probability")}),
    (
        {"score": "probability", "candidates": 2},
        {"merging": Merging("max", "probability"), "candidates": 2},
    ),
    ({"memory": "recent", "memory_size": 1}, {"memory": RecentLinks(1)}),
    ({"memory": "confident", "memory_size": 2}, {"memory": ConfidentLinks(2)}),
    ({"passes": 2}, {"passes": 2}),
]


@pytest.fixture(scope="module")
def soft():
    """A model of which greedy, beam and exact search find different names best."""
    return tiny_llama(sharpness=0.3)


@pytest.fixture(scope="module")
def soft_dir(soft, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "soft"
    soft.save(path)
    return str(path)


def reread(nlp):
    """The same pipeline from the text of its config."""
    return spacy.util.load_model_from_config(Config().from_str(nlp.config.to_str()))


def prepared(nlp):
    """Every mention has candidates of a retriever."""
    doc = marked(nlp, TEXT, AGAIN)
    for ent in doc.ents:
        ent._.kb_candidates = RETRIEVED
    return doc


def prompts(nlp, doc):
    """The prompts that mentions were linked by in the last pass, in document order."""
    linker = nlp.get_pipe("longbel_linker")
    document = linker.document_of(linked := linker.mark(doc), linker.read_mentions(linked))
    (traces,) = linker.engine.trace([document])
    return ["".join(linker.engine.tokenizer.tokenizer.batch_decode(t.prompt)) for t in traces]


def shown(prompt):
    """Mentions whose links a prompt shows."""
    memory = prompt.partition("### Previous Normalizations\n")[2].partition("\n\n")[0]
    return [line[1:].partition("]")[0] for line in memory.split("\n") if line != "None"]


@pytest.mark.parametrize(("config", "expected"), SETTINGS, ids=lambda part: "+".join(part))
def test_settings_reach_the_engine_and_outlast_a_config_file(
    make_nlp, soft, soft_dir, kb, config, expected
):
    nlp = make_nlp(model=soft_dir, **config)
    document = make_document(TEXT, AGAIN)
    if "candidates" in config:
        mentions = [replace(m, retrieved=tuple(RETRIEVED)) for m in document.mentions]
        document = Document(document.passages, tuple(mentions), document.sentences)
    (wanted,) = make_engine(soft, kb, **expected).link([document])
    found = links(nlp(prepared(nlp)))
    for (_, _, code, candidates), best in zip(found, wanted, strict=True):
        assert [c[:2] for c in candidates] == [c[:2] for c in best[:5]]
        assert [c.score for c in candidates] == pytest.approx([c.score for c in best[:5]], 1e-3)
        assert code == (best[0].code if best else "NIL")
    again = reread(nlp)
    assert links(again(prepared(again))) == found
    written = again.config["components"]["longbel_linker"]
    assert {key: written[key] for key in config} == config


def test_searches_find_what_they_promise(make_nlp, soft_dir):
    def first(**config):
        nlp = make_nlp(model=soft_dir, **config)
        return nlp(marked(nlp)).ents[0]

    everything = first(num_beams=64)
    assert first(decoding="exact", num_beams=1).kb_id_ == everything.kb_id_
    assert first(num_beams=1).kb_id_ != everything.kb_id_
    # A model that was taught nothing writes nothing that is a name.
    free = first(decoding="free")
    assert free.kb_id_ == "NIL" and free._.kb_candidates == []


def test_probabilities_sum_to_one_and_meet_the_threshold(make_nlp, soft_dir):
    nlp = make_nlp(model=soft_dir, score="probability", max_candidates=50)
    doc = nlp(marked(nlp))
    for ent in doc.ents:
        assert sum(c.score for c in ent._.kb_candidates) == pytest.approx(1)
    lowest = min(ent._.kb_candidates[0].score for ent in doc.ents)
    assert lowest < 0.999
    strict = make_nlp(model=soft_dir, score="probability", threshold=(1 + lowest) / 2)
    for ent, free in zip(strict(marked(strict)).ents, doc.ents, strict=True):
        best = ent._.kb_candidates[0]
        assert ent.kb_id_ == (best.code if best.score >= (1 + lowest) / 2 else "NIL")
        assert free.kb_id_ == free._.kb_candidates[0].code
    assert any(ent.kb_id_ == "NIL" for ent in strict(marked(strict)).ents)


def test_names_of_a_concept_count_together(make_nlp, soft_dir):
    best, both = (make_nlp(model=soft_dir, merge=m, num_beams=64) for m in ("max", "logsumexp"))
    for one, other in zip(best(marked(best)).ents, both(marked(both)).ents, strict=True):
        alone = {c.code: c.score for c in one._.kb_candidates}
        together = {c.code: c.score for c in other._.kb_candidates}
        assert all(together[code] >= alone[code] * (1 - 1e-9) for code in alone & together.keys())
        assert any(together[code] > alone[code] * 1.01 for code in alone & together.keys())


def test_memory_shows_what_the_settings_say(make_nlp):
    headache, attack, cold, _ = (mention for mention, _ in AGAIN)

    def memory(**config):
        nlp = reread(make_nlp(prompt="hybrid_long", **config))
        return [shown(prompt) for prompt in prompts(nlp, marked(nlp, TEXT, AGAIN))]

    assert memory() == [[], [headache], [headache, attack], [headache, attack, cold]]
    assert memory(memory="recent", memory_size=1) == [[], [headache], [attack], [cold]]
    most = memory(memory="confident", memory_size=2)
    assert most[:3] == memory()[:3] and len(most[3]) == 2
    assert memory(passes=2)[0] == [attack, cold, "Headache"]
    # With a threshold that nothing meets there is nothing to remember.
    assert memory(threshold=1.1) == [[], [], [], []]


def test_another_prompt_can_be_set_on_a_loaded_pipeline(make_nlp, tmp_path):
    """One that ends names otherwise: the names that are stored do not fit it."""
    make_nlp(prompt="hybrid_long").to_disk(tmp_path / "pipeline")
    read = spacy.load(tmp_path / "pipeline")
    read.get_pipe("longbel_linker").set_prompt("long")
    other = make_nlp(prompt="long")
    assert links(read(marked(read))) == links(other(marked(other)))
    # A config that goes before what was set finds names for its own prompt, too.
    read.to_disk(tmp_path / "again")
    plain, again = make_nlp(prompt="hybrid_long"), spacy.load(tmp_path / "again")
    assert links(again(marked(again))) == links(plain(marked(plain)))


def test_repeated_links_are_shown_once(make_nlp):
    def last(**config):
        nlp = make_nlp(prompt="hybrid_long", **config)
        mentions = [("cold", "Disorders")] * 3
        return shown(prompts(nlp, marked(nlp, "A cold, a cold, a cold.", mentions))[-1])

    assert last() == ["cold", "cold"]
    assert last(memory_repeats=False) == ["cold"]


def test_composites(make_nlp, tmp_path):
    directory = write_released(tmp_path / "checkpoint", seed=1)
    nlp = reread(make_nlp(model=str(directory), composites=True, num_beams=8, kb=None))
    plain = make_nlp(model=str(directory), num_beams=8, kb=None)

    def codes(nlp):
        return {c.code for ent in nlp(marked(nlp)).ents for c in ent._.kb_candidates}

    assert any("+" in code for code in codes(nlp))
    assert not any("+" in code for code in codes(plain))
    without = make_nlp(composites=True)
    with pytest.raises(ModelError, match="no '<.>'.*composites=False"):
        without(marked(without))


@pytest.mark.parametrize(
    ("config", "fix"),
    [
        ({"candidates": 3}, "score='probability'"),
        ({"candidates": 3, "score": "probability", "decoding": "free"}, "candidates=0"),
        ({"composites": True, "decoding": "exact"}, "composites=False"),
        ({"memory_size": 3}, "memory='recent' or 'confident', or leave memory_size out"),
        ({"memory": "recent"}, "needs memory_size"),
        ({"memory": "confident", "memory_size": 0}, "needs memory_size"),
        ({"ensemble": []}, "give at least one"),
        ({"ensemble": [{"format": "short"}]}, "use prompt and model"),
        ({"ensemble": [{"prompt": "short"}, {"prompt": "short"}]}, "leave one out"),
    ],
)
def test_settings_that_do_not_go_together(make_nlp, config, fix):
    with pytest.raises(SettingsError, match=fix):
        make_nlp(**config)


@pytest.mark.parametrize(
    "config",
    [{"decoding": "best"}, {"passes": 3}, {"merge": "mean"}, {"memory": "none"}, {"compat": "all"}],
)
def test_unknown_choices_are_told_by_their_setting(make_nlp, config):
    with pytest.raises(ConfigValidationError, match=next(iter(config))):
        make_nlp(**config)


def test_a_document_that_cannot_be_read_disturbs_no_other(make_nlp):
    nlp = make_nlp(score="probability", candidates=3, batch_size=2)
    failed = []
    nlp.set_error_handler(lambda name, proc, docs, error: failed.extend(d.text for d in docs))
    texts = [f"Cold number {number}." for number in range(9)]
    docs = [marked(nlp, text, [("Cold", "Disorders")]) for text in texts]
    for number in (0, 4, 8):
        # Candidates that another program has written, without scores.
        columns = {"Disorders\t": [["D1"], ["cold"]]}
        docs[number].user_data["._.", "kb_candidates", 0, 4] = columns
    found = list(nlp.pipe(docs))
    assert failed == [texts[0], texts[4], texts[8]]
    assert [doc.text for doc in found] == [t for t in texts if t not in failed]
    for doc in found:
        alone = nlp(marked(nlp, doc.text, [("Cold", "Disorders")]))
        assert [e.kb_id_ for e in doc.ents] == [e.kb_id_ for e in alone.ents]


def test_candidates_without_names_are_told_apart(make_nlp):
    """Equal prompts with other candidates have other answers."""
    nlp = make_nlp(prompt="mention", score="probability", candidates=1, num_beams=1, batch_size=1)

    def doc(code):
        doc = marked(nlp, "A cold.", [("cold", "Disorders")])
        doc.ents[0]._.kb_candidates = [(code, "", 1.0)]
        return doc

    codes = ["D5", "D3", "D2"]
    for code, found in zip(codes, nlp.pipe(map(doc, codes)), strict=True):
        assert code in {c.code for c in found.ents[0]._.kb_candidates}


def test_short_forms_are_written_out(make_nlp):
    text = "Severe heart attak (HA) came first. HA again, and a cold."
    mentions = [("heart attak", "Disorders"), ("HA", "Disorders"), ("HA", "Disorders")]
    nlp = make_nlp(prompt="hybrid_long", abbreviations=True)
    linker = nlp.get_pipe("longbel_linker")
    marked_doc = linker.mark(marked(nlp, text, mentions))
    document = linker.document_of(marked_doc, linker.read_mentions(marked_doc))
    assert [m.text for m in document.mentions] == ["heart attak"] * 3
    assert [(m.start, m.end) for m in document.mentions] == [(7, 18), (20, 22), (36, 38)]
    # The context stays as it was written, and equal prompts have equal answers.
    prompt = linker.prompt.assemble(
        linker.prompt.context(document, document.mentions[2], None), (), document.mentions[2]
    )
    assert "first. [HA] again" in prompt and prompt.endswith("[heart attak]{Disorders}")
    plain = make_nlp(prompt="mention", abbreviations=True)
    doc = plain(marked(plain, text, mentions))
    assert len({ent.kb_id_ for ent in doc.ents}) == 1
