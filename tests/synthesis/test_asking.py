"""Nothing that was paid for is lost, and nothing is asked for twice."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter

import pytest

from spacy_bel.errors import NoSpaceError, SettingsError
from spacy_bel.synthesis import Answer, Budget, GenerationError, OpenAIGenerator, Patience, Prices
from spacy_bel.synthesis.store import AnswerStore
from tests.synthesis.conftest import NAMES, QUICK
from tests.synthesis.service import good_answer

SIX = [f"DIS:{i}" for i in range(6)]


def codes_of(documents):
    return Counter(document.annotations[0].codes[0][0] for document in documents)


def test_a_good_service_is_asked_once_a_concept(run, service):
    documents, report, asking = run()
    assert service.counts == dict.fromkeys(SIX, 1)
    assert codes_of(documents) == dict.fromkeys(SIX, 3)
    for document in documents:
        (mention,) = document.annotations
        assert document.text[mention.start : mention.end] == mention.text
        assert mention.type == "Diseases" and "[" not in document.text
    assert report["concepts"] == {
        "wanted": 6, "complete": 6, "partial": 0, "without_sentence": 0, "unanswered": 0,
    }  # fmt: skip
    # The bill is that of the service.
    assert report["paid"]["answers"] == sum(service.billed.values()) == asking.answers
    assert report["paid"]["prompt_tokens"] == service.prompt_tokens
    assert report["paid"]["completion_tokens"] == service.completion_tokens
    cost = (2 * service.prompt_tokens + 10 * service.completion_tokens) / 1e6
    assert report["paid"]["cost"] == pytest.approx(cost, abs=1e-6)
    assert run()[0] == documents and sum(service.counts.values()) == 6


def test_requests_run_side_by_side_up_to_the_limit(run, service):
    service.delay = 0.15
    run(in_flight=3)
    assert service.busiest == 3


def test_what_the_service_gets(run, service):
    run(["DIS:1"])
    (body,) = service.bodies
    assert {k: body[k] for k in ("model", "temperature", "top_p", "max_tokens")} == {
        "model": "m", "temperature": 0.6, "top_p": 0.9, "max_tokens": 300,
    }  # fmt: skip
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"].splitlines() == [
        "Code: DIS:1",
        "Title: Mumps",
        "Group: Diseases",
        "Definition: What doctors call mumps.",
        'Names: "Mumps", "Mumps disease"',
    ]


@pytest.mark.parametrize("trouble", ["drop", "cut", "hang", 429, 500, 503])
def test_passing_trouble_loses_nothing(run, service, trouble):
    status = ("status", trouble, {"Retry-After": "0.02"})

    def behave(code, times):
        bad = code in ("DIS:1", "DIS:4") and times <= 2
        return (trouble if isinstance(trouble, str) else status) if bad else good_answer(code)

    service.behave = behave
    documents, report, _ = run(timeout=0.4 if trouble == "hang" else 5.0)
    assert codes_of(documents) == dict.fromkeys(SIX, 3)
    assert service.counts == {code: 3 if code in ("DIS:1", "DIS:4") else 1 for code in SIX}
    # What may have been charged is told apart from what was answered.
    assert report["paid"]["answers"] == 6
    assert report["paid"]["lost"] == (0 if isinstance(trouble, int) else 4)
    if trouble != "drop":  # dropped before anything was made; the client cannot know
        billed = report["paid"]["answers"] + report["paid"]["lost"]
        assert billed == sum(service.billed.values())
    assert not report["failed"]["concepts"] and not report["stopped"]


def test_a_rate_limit_pauses_everybody(run, service):
    limited = []

    def behave(code, times):
        if code == "DIS:0" and times == 1:
            limited.append(time.monotonic())
            return ("status", 429, {"Retry-After": "0.5"})
        return good_answer(code)

    service.behave = behave
    documents, _, _ = run(in_flight=1)
    assert codes_of(documents) == dict.fromkeys(SIX, 3)
    later = [moment for moment in service.moments if moment > limited[0]]
    assert len(later) == 6 and min(later) - limited[0] >= 0.5


def test_a_rate_limit_is_no_failure_while_others_are_answered(run, service):
    """One answer for every five that are turned away."""
    asked = []

    def behave(code, times):
        asked.append(code)
        limited = ("status", 429, {"Retry-After": "0.01"})
        return good_answer(code) if len(asked) % 6 == 0 else limited

    service.behave = behave
    documents, report, _ = run(patience=Patience(tries=7, first=0.0, longest=0.0))
    assert codes_of(documents) == dict.fromkeys(SIX, 3)
    assert max(service.counts.values()) > 7
    assert report["paid"]["answers"] == 6 and not report["failed"]["concepts"]


def test_failures_of_some_do_not_lose_others(run, service):
    troubles = {"DIS:1": ("status", 400, {}), "DIS:3": ("status", 500, {}), "DIS:5": "drop"}
    service.behave = lambda code, times: troubles.get(code) or good_answer(code)
    documents, report, _ = run()
    assert codes_of(documents) == {"DIS:0": 3, "DIS:2": 3, "DIS:4": 3}
    assert service.counts["DIS:1"] == 1  # what is wrong with a request is wrong the next time
    assert service.counts["DIS:3"] == service.counts["DIS:5"] == QUICK.tries
    assert set(report["failed"]["messages"]) == {"DIS:1", "DIS:3", "DIS:5"}
    assert report["concepts"]["unanswered"] == 3
    service.behave = lambda code, times: good_answer(code)
    before = service.counts.copy()
    documents, report, _ = run()
    assert codes_of(documents) == dict.fromkeys(SIX, 3)
    assert service.counts - before == {"DIS:1": 1, "DIS:3": 1, "DIS:5": 1}
    assert report["paid"]["answers"] == sum(service.billed.values()) == 6


def test_malformed_answers_are_kept_and_asked_for_again(run, service):
    malformed = [
        ("raw", "<html>gateway</html>"),
        ("raw", '{"choices": []}'),
        ("raw", '{"choices": [{"message": {"content": null}}]}'),
        "I cannot help with that.",
        "example: no brackets at all in this sentence of mine.",
    ]

    def behave(code, times):
        return malformed[times - 1] if times <= len(malformed) else good_answer(code)

    service.behave = behave
    documents, report, _ = run(["DIS:2"], retries=5)
    assert codes_of(documents) == {"DIS:2": 3} and service.counts["DIS:2"] == 6
    rows = [json.loads(line) for line in run.path.read_text().splitlines()]
    assert [row["text"] for row in rows[:2]] == ["<html>gateway</html>", '{"choices": []}']
    assert report["answers"] == {"judged": 6, "unreadable": 4}
    assert report["paid"]["answers"] == sum(service.billed.values()) == 6
    assert report["paid"]["uncounted"] == 3
    assert report["rejected"]["no_brackets"]["lines"] == 1


def test_what_was_accepted_is_kept_and_retries_end(run, service):
    def behave(code, times):
        return good_answer(code, n=1, first=times) if code != "DIS:1" else "example: nothing"

    service.behave = behave
    documents, report, _ = run(["DIS:0", "DIS:1"], retries=3)
    assert service.counts == {"DIS:0": 3, "DIS:1": 4}
    assert codes_of(documents) == {"DIS:0": 3}
    assert [d.meta["synthesis"]["attempt"] for d in documents] == [0, 1, 2]
    assert report["concepts"]["complete"] == report["concepts"]["without_sentence"] == 1


@pytest.mark.parametrize("status", [401, 404])
def test_a_service_that_refuses_everybody_is_not_asked_on(run, service, status, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-mine")
    service.behave = lambda code, times: (
        good_answer(code) if code in SIX[:2] else ("status", status, {})
    )
    with pytest.raises(GenerationError, match="does not serve 'm'") as raised:
        run(in_flight=1)
    assert "secret" not in str(raised.value)
    assert sum(service.counts.values()) == 3 and "Bearer sk-secret" in str(service.headers)
    service.behave = lambda code, times: good_answer(code)
    run()
    assert service.billed == dict.fromkeys(SIX, 1)
    assert "secret" not in run.path.read_text()


def test_a_service_that_is_down_is_left_alone(run, service, kb):
    service.behave = lambda code, times: ("status", 500, {})
    documents, report, asking = run([f"DIS:{i}" for i in range(8)], in_flight=1)
    assert "3 requests in a row" in report["stopped"] and not documents
    # One at a time: what waits for its next try keeps its place.
    assert service.counts == dict.fromkeys(SIX[:3], QUICK.tries)
    nobody = OpenAIGenerator("m", "http://127.0.0.1:9/v1", in_flight=2)
    _, report, asking = run(generator=nobody)
    assert "no connection" in report["stopped"] and asking.store.usage.lost == 0


def test_a_long_pause_is_not_waited_for(run, service):
    service.behave = lambda code, times: ("status", 429, {"Retry-After": "86400"})
    _, report, _ = run()
    assert "left alone for 86400 seconds" in report["stopped"]


def test_the_cost_stays_below_the_limit(run, service):
    codes = [f"DIS:{i}" for i in range(8)]
    # A request can cost what its bytes and 300 tokens can: more than it does.
    _, report, asking = run(codes, max_cost=0.02, in_flight=4)
    assert asking.short_of_money and "could exceed" in report["stopped"]
    assert 0 < report["paid"]["answers"] < 8 and report["paid"]["cost"] <= 0.02
    assert report["paid"]["answers"] == sum(service.billed.values())
    # All that was paid before counts, too.
    _, again, _ = run(codes, max_cost=0.02, in_flight=4)
    assert again["paid"] == report["paid"] and service.counts.total() == report["paid"]["answers"]
    _, report, _ = run(codes, max_cost=1.0)
    assert report["concepts"]["complete"] == 8 and service.counts == dict.fromkeys(codes, 1)


def test_requests_that_may_have_been_charged_count_for_the_limit(run, service):
    service.behave = lambda code, times: "drop"
    _, report, _ = run(max_cost=0.03, in_flight=1, patience=Patience(first=0.0, failures=99))
    assert report["paid"]["lost"] == sum(service.counts.values()) <= 4
    assert 0.01 < report["paid"]["cost"] <= 0.03 and "could exceed" in report["stopped"]


def test_limits_need_prices():
    with pytest.raises(SettingsError, match="give the prices"):
        Budget(Prices(), None, 1.0)


def test_an_interruption_keeps_what_is_in_flight(run, service):
    """Ctrl-C in the middle, as often as it takes to be through."""
    service.delay = 0.05
    told = []
    for _ in range(4):
        before = service.counts.total()

        def progress(done, before=before):
            if service.counts.total() >= before + 2:
                raise KeyboardInterrupt

        try:
            run(tell=told.append, progress=progress)
            break
        except KeyboardInterrupt:
            continue
    documents, report, _ = run()
    assert codes_of(documents) == dict.fromkeys(SIX, 3)
    assert service.counts == dict.fromkeys(SIX, 1)
    assert report["paid"]["answers"] == 6 and any("Waiting for" in line for line in told)


CHILD = """
    import signal
    import sys
    # What is started in the background ignores interruptions.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from spacy_bel.kb import Concept, KnowledgeBaseBuilder
    from spacy_bel.synthesis import *
    builder = KnowledgeBaseBuilder("test", release="1", licence="CC0")
    for number, name in enumerate({names!r}):
        text = f"What doctors call {{name.lower()}}." if number % 2 else ""
        builder.add(Concept(f"DIS:{{number}}", (name, f"{{name}} disease"), ("Diseases",), text))
    generator = OpenAIGenerator("m", {url!r}, max_tokens=300, in_flight=1)
    store = AnswerStore({path!r}, "m", generator.sampling)
    asking = Asking(generator, store, Budget(Prices(), store.usage))
    Synthesis(builder.build(), store).ask([f"DIS:{{i}}" for i in range(6)], asking)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on(run, service, how):
    reached = threading.Event()

    def behave(code, times):
        if code == "DIS:3" and times == 1:
            reached.set()
            time.sleep(0.3)
        return good_answer(code)

    service.behave = behave
    script = textwrap.dedent(CHILD).format(names=NAMES, url=service.url, path=str(run.path))
    child = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    assert reached.wait(60)
    os.kill(child.pid, how)
    assert child.wait(20) != 0
    if how == signal.SIGKILL:
        with run.path.open("ab") as stream:  # as a line that was cut off in writing
            stream.write(b'{"key": "00", "model": "m", "te')
    documents, report, _ = run()
    assert codes_of(documents) == dict.fromkeys(SIX, 3)
    # Killed, only the answer that was on its way is lost; interrupted, it is waited for.
    twice = {"DIS:3": 2} if how == signal.SIGKILL else {}
    assert service.counts == {**dict.fromkeys(SIX, 1), **twice}
    assert report["paid"]["answers"] == 6


def test_two_runs_do_not_pay_for_the_same(run, service):
    with AnswerStore(run.path, "m", {}), pytest.raises(GenerationError, match="Another run"):
        run()
    assert not service.counts


def test_no_answer_is_paid_for_that_cannot_be_kept(run, service, monkeypatch):
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
    with pytest.raises(NoSpaceError, match="make room"):
        run()
    assert not service.counts
    monkeypatch.undo()
    # Full in spite of that, in the middle of a line: what was there stays whole.
    write = os.write
    monkeypatch.setattr("os.write", lambda fd, data: write(fd, data[:50]))
    with pytest.raises(NoSpaceError, match="make room"):
        run(in_flight=1)
    monkeypatch.undo()
    documents, _, _ = run()
    assert codes_of(documents) == dict.fromkeys(SIX, 3)
    assert service.counts == {**dict.fromkeys(SIX, 1), "DIS:0": 2}


def test_other_rules_cost_nothing(run, service, kb):
    from spacy_bel.synthesis import Rules

    run()
    strict, report, _ = run(offline=True, rules=Rules(max_words=12))
    assert strict == [] and report["rejected"]["length"]["lines"] == 18
    documents, report, _ = run(offline=True)
    assert codes_of(documents) == dict.fromkeys(SIX, 3) and not report["rejected"]
    assert service.counts == dict.fromkeys(SIX, 1)


def test_an_answer_depends_on_model_messages_sampling_and_attempt(run, service):
    run(["DIS:0"])
    run(["DIS:0"], n=2)  # other messages
    run(["DIS:0"], generator=OpenAIGenerator("m", service.url, temperature=0.1))
    run(["DIS:0"], generator=OpenAIGenerator("other", service.url, max_tokens=300))
    assert service.counts["DIS:0"] == 4
    run(["DIS:0"])
    run(["DIS:0"], n=2)
    assert service.counts["DIS:0"] == 4


def test_generators_of_other_kinds(run):
    """Batches, and a generator that gives too few answers."""

    class Batches:
        name, sampling, batch_size, in_flight, max_tokens = "b", {"t": 1}, 4, 1, 10
        sizes = ()

        def generate(self, requests):
            self.sizes = (*self.sizes, len(requests))
            return [Answer(good_answer(r.code), 5, 5) for r in requests][: self.gives]

    batches = Batches()
    batches.gives = 4
    documents, report, _ = run(generator=batches)
    assert codes_of(documents) == dict.fromkeys(SIX, 3) and batches.sizes == (4, 2)
    assert report["paid"]["prompt_tokens"] == 30
    batches = Batches()
    batches.name, batches.gives = "c", 1
    with pytest.raises(GenerationError, match="for each of 4 requests, but gave 1"):
        run(generator=batches)


def test_a_service_of_openai_needs_a_key(run, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="environment variable OPENAI_API_KEY"):
        run(generator=OpenAIGenerator("m"))
