"""What prompts show of other links: policies, second readings, links that stand, candidates."""

from __future__ import annotations

import dataclasses

import pytest

from spacy_bel.candidates import Candidate
from spacy_bel.longbel.document import MemoryEntry
from spacy_bel.longbel.memory_policy import AllLinks, ConfidentLinks, RecentLinks
from spacy_bel.longbel.merging import Merging

from .conftest import tiny_llama
from .disturbed import (
    Disturbed,
    all_names,
    memory_of,
    plain_log_probability,
    prompt_texts,
)
from .helpers import make_document, make_engine
from .test_engine import DOCUMENTS, same_links

NOTE = make_document(
    "Cold, a headache, MI, cold again, shock, MI.",
    [
        ("Cold", "Phenomena"),
        ("headache", "Disorders"),
        ("MI", "Disorders"),
        ("cold", "Phenomena"),
        ("shock", "Phenomena"),
        ("MI", "Disorders"),
    ],
)


def lines_of(document, links):
    """The line of every mention, as memory shows it."""
    return [
        f"[{mention.text}]{{{mention.group}}} {candidates[0].name}"
        for mention, candidates in zip(document.mentions, links, strict=True)
    ]


def expected_recent(lines, scores):
    return lines[-2:]


def expected_confident(lines, scores):
    best = sorted(range(len(lines)), key=lambda i: (-scores[i], -i))[:2]
    return [lines[i] for i in sorted(best)]


def expected_first(lines, scores):
    return list(dict.fromkeys(lines))


def expected_last(lines, scores):
    return list(dict.fromkeys(lines[::-1]))[:2][::-1]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (AllLinks(), lambda lines, scores: lines),
        (AllLinks(repeats=False), expected_first),
        (RecentLinks(2), expected_recent),
        (RecentLinks(2, repeats=False), expected_last),
        (ConfidentLinks(2), expected_confident),
    ],
)
@pytest.mark.parametrize("seed", [0, 2])
def test_prompts_show_what_the_policy_chooses(kb, policy, expected, seed):
    model = tiny_llama(seed)
    engine = make_engine(model, kb, "hybrid_long", memory=policy)
    (links,) = engine.link([NOTE])
    lines, scores = lines_of(NOTE, links), [candidates[0].score for candidates in links]
    for i, prompt in enumerate(prompt_texts(engine, NOTE)):
        assert memory_of(prompt) == expected(lines[:i], scores[:i])


@pytest.mark.parametrize(
    ("prompt", "policy"),
    [
        ("hybrid_long", RecentLinks(1)),
        ("long", ConfidentLinks(2)),
        ("incremental", AllLinks(repeats=False)),
    ],
)
def test_lines_that_go_are_not_read_on(llama, kb, prompt, policy):
    def links(**settings):
        engine = make_engine(llama, kb, prompt, memory=policy, **settings)
        return list(engine.link([NOTE, DOCUMENTS[0]]))

    same_links(links(batch_size=3), links(batch_size=1, reuse_prefix=False, read_ahead=False))


@pytest.mark.parametrize(
    ("prompt", "window"), [("hybrid_long", 150), ("long", 210), ("incremental", 210)]
)
def test_lines_that_the_window_drops(kb, prompt, window):
    model = tiny_llama(window=window)

    def linked(**settings):
        engine = make_engine(model, kb, prompt, **settings)
        return engine, list(engine.link([NOTE, NOTE]))

    engine, links = linked()
    assert engine.report.memory_trimmed > 0
    same_links(links, linked(batch_size=1, reuse_prefix=False, read_ahead=False)[1])


def test_a_second_reading_shows_the_links_of_all_other_mentions(kb):
    model = tiny_llama(11)
    once = make_engine(model, kb, "hybrid_long")
    twice = make_engine(model, kb, "hybrid_long", passes=2, batch_size=2)
    documents = [NOTE, *DOCUMENTS[1:]]
    first, second = list(once.link(documents)), list(twice.link(documents))
    for document, before, after in zip(documents, first, second, strict=True):
        if len(document.mentions) < 2:
            same_links([after], [before])
            continue
        old, new = lines_of(document, before), lines_of(document, after)
        for i, prompt in enumerate(prompt_texts(twice, document)):
            assert memory_of(prompt) == [*new[:i], *old[i + 1 :]]
    assert any(
        lines_of(d, a) != lines_of(d, b) for d, a, b in zip(documents, first, second, strict=True)
    )


def test_a_second_reading_depends_on_nothing_else(llama, kb):
    def links(prompt, **settings):
        return list(make_engine(llama, kb, prompt, passes=2, **settings).link([NOTE, DOCUMENTS[3]]))

    for prompt in ("hybrid_long", "incremental"):
        plain = links(prompt, batch_size=1, reuse_prefix=False, read_ahead=False)
        same_links(links(prompt, batch_size=3), plain)
    without = make_engine(llama, kb, "short", batch_size=3)
    same_links(links("short"), list(without.link([NOTE, DOCUMENTS[3]])))


def test_what_is_no_longer_accepted_leaves_memory(kb):
    """Accepted in the first reading only: nobody sees it in the second."""
    model, judged = tiny_llama(5), []

    def accept(candidate):
        judged.append(candidate)
        return len(judged) <= len(NOTE.mentions)

    engine = make_engine(model, kb, "hybrid_long", passes=2, accept=accept)
    once = make_engine(model, kb, "hybrid_long")
    lines = lines_of(NOTE, next(once.link([NOTE])))
    for i, prompt in enumerate(prompt_texts(engine, NOTE)):
        assert memory_of(prompt) == lines[i + 1 :]


@pytest.mark.parametrize("passes", [1, 2])
def test_every_mention_is_counted_once(llama, kb, passes):
    engine = make_engine(llama, kb, "hybrid_long", passes=passes)
    list(engine.link([pinned(NOTE, {1: PINNED}), DOCUMENTS[1]]))
    assert (engine.report.mentions, engine.report.pinned) == (6, 1)


PINNED = Candidate("D4", "Cephalgia of old", 1.0)


def pinned(document, links):
    mentions = [
        dataclasses.replace(mention, pinned=links.get(i))
        for i, mention in enumerate(document.mentions)
    ]
    return dataclasses.replace(document, mentions=tuple(mentions))


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("accepted", [True, False])
def test_links_that_stand_are_shown_and_not_made(llama, kb, passes, accepted):
    document = pinned(NOTE, {1: PINNED, 4: Candidate("P2", "shock", 1.0)})
    engine = make_engine(llama, kb, "hybrid_long", passes=passes, accept=lambda candidate: accepted)
    (links,) = engine.link([document])
    assert links[1] == [PINNED]
    assert links[4] == [Candidate("P2", "shock", 1.0)]
    (traces,) = engine.trace([document])
    assert traces[1].hypotheses == traces[1].prompt == []
    shown = memory_of(llama.tokenizer.decode(traces[5].prompt))
    assert "[headache]{Disorders} Cephalgia of old" in shown
    assert len(shown) == (5 if accepted else 2)


@pytest.mark.parametrize("prompt", ["hybrid_long", "short"])
def test_nothing_is_read_where_all_links_stand(llama, kb, prompt):
    def read(model, segments, cache):
        raise AssertionError("There is nothing to read.")

    document = pinned(NOTE, dict.fromkeys(range(6), PINNED))
    engine = make_engine(Disturbed(llama, read), kb, prompt)
    assert list(engine.link([document, document])) == [[[PINNED]] * 6] * 2
    assert engine.report.pinned == 12
    assert engine.report.forward_passes == 0


def test_links_that_stand_change_only_what_follows_them(llama, kb):
    """A mention behind reads the prompt it would read had the link been made."""
    memory = [MemoryEntry("Cold", "Phenomena", "Cephalgia of old")]
    engine = make_engine(llama, kb, "hybrid_long")
    text = prompt_texts(engine, pinned(NOTE, {0: PINNED}))[1]
    context = engine.prompt.context(NOTE, NOTE.mentions[1], None)
    assert text == "<s>" + engine.prompt.assemble(context, memory, NOTE.mentions[1])


RETRIEVED = (
    Candidate("D5", "asthma", 0.9),
    Candidate("D1", "no name at all", 0.8),  # thus by the preferred name
    Candidate("D4", "cephalalgia", 0.7),
    Candidate("X9", "unknown", 0.6),
    Candidate("D6", "MI", 0.5),
)


def fused(retrieved, text="A headache.", mention="headache"):
    document = make_document(text, [(mention, "Disorders")])
    mentions = (dataclasses.replace(document.mentions[0], retrieved=tuple(retrieved)),)
    return dataclasses.replace(document, mentions=mentions)


def fusing(model, kb, prompt="hybrid_long", candidates=4, **settings):
    merging = Merging(score="probability")
    return make_engine(
        model, kb, prompt, candidates=candidates, merging=merging, num_beams=2, **settings
    )


@pytest.mark.parametrize("decoding", ["constrained", "exact"])
@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_scored_beside_what_is_generated(kb, seed, decoding):
    model = tiny_llama(seed)
    engine = fusing(model, kb, decoding=decoding)
    alone = make_engine(model, kb, "hybrid_long", num_beams=2, decoding=decoding)
    (traces,), (plain,) = engine.trace([fused(RETRIEVED)]), alone.trace([fused(())])
    found = {h.tokens: h.log_probability for h in traces[0].hypotheses}
    names = all_names(engine, ["Disorders"])
    wanted = {names[name] for name in ("asthma", kb["D1"].names[0], "cephalalgia")}
    assert set(found) == wanted | {h.tokens for h in plain[0].hypotheses}
    for tokens, log_probability in found.items():
        expected = plain_log_probability(model, traces[0].prompt, tokens)
        assert log_probability == pytest.approx(expected, rel=1e-4)


def test_answers_are_not_shared_between_mentions_with_other_candidates(llama, kb):
    documents = [
        fused(RETRIEVED[:1]),
        fused(RETRIEVED[2:3]),
        fused(()),
        fused([Candidate("D2", "nowhere", 0.9)]),
        fused([Candidate("D3", "nowhere", 0.9)]),
    ]
    together = list(fusing(llama, kb, "mention", batch_size=1).link(documents))
    apart = [next(fusing(llama, kb, "mention").link([document])) for document in documents]
    same_links(together, apart)
    for links, code in zip(together, ["D5", "D4", None, "D2", "D3"], strict=True):
        assert code is None or code in {candidate.code for candidate in links[0]}


@pytest.mark.parametrize(
    ("prompt", "decoding"), [("hybrid_long", "constrained"), ("long", "exact")]
)
def test_fusion_does_not_depend_on_the_arrangement(llama, kb, prompt, decoding):
    documents = [
        dataclasses.replace(
            document,
            mentions=tuple(
                dataclasses.replace(mention, retrieved=RETRIEVED[i % 3 :])
                for i, mention in enumerate(document.mentions)
            ),
        )
        for document in [NOTE, DOCUMENTS[3]]
    ]

    def links(**settings):
        return list(fusing(llama, kb, prompt, decoding=decoding, **settings).link(documents))

    same_links(links(batch_size=3), links(batch_size=1, reuse_prefix=False, read_ahead=False))


def test_candidates_of_other_groups_give_nothing(llama, kb):
    (links,) = fusing(llama, kb).link([fused([Candidate("P1", "low temperature", 0.9)])])
    assert "P1" not in {candidate.code for candidate in links[0]}
