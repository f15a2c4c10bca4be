"""Mentions of several concepts against `generate` with a prefix function that may begin anew."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.naive import nested_trie
from spacy_bel.errors import ModelError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel

from .conftest import character_tokenizer, make_kb
from .disturbed import Disturbed, memory_of
from .helpers import make_document, make_engine
from .test_engine import same_links

DOCUMENT = make_document(
    "Of colds and headaches and asthma.",
    [("colds and headaches", "G"), ("headaches and asthma", "G"), ("asthma", "H")],
)
NAMES = [
    ("A", "G", ["cold", "a cold"]),
    ("B", "G", ["head", "headache"]),
    ("C", ["G", "H"], ["asthma"]),
    ("D", "H", ["fit"]),
    ("E", "G", ["head"]),
]


def joining_llama(seed=0, window=2048):
    """A random Llama whose tokenizer knows `<+>`."""
    tokenizer = character_tokenizer()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<+>"]}, replace_additional_special_tokens=False
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=window,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    with torch.no_grad():
        model.lm_head.weight *= 15
    return CausalLanguageModel(model, tokenizer)


def separator(model):
    return model.tokenizer.convert_tokens_to_ids("<+>")


@pytest.fixture(scope="module")
def kb():
    return make_kb(NAMES)


def generated(model, kb, prompt, group, num_beams, penalty):
    """(tokens, log score) as `generate` finds them, where `<+>` leads back to the root."""
    end, plus = model.tokenizer.eos_token_id, separator(model)
    names = [name for code in kb if group in kb[code].groups for name in kb[code].names]
    root = nested_trie(model.tokenizer, names, end)
    longest = max(len(name) for code in kb for name in kb[code].names) + 2

    def allowed(batch, ids):
        node, behind = root, ids[len(prompt) :].tolist()
        for token in behind:
            node = root if token == plus else node.get(token, {})
        room = len(behind) + 1 + longest <= 128
        return [*node, *([plus] if end in node and room else [])] or [end]

    with torch.no_grad():
        output = model.model.generate(
            torch.tensor([prompt]),
            num_beams=num_beams,
            num_return_sequences=num_beams,
            max_new_tokens=128,
            length_penalty=penalty,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
            prefix_allowed_tokens_fn=allowed,
            return_dict_in_generate=True,
            output_scores=True,
        )
    found = {}
    rows = zip(output.sequences[:, len(prompt) :].tolist(), output.sequences_scores, strict=True)
    for ids, score in rows:
        if score > -1e6 and end in ids:
            found.setdefault(tuple(ids[: ids.index(end) + 1]), float(score))
    return sorted(found.items(), key=lambda item: -item[1])


@pytest.mark.parametrize(
    ("seed", "num_beams", "penalty"), [(0, 3, 1.0), (1, 3, 1.0), (0, 5, 0.0), (1, 4, 2.0)]
)
def test_equals_generate(kb, seed, num_beams, penalty):
    model = joining_llama(seed)
    engine = make_engine(
        model, kb, num_beams=num_beams, length_penalty=penalty, composites=True, batch_size=2
    )
    (traces,) = engine.trace([DOCUMENT])
    joined = 0
    for trace, mention in zip(traces, DOCUMENT.mentions, strict=True):
        expected = generated(model, kb, trace.prompt, mention.group, num_beams, penalty)
        assert [h.tokens for h in trace.hypotheses] == [tokens for tokens, _ in expected]
        assert [h.log_score for h in trace.hypotheses] == pytest.approx(
            [score for _, score in expected], rel=1e-3
        )
        joined += sum(separator(model) in h.tokens for h in trace.hypotheses)
    if penalty == 1.0:
        assert joined


@pytest.mark.parametrize("seed", range(2))
def test_results_do_not_depend_on_the_arrangement(kb, seed):
    model = joining_llama(seed)

    def links(**settings):
        engine = make_engine(model, kb, num_beams=3, composites=True, **settings)
        return list(engine.link([DOCUMENT, DOCUMENT]))

    same_links(links(), links(batch_size=1, reuse_prefix=False, read_ahead=False))


@pytest.mark.parametrize("seed", [0, 1])
def test_candidates_and_memory_lines_join_codes_and_names(kb, seed):
    model = joining_llama(seed)
    engine = make_engine(model, kb, num_beams=5, composites=True)
    (links,) = engine.link([DOCUMENT])
    (traces,) = engine.trace([DOCUMENT])
    bearers = {}
    for code in kb:
        for name in kb[code].names:
            bearers.setdefault(name, []).append((code, kb[code].groups))
    joined = 0
    for mention, candidates, trace in zip(DOCUMENT.mentions, links, traces, strict=True):
        written = [
            [part.strip() for part in model.tokenizer.decode(h.tokens[:-1]).split("<+>")]
            for h in trace.hypotheses
        ]
        answers = set()
        for names in written:
            parts = [[c for c, groups in bearers[n] if mention.group in groups] for n in names]
            if len(parts) == 1:
                answers |= {frozenset([code]) for code in parts[0]}
            else:
                # Of homonyms joined with others one is chosen: B rather than E, by its code.
                answers.add(frozenset(min(part) for part in parts))
        assert {frozenset(c.code.split("+")) for c in candidates} == answers
        assert len({c.code for c in candidates}) == len(candidates)
        joined += any("+" in c.code for c in candidates)
        for candidate in candidates:
            assert candidate.code.count("+") == candidate.name.count("<+>")
            for code, name in zip(
                candidate.code.split("+"), candidate.name.split("<+>"), strict=True
            ):
                assert name in kb[code].names
    assert joined
    lines = memory_of(model.tokenizer.decode(traces[2].prompt))
    assert lines == [
        f"[{m.text}]{{{m.group}}} {candidates[0].name}"
        for m, candidates in zip(DOCUMENT.mentions[:2], links[:2], strict=True)
    ]


def test_without_composites_names_stand_alone(kb):
    model = joining_llama(0)
    engine = make_engine(model, kb, num_beams=5)
    (links,) = engine.link([DOCUMENT])
    assert not any("+" in c.code for candidates in links for c in candidates)


def test_a_tokenizer_that_cannot_join(llama, kb):
    with pytest.raises(ModelError, match=r"<\+>.*composites=False"):
        make_engine(llama, kb, composites=True)


def test_no_more_than_128_tokens_and_never_beyond_the_window(kb):
    """The model would join names for ever."""
    model, positions = joining_llama(1, window=320), []

    def read(model, segments, cache):
        positions.extend(int(segment.positions.max()) for segment in segments)
        scores = model.read(segments, cache).clone()
        scores[:, separator(model)] = -0.001
        return scores

    text = "cold, " * 30 + "cold."
    document = make_document(text, [("cold", "G")], sentences=[(0, len(text))])
    engine = make_engine(Disturbed(model, read), kb, num_beams=2, composites=True)
    (traces,) = engine.trace([document])
    (trace,) = traces
    assert engine.report.context_cut == 1
    assert len(trace.prompt) <= 320 - 128
    lengths = [len(h.tokens) for h in trace.hypotheses]
    assert 100 < max(lengths) <= 128
    assert max(positions) < 320


def test_a_window_without_room_for_composites_says_what_to_do(kb):
    with pytest.raises(ModelError, match="composites=False"):
        make_engine(joining_llama(window=120), kb, composites=True)
    make_engine(joining_llama(window=120), kb)
