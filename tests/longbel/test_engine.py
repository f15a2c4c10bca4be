"""The engine against `generate`, against brute force, and against itself in other arrangements."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.naive import link_documents, nested_trie
from spacy_bel.errors import ModelError
from spacy_bel.longbel.prompts import get_prompt

from .conftest import character_tokenizer, make_kb, tiny_gpt2, tiny_llama
from .helpers import make_document, make_engine, names_of

DOCUMENTS = [
    make_document(
        "Admitted with a heart attak.\nNo cold, but head pains and a hart attack again.",
        [
            ("heart attak", "Disorders"),
            ("cold", "Phenomena"),
            ("head pains", "Disorders"),
            ("hart attack", "Disorders"),
        ],
        sentences=[(0, 28), (29, 77)],
    ),
    make_document("Severe asthma.", [("asthma", "Disorders")]),
    make_document("Nothing to see here.", []),
    make_document(
        "Cold hands; sinus headache. The [sinus] headache {grew} worse in shock.",
        [
            ("Cold", "Phenomena"),
            ("sinus headache", "Disorders"),
            ("shock", "Phenomena"),
        ],
        passages=[(0, 27), (28, 71)],
    ),
]


def naive(model, kb, documents, prompt, num_beams, **settings):
    chosen = get_prompt(prompt)
    end = getattr(model.tokenizer, chosen.end_token)
    tries = {}
    for group in kb.groups:
        names = [kb.name(i) for c in kb if group in kb[c].groups for i in _name_ids(kb, c)]
        tries[group] = nested_trie(model.tokenizer, names, end)
    return link_documents(
        model.model,
        model.tokenizer,
        documents,
        tries,
        chosen,
        end,
        num_beams=num_beams,
        batch_size=1,
        **settings,
    )


def _name_ids(kb, code):
    concept = kb.concept_id(code)
    return kb.alias_names[kb.alias_concepts == concept]


@pytest.mark.parametrize(
    "prompt", ["short", "hybrid_short", "hybrid_medium", "hybrid_long", "long"]
)
@pytest.mark.parametrize("make_model", [tiny_llama, tiny_gpt2])
def test_equals_plain_generate(make_model, kb, prompt):
    model = make_model(seed=3)
    engine = make_engine(model, kb, prompt, num_beams=5, batch_size=3)
    expected = naive(model, kb, DOCUMENTS, prompt, num_beams=5)
    compared = 0
    for links, wanted in zip(engine.generate(DOCUMENTS), expected, strict=True):
        for hypotheses, names in zip(links, wanted, strict=True):
            got = names_of(engine, hypotheses)
            assert [{kb.name(i) for i in ids} for ids, _ in got] == [{name} for name, _ in names]
            assert [s for _, s in got] == pytest.approx([s for _, s in names], rel=1e-3)
            compared += 1
    assert compared == 8


@pytest.mark.parametrize("penalty", [0.0, 0.5, 2.0])
def test_length_penalty_equals_that_of_generate(llama, kb, penalty):
    engine = make_engine(llama, kb, "short", length_penalty=penalty)
    expected = naive(llama, kb, DOCUMENTS, "short", num_beams=5, length_penalty=penalty)
    for links, wanted in zip(engine.generate(DOCUMENTS), expected, strict=True):
        for hypotheses, names in zip(links, wanted, strict=True):
            got = names_of(engine, hypotheses)
            assert [{kb.name(i) for i in ids} for ids, _ in got] == [{name} for name, _ in names]
            assert [s for _, s in got] == pytest.approx([s for _, s in names], rel=1e-3)


def sequence_scores(model, text, names):
    """Length-normalised likelihood of each name after a prompt, each read on its own."""
    tokenizer, end = model.tokenizer, model.tokenizer.eos_token_id
    prompt = tokenizer(text)["input_ids"]
    scores = {}
    for name in names:
        ids = [*tokenizer(f"}} {name}", add_special_tokens=False)["input_ids"][1:], end]
        with torch.no_grad():
            logits = model.model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
        steps = logits[len(prompt) - 1 : -1].gather(1, torch.tensor(ids)[:, None])
        scores[name] = math.exp(steps.double().mean().item())
    return scores


name_lists = st.lists(
    st.text(alphabet="abc é", min_size=1, max_size=6).map(str.strip).filter(bool),
    min_size=1,
    max_size=12,
    unique=True,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=name_lists, seed=st.integers(0, 5))
def test_as_many_beams_as_names_is_brute_force(names, seed):
    model = tiny_llama(seed)
    kb = make_kb([(f"C{i}", "Group", [name]) for i, name in enumerate(names)])
    engine = make_engine(model, kb, "short", num_beams=len(names))
    document = make_document("Seen: abc.", [("abc", "Group")])
    (links,) = engine.link([document])
    text = "### Context\nSeen: [abc].\n\n### Prediction\n[abc]{Group}"
    expected = sequence_scores(model, text, names)
    got = {candidate.name: candidate.score for candidate in links[0]}
    assert got.keys() == expected.keys()
    assert got == pytest.approx(expected, rel=1e-4)
    best = max(expected.values())
    assert links[0][0].score == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("prompt", ["short", "hybrid_long", "long", "mention"])
def test_results_do_not_depend_on_batch_size_order_or_reuse(llama, kb, prompt):
    def links(documents, **settings):
        return list(make_engine(llama, kb, prompt, **settings).link(documents))

    expected = links(DOCUMENTS, batch_size=1, reuse_prefix=False)
    for size in (1, 2, 7):
        same_links(links(DOCUMENTS, batch_size=size), expected)
    same_links(links(DOCUMENTS[::-1], batch_size=2)[::-1], expected)


def same_links(got, expected):
    assert [[[c.code for c in m] for m in d] for d in got] == [
        [[c.code for c in m] for m in d] for d in expected
    ]
    for document, wanted in zip(got, expected, strict=True):
        for mention, candidates in zip(document, wanted, strict=True):
            assert [c.score for c in mention] == pytest.approx(
                [c.score for c in candidates], rel=1e-4
            )


def test_prefix_reuse_reads_less(llama, kb):
    engine = make_engine(llama, kb, "long", batch_size=1)
    list(engine.link(DOCUMENTS))
    plain = make_engine(llama, kb, "long", batch_size=1, reuse_prefix=False)
    list(plain.link(DOCUMENTS))
    assert engine.report.read_tokens < plain.report.read_tokens == plain.report.prompt_tokens


def test_equal_prompts_are_answered_once(llama, kb):
    text = "Asthma. Asthma."
    document = make_document(text, [("Asthma", "Disorders"), ("Asthma", "Disorders")])
    engine = make_engine(llama, kb, "mention", batch_size=1)
    first, second = engine.link([document, document])
    assert first == second and first[0] == first[1]
    once = make_engine(llama, kb, "mention", batch_size=1)
    list(once.link([make_document("Asthma", [("Asthma", "Disorders")])]))
    assert engine.report.forward_passes == once.report.forward_passes
    assert engine.report.mentions == 4


def test_memory_holds_the_links_before(llama, kb):
    seen = []
    engine = make_engine(llama, kb, "hybrid_long", batch_size=2)
    encode = engine.tokenizer.encode
    engine.tokenizer.encode = lambda text: seen.append(text) or encode(text)
    (links,) = engine.link(DOCUMENTS[:1])
    prompts = [text for text in seen if text.startswith("### Context")]
    assert "### Previous Normalizations\nNone\n" in prompts[0]
    first, second = links[0][0].name, links[1][0].name
    assert (
        f"### Previous Normalizations\n[heart attak]{{Disorders}} {first}\n"
        f"[cold]{{Phenomena}} {second}\n\n### Prediction\n[head pains]{{Disorders}}"
    ) in prompts[2]


def test_rejected_links_stay_out_of_memory(llama, kb):
    seen = []
    engine = make_engine(llama, kb, "hybrid_long", accept=lambda candidate: False)
    encode = engine.tokenizer.encode
    engine.tokenizer.encode = lambda text: seen.append(text) or encode(text)
    list(engine.link(DOCUMENTS[:1]))
    assert all("### Previous Normalizations\nNone" in t for t in seen if "### Context" in t)


def test_only_names_of_the_group_are_generated(llama, kb):
    engine = make_engine(llama, kb, num_beams=20)
    (links,) = engine.link([make_document("cold", [("cold", "Phenomena")])])
    assert {c.code for c in links[0]} == {"P1", "P2"}


def test_every_name_is_reachable_and_nothing_else(llama, kb):
    engine = make_engine(llama, kb, num_beams=40)
    (links,) = engine.generate([make_document("x", [("x", "Disorders")])])
    got = {kb.name(i) for ids, _ in names_of(engine, links[0]) for i in ids}
    assert got == {n for c in kb if "Disorders" in kb[c].groups for n in kb[c].names}


def test_homonyms_give_every_concept(llama, kb):
    engine = make_engine(llama, kb, num_beams=40)
    (links,) = engine.link([make_document("MI", [("MI", "Disorders")])])
    with_name = {c.code for c in links[0]}
    assert {"D1", "D6"} <= with_name


@pytest.mark.parametrize(("prompt", "expected"), [("hybrid_short", "D6"), ("short", "D1")])
def test_memory_tells_homonyms_apart(llama, prompt, expected):
    homonyms = make_kb([("D1", "Disorders", ["MI"]), ("D6", ["Disorders", "Valves"], ["MI"])])
    engine = make_engine(llama, homonyms, prompt)
    mentions = [("insufficiency", "Valves"), ("MI", "Disorders")]
    (links,) = engine.link([make_document("Mitral insufficiency, that is MI.", mentions)])
    assert [c.code for c in links[0]] == ["D6"]
    assert {c.code for c in links[1]} == {"D1", "D6"} and links[1][0].code == expected


def test_names_that_tokenise_alike_lose_nothing(llama):
    kb = make_kb([("A", "G", ["a [b]"]), ("B", "G", ["a (b)"]), ("C", "G", ["other"])])
    engine = make_engine(llama, kb, num_beams=3)
    (links,) = engine.link([make_document("x", [("x", "G")])])
    assert {(c.code, c.name) for c in links[0]} == {
        ("A", "a [b]"),
        ("B", "a (b)"),
        ("C", "other"),
    }


def test_a_stream_is_read_lazily(llama, kb):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield DOCUMENTS[1]

    results = make_engine(llama, kb, "short", batch_size=2).link(endless())
    for _ in range(20):
        assert next(results)[0]
    assert len(taken) < 20 + 10


def test_one_bad_document_leaves_the_others(llama, kb):
    bad = make_document("x", [("x", "No such group")])
    results = list(make_engine(llama, kb, batch_size=2).link([DOCUMENTS[1], bad, DOCUMENTS[1]]))
    assert isinstance(results[1], Exception)
    assert results[0] == results[2] and results[0][0]


def test_nan_is_a_named_error(kb):
    model = tiny_llama()
    with torch.no_grad():
        model.model.lm_head.weight[:] = float("nan")
    documents = [document for document in DOCUMENTS if document.mentions]
    results = list(make_engine(model, kb).link(documents))
    assert all(isinstance(result, ModelError) and "NaN" in str(result) for result in results)


def test_window_shorter_than_the_longest_name(kb):
    with pytest.raises(ModelError, match="longest name"):
        make_engine(tiny_llama(window=12), kb)


def test_tokenizer_without_separator_cannot_run_one_stream(kb):
    model = tiny_llama()
    model.tokenizer = character_tokenizer()
    model.tokenizer.sep_token = None
    with pytest.raises(ModelError, match="sep"):
        make_engine(model, kb, "long")
