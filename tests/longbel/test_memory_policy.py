"""Which earlier links a prompt shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.errors import SettingsError
from spacy_bel.longbel.document import MemoryEntry
from spacy_bel.longbel.memory_policy import (
    AllLinks,
    ConfidentLinks,
    RecentLinks,
    memory_beside,
    memory_policy,
)
from spacy_bel.longbel.prompts import get_prompt

from .helpers import MENTIONS, TEXT, make_document

COLD, MI, ACHE = (
    MemoryEntry("cold", "Disorders", "common cold"),
    MemoryEntry("MI", "Disorders", "heart attack"),
    MemoryEntry("headache", "Disorders", "cephalalgia"),
)
OTHER_COLD = MemoryEntry("cold", "Phenomena", "low temperature")

made = st.lists(
    st.tuples(
        st.builds(MemoryEntry, st.sampled_from("ab"), st.just("g"), st.sampled_from("xy")),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    ),
    max_size=12,
)


def split(links):
    return [entry for entry, _ in links], [score for _, score in links]


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        (AllLinks(), [0, 1, 2, 3, 4]),
        (AllLinks(repeats=False), [0, 1, 3, 4]),
        (RecentLinks(2), [3, 4]),
        (RecentLinks(4), [1, 2, 3, 4]),
        (RecentLinks(3, repeats=False), [2, 3, 4]),
        (RecentLinks(9, repeats=False), [1, 2, 3, 4]),
        (ConfidentLinks(1), [2]),
        (ConfidentLinks(3), [0, 2, 4]),  # of 0.5 and 0.5 the later one
        (ConfidentLinks(3, repeats=False), [1, 2, 4]),
        (ConfidentLinks(9), [0, 1, 2, 3, 4]),
    ],
)
def test_links_are_chosen_and_stay_in_order(policy, shown):
    entries = [COLD, MI, COLD, OTHER_COLD, ACHE]
    assert policy.select(entries, [0.7, 0.5, 0.9, 0.1, 0.5]) == shown
    assert policy.select([], []) == []


@given(made, st.booleans())
def test_a_prompt_with_all_links_only_grows(links, repeats):
    entries, scores = split(links)
    policy, prompt = AllLinks(repeats), get_prompt("long")
    document = make_document(TEXT, MENTIONS)
    (mention, *_), context = document.mentions, prompt.context(document, document.mentions[0], None)
    before = None
    for n in range(len(entries) + 1):
        shown = [entries[i] for i in policy.select(entries[:n], scores[:n])]
        text = prompt.assemble(context, shown, mention)
        stream = text[: text.rindex("[")]
        assert before is None or stream.startswith(before)
        before = stream


@given(made, st.integers(1, 6), st.booleans())
def test_recent_links_are_the_end_of_all(links, size, repeats):
    entries, scores = split(links)
    shown = RecentLinks(size, repeats).select(entries, scores)
    kept = [
        i for i in range(len(entries)) if repeats or entries[i] not in entries[i + 1 :]
    ]  # without repeats the last of equal ones
    assert shown == kept[-size:]


@given(made, st.integers(1, 6), st.booleans())
def test_no_link_left_out_is_more_confident_than_one_that_is_shown(links, size, repeats):
    entries, scores = split(links)
    shown = ConfidentLinks(size, repeats).select(entries, scores)
    assert shown == sorted(set(shown))
    distinct = len(entries) if repeats else len(set(entries))
    assert len(shown) == min(size, distinct)
    left_out = set(range(len(entries))) - set(shown)
    if not repeats:
        assert len({entries[i] for i in shown}) == len(shown)
        # What is shown once may be left out elsewhere, but not where it scored higher.
        for i in left_out:
            same = [j for j in shown if entries[j] == entries[i]]
            assert all((scores[j], j) > (scores[i], i) for j in same)
        left_out = {i for i in left_out if entries[i] not in {entries[j] for j in shown}}
    assert all((scores[i], i) < (scores[j], j) for i in left_out for j in shown)


def test_a_second_pass_shows_the_links_of_all_other_mentions():
    entries, scores = [COLD, None, MI, COLD, ACHE], [0.9, 0.0, 0.5, 0.8, 0.7]
    assert memory_beside(entries, scores, 2, AllLinks()) == [COLD, COLD, ACHE]
    assert memory_beside(entries, scores, 1, AllLinks()) == [COLD, MI, COLD, ACHE]
    assert memory_beside(entries, scores, 0, AllLinks()) == [MI, COLD, ACHE]
    assert memory_beside([None, None], [0.0, 0.0], 0, AllLinks()) == []
    assert memory_beside([COLD], [1.0], 0, AllLinks()) == []


def test_a_second_pass_chooses_among_all_other_links():
    entries, scores = [COLD, OTHER_COLD, MI, None, ACHE], [0.9, 0.2, 0.5, 0.0, 0.7]
    # The most recent ones before mention 2 are 1 and 0, then those that end the pass before.
    assert memory_beside(entries, scores, 2, RecentLinks(1)) == [OTHER_COLD]
    assert memory_beside(entries, scores, 2, RecentLinks(3)) == [COLD, OTHER_COLD, ACHE]
    assert memory_beside(entries, scores, 1, RecentLinks(2)) == [COLD, ACHE]
    assert memory_beside(entries, scores, 1, ConfidentLinks(2)) == [COLD, ACHE]
    assert memory_beside(entries, scores, 0, ConfidentLinks(2)) == [MI, ACHE]


@given(st.lists(st.none() | st.sampled_from([COLD, MI, ACHE]), min_size=1, max_size=8), st.data())
def test_a_mention_never_sees_its_own_link_again(entries, data):
    index = data.draw(st.integers(0, len(entries) - 1))
    own = MemoryEntry("own", "g", "own")
    scores = [1.0] * len(entries)
    shown = memory_beside(
        [own if i == index else entry for i, entry in enumerate(entries)],
        scores,
        index,
        AllLinks(),
    )
    assert shown == [e for i, e in enumerate(entries) if i != index and e is not None]


def test_settings_make_policies():
    assert memory_policy() == AllLinks()
    assert memory_policy(repeats=False) == AllLinks(repeats=False)
    assert memory_policy("recent", 5) == RecentLinks(5)
    assert memory_policy("confident", 1, repeats=False) == ConfidentLinks(1, repeats=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("some", 3), "use 'all', 'recent' or 'confident'"),
        (("all", 3), "leave memory_size out"),
        (("recent", None), "needs memory_size"),
        (("confident", 0), "use a prompt without"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, message):
    with pytest.raises(SettingsError, match=message):
        memory_policy(*settings)
