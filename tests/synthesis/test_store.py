"""Answers on disk."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.synthesis import Answer, AnswerStore, GenerationError, Request
from spacy_bel.synthesis.base import Message

TEXTS = st.text(st.characters(), max_size=40)


def request(text="u", attempt=0):
    return Request("C:1", (Message("system", "s"), Message("user", text)), attempt)


@given(
    st.lists(
        st.tuples(TEXTS, st.integers(0, 2), TEXTS, st.one_of(st.none(), st.integers(0, 99))),
        max_size=8,
        unique_by=lambda row: row[:2],
    ),
    st.integers(0, 10_000),
)
def test_what_was_added_is_found_after_any_cut(tmp_path_factory, rows, cut):
    path = tmp_path_factory.mktemp("store") / "answers.jsonl"
    answers = {
        request(text, attempt): Answer(answer, tokens, tokens, "stop")
        for text, attempt, answer, tokens in rows
    }
    with AnswerStore(path, "m", {"t": 1}) as store:
        for asked, answer in answers.items():
            assert store.get(asked) is None
            store.add(asked, answer, 100)
            assert store.get(asked) == answer
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole))])
    kept = path.read_bytes().count(b"\n")
    with AnswerStore(path, "m", {"t": 1}) as store:
        # A cut may leave the last line whole but for its end.
        found = [asked for asked in answers if asked in store]
        assert found == list(answers)[: len(found)] and len(found) - kept in (0, 1)
        for asked, answer in answers.items():
            if asked not in store:
                store.add(asked, answer, 100)
        assert {asked: store.get(asked) for asked in answers} == answers
    with AnswerStore(path, "m", {"t": 1}, read_only=True) as store:
        assert {asked: store.get(asked) for asked in answers} == answers
        assert store.damaged <= 1 and store.usage.answers == len(answers)


def test_keys(tmp_path):
    with AnswerStore(tmp_path / "a", "m", {"t": 1}) as store:
        store.add(request(), Answer("x", 1, 2), 9)
        assert request() in store
        assert request(attempt=1) not in store and request("v") not in store
    for model, sampling in (("n", {"t": 1}), ("m", {"t": 2})):
        with AnswerStore(tmp_path / "a", model, sampling) as store:
            assert request() not in store
            assert store.usage.answers == (model == "m")


def test_usage_counts_what_is_not_known_as_the_most_it_can_be(tmp_path):
    for _ in range(2):
        with AnswerStore(tmp_path / "a", "m", {}) as store:
            if not store.usage.answers:
                store.add(request(), Answer("x", 10, 2), 9)
                store.add(request("ä"), Answer("y"), 9)
                store.add_lost(request("w"), 9)
            usage = store.usage
            assert (usage.answers, usage.uncounted, usage.lost) == (2, 1, 1)
            # Three or two bytes of messages, and what a template may put around each.
            assert usage.prompt_tokens == 10 + (3 + 32) + (2 + 32)
            assert usage.completion_tokens == 2 + 9 + 9
            assert request("w") not in store
            assert store.get(request("ä")) == Answer("y")


def test_lines_that_are_no_answers_are_passed_over(tmp_path):
    path = tmp_path / "a"
    with AnswerStore(path, "m", {}) as store:
        store.add(request(), Answer("x", 1, 1), 9)
    whole = json.loads(path.read_text())
    bad = [b"\xff\xfe", b"[]", b"{}", b"[" * 100_000, json.dumps({**whole, "text": 3}).encode()]
    path.write_bytes(b"\n".join([*bad, b"", path.read_bytes()]))
    with AnswerStore(path, "m", {}) as store:
        assert store.damaged == len(bad) and store.get(request()) == Answer("x", 1, 1)
        assert store.usage.answers == 1


def test_nothing_to_read(tmp_path):
    with pytest.raises(GenerationError, match="no answers at"):
        AnswerStore(tmp_path / "none", "m", {}, read_only=True)
