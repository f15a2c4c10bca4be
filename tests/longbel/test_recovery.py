"""What happens to the other documents when something goes wrong with one, or with all."""

from __future__ import annotations

import numpy as np
import pytest

from spacy_bel.errors import ModelError

from .conftest import make_kb, tiny_llama
from .disturbed import Disturbed, brute_force
from .helpers import make_document, make_engine
from .test_engine import DOCUMENTS, same_links

BAD = make_document(
    "A ~cold~ and another ~cold~ here.", [("~cold~", "Phenomena"), ("~cold~", "Disorders")]
)
STREAM = [DOCUMENTS[3], DOCUMENTS[2], BAD, DOCUMENTS[0], DOCUMENTS[1], DOCUMENTS[3]]
NO_MEMORY = [
    MemoryError(),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
]


@pytest.fixture(scope="module")
def undisturbed(llama, kb):
    """Links of `STREAM` by prompt, made one after the other."""
    settings = {"batch_size": 1, "reuse_prefix": False, "read_ahead": False}
    return {
        prompt: list(make_engine(llama, kb, prompt, **settings).link(STREAM))
        for prompt in ("hybrid_long", "short")
    }


def of_bad(model, segment, cache, stage):
    """Whether a segment is of the bad document, at its prompts or behind them."""
    tilde = model.tokenizer.convert_tokens_to_ids("~")
    at_prompt = segment.mask is None
    return tilde in cache.prompts[segment.row] and at_prompt == (stage == "prompt")


@pytest.mark.parametrize("prompt", ["hybrid_long", "short"])
@pytest.mark.parametrize(("rows", "first"), [(1, 0), (2, 4), (1, 9)])
def test_fewer_rows_when_memory_runs_out(llama, kb, undisturbed, prompt, rows, first):
    readings = []

    def read(model, segments, cache):
        readings.append(len(segments))
        if len(readings) > first and len(segments) > rows:
            raise NO_MEMORY[len(readings) % 3]
        return model.read(segments, cache)

    engine = make_engine(Disturbed(llama, read), kb, prompt, batch_size=8)
    same_links(list(engine.link(STREAM)), undisturbed[prompt])
    assert max(readings) > rows


def test_a_cache_that_is_larger_than_one_document_needs_is_made_smaller(llama, kb, undisturbed):
    def read(model, segments, cache):
        if cache.rows * cache.capacity > 800:
            raise MemoryError
        return model.read(segments, cache)

    engine = make_engine(Disturbed(llama, read), kb, "hybrid_long")
    same_links(list(engine.link(STREAM[:1])), undisturbed["hybrid_long"][:1])


def test_other_errors_of_the_model_are_raised(llama, kb):
    def read(model, segments, cache):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(make_engine(Disturbed(llama, read), kb).link(STREAM))


def same_but_bad(results, expected, message):
    index = STREAM.index(BAD)
    assert isinstance(results[index], ModelError)
    assert message in str(results[index])
    rest = [*range(index), *range(index + 1, len(STREAM))]
    same_links([results[i] for i in rest], [expected[i] for i in rest])


@pytest.mark.parametrize("prompt", ["hybrid_long", "short"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("stage", ["prompt", "tree"])
def test_a_document_for_which_memory_never_suffices(
    llama, kb, undisturbed, prompt, batch_size, stage
):
    def read(model, segments, cache):
        if any(of_bad(model, segment, cache, stage) for segment in segments):
            raise MemoryError
        return model.read(segments, cache)

    engine = make_engine(Disturbed(llama, read), kb, prompt, batch_size=batch_size)
    same_but_bad(list(engine.link(STREAM)), undisturbed[prompt], "Memory ran out")


@pytest.mark.parametrize("prompt", ["hybrid_long", "short"])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("stage", ["prompt", "tree"])
def test_nan_stays_in_its_document(llama, kb, undisturbed, prompt, batch_size, stage):
    """It is also in the keys and values that the next document of the row finds."""

    def read(model, segments, cache):
        scores, first = model.read(segments, cache).clone(), 0
        for segment in segments:
            if of_bad(model, segment, cache, stage):
                scores[first : first + segment.keep] = float("nan")
                for layer in range(model.model.config.num_hidden_layers):
                    for buffer in cache.layer(layer):
                        buffer[segment.row][:, segment.slots] = float("nan")
            first += segment.keep
        return scores

    engine = make_engine(Disturbed(llama, read), kb, prompt, batch_size=batch_size)
    same_but_bad(list(engine.link(STREAM)), undisturbed[prompt], "NaN")
    # The next stream of the engine is right, too.
    again = list(engine.link(DOCUMENTS))
    same_links([again[3], again[0]], [undisturbed[prompt][i] for i in (0, 3)])


@pytest.mark.parametrize(("prompt", "batch_size"), [("hybrid_long", 2), ("short", 5)])
def test_an_unknown_group_in_mid_document(llama, kb, undisturbed, prompt, batch_size):
    bad = make_document("cold and asthma", [("cold", "Phenomena"), ("asthma", "Nothing")])
    # Its first mention is linked; the error comes with the second.
    stream = [bad, *STREAM[:3], bad, *STREAM[3:], bad]
    results = list(make_engine(llama, kb, prompt, batch_size=batch_size).link(stream))
    for i in (0, 4, len(stream) - 1):
        assert isinstance(results[i], Exception)
        assert "Nothing" in str(results[i])
    same_links([*results[1:4], *results[5:-1]], undisturbed[prompt])


def test_an_error_of_the_stream_is_raised_and_the_engine_goes_on(llama, kb, undisturbed):
    def broken():
        yield from DOCUMENTS[:2]
        raise KeyError("page")

    engine = make_engine(llama, kb, "hybrid_long")
    with pytest.raises(KeyError, match="page"):
        list(engine.link(broken()))
    same_links(list(engine.link(STREAM)), undisturbed["hybrid_long"])


def test_two_streams_at_once(llama, kb, undisturbed):
    engine = make_engine(llama, kb, "hybrid_long", batch_size=2)
    first, second = engine.link(STREAM), engine.link(STREAM)
    pairs = [(next(first), next(second)) for _ in STREAM]
    same_links([one for one, _ in pairs], undisturbed["hybrid_long"])
    same_links([other for _, other in pairs], undisturbed["hybrid_long"])


@pytest.mark.parametrize("prompt", ["hybrid_long", "short"])
@pytest.mark.parametrize("batch_tokens", [1, 500, 1000, 2000])
def test_the_cache_holds_no_more_than_it_may(llama, kb, undisturbed, prompt, batch_tokens):
    held = []

    def read(model, segments, cache):
        held.append((cache.rows, cache.rows * cache.capacity))
        return model.read(segments, cache)

    engine = make_engine(
        Disturbed(llama, read), kb, prompt, batch_size=6, batch_tokens=batch_tokens
    )
    same_links(list(engine.link(STREAM)), undisturbed[prompt])
    assert all(rows == 1 or slots <= batch_tokens for rows, slots in held)
    most = max(rows for rows, _ in held)
    assert (most > 1) == (batch_tokens > 1)


@pytest.mark.parametrize("prompt", ["hybrid_long", "mention"])
def test_documents_without_mentions(llama, kb, prompt):
    empty = make_document("Nothing.", [])
    engine = make_engine(llama, kb, prompt, batch_size=2)
    assert list(engine.link([])) == []
    assert list(engine.link([empty] * 30)) == [[]] * 30
    assert engine.report.forward_passes == 0
    results = list(engine.link([empty, DOCUMENTS[1], empty, empty, DOCUMENTS[1]]))
    assert [len(links) for links in results] == [0, 1, 0, 0, 1]
    assert results[1] == results[4]


def test_no_more_is_read_than_what_waits_in_front_allows(llama, kb):
    """A long document at the head holds the stream back; memory does not fill behind it."""
    long = make_document("cold " * 20, [("cold", "Phenomena")] * 20)
    taken = []

    def stream():
        for i in range(60):
            taken.append(i)
            yield long if i == 0 else DOCUMENTS[1]

    results = make_engine(llama, kb, "hybrid_short", batch_size=2).link(stream())
    next(results)
    assert len(taken) <= 8 + 1
    for i, links in enumerate(results):
        assert len(links) == 1
        assert len(taken) <= i + 2 + 8 + 1
    assert len(taken) == 60


def groups_apart(seed):
    """Names of which some begin as names of another group only."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(12):
        name = "".join(random.choice(list("ab "), random.integers(1, 6))).strip() or "a"
        rows.append((f"C{i}", ["A", "B"][i % 2 if i > 1 else i], [name]))
    return make_kb([*rows, ("S", "Single", ["ababa"])])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decoding", ["constrained", "exact"])
def test_groups_with_few_names_and_beginnings_that_lead_nowhere(seed, decoding):
    kb, model = groups_apart(seed), tiny_llama(seed)
    engine = make_engine(model, kb, "short", num_beams=30, decoding=decoding)
    document = make_document("aa bb cc", [("aa", "A"), ("bb", "B"), ("cc", "Single")])
    (traces,) = engine.trace([document])
    for trace, mention in zip(traces, document.mentions, strict=True):
        expected = dict((t, s) for s, t in brute_force(model, engine, trace.prompt, mention.groups))
        found = {h.tokens: h.log_score for h in trace.hypotheses}
        best = max(expected, key=expected.get)
        assert trace.hypotheses[0].tokens == best
        assert found == pytest.approx({tokens: expected[tokens] for tokens in found}, rel=1e-4)
        if decoding == "constrained":
            assert found.keys() == expected.keys()
    assert len(traces[2].hypotheses) == 1
