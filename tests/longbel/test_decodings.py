"""Exact and free decoding through the engine, against brute force and plain `generate`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from spacy_bel.errors import SettingsError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel

from .conftest import SPECIAL, make_kb, tiny_llama
from .disturbed import Disturbed, brute_force
from .helpers import make_document, make_engine
from .test_engine import DOCUMENTS, same_links

concepts = st.lists(
    st.tuples(
        st.text(alphabet="abc ", min_size=1, max_size=8).map(str.strip).filter(bool),
        st.sets(st.sampled_from(["G", "H"]), min_size=1),
    ),
    min_size=2,
    max_size=14,
    unique_by=lambda each: each[0],
)
PAGES = [
    make_document("An abc and a bca, then abc.", [("abc", "G"), ("bca", "H"), ("abc", "G")]),
    make_document("Only b here.", [("b", "H")]),
    make_document("cab c", [("cab", "G"), ("c", "H")]),
]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    concepts=concepts,
    seed=st.integers(0, 9),
    penalty=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    prompt=st.sampled_from(["hybrid_long", "hybrid_short", "long", "short"]),
    num_beams=st.integers(1, 3),
)
def test_the_best_name_is_the_best_of_all(concepts, seed, penalty, prompt, num_beams):
    model = tiny_llama(seed, sharpness=1.0 + seed % 3)
    kb = make_kb(
        [
            ("C0", ["G", "H"], ["ab"]),
            *((f"C{i + 1}", sorted(groups), [name]) for i, (name, groups) in enumerate(concepts)),
        ]
    )
    chosen = {"num_beams": num_beams, "length_penalty": penalty, "batch_size": 3}
    engine = make_engine(model, kb, prompt, decoding="exact", **chosen)
    beams = make_engine(model, kb, prompt, **chosen)
    for page, traces in zip(PAGES, engine.trace(PAGES), strict=True):
        # The first mention has the same prompt with either search.
        (plain, *_) = next(beams.trace([page]))
        assert plain.prompt == traces[0].prompt
        if plain.hypotheses:
            best = traces[0].hypotheses[0].log_score
            assert plain.hypotheses[0].log_score <= best + 1e-4 * abs(best)
        for mention, trace in zip(page.mentions, traces, strict=True):
            expected = brute_force(model, engine, trace.prompt, mention.groups, penalty)
            scores = {tokens: score for score, tokens in expected}
            found = [(h.tokens, h.log_score) for h in trace.hypotheses]
            assert found[0][1] == pytest.approx(expected[0][0], rel=1e-4)
            assert len(found) == min(num_beams, len(expected))
            assert [s for _, s in found] == pytest.approx([scores[t] for t, _ in found], rel=1e-4)
            assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    assert engine.report.unproven == 0


@pytest.mark.parametrize(
    ("prompt", "decoding"), [("hybrid_long", "exact"), ("hybrid_short", "free")]
)
def test_results_do_not_depend_on_the_arrangement(llama, kb, prompt, decoding):
    def links(**settings):
        return list(make_engine(llama, kb, prompt, decoding=decoding, **settings).link(DOCUMENTS))

    same_links(links(batch_size=3), links(batch_size=1, reuse_prefix=False))


def test_a_search_that_gives_up_is_reported(llama, kb):
    engine = make_engine(llama, kb, decoding="exact")
    (full,) = engine.link(DOCUMENTS[:1])
    assert engine.report.unproven == 0
    hasty = make_engine(llama, kb, decoding="exact")
    hasty.search = dataclasses.replace(hasty.search, max_reads=30)
    (cut,) = hasty.link(DOCUMENTS[:1])
    assert 0 < hasty.report.unproven <= len(cut) == len(full)
    assert cut[0][0].score <= full[0][0].score * (1 + 1e-4)


@pytest.mark.parametrize(("seed", "num_beams", "penalty"), [(0, 2, 1.0), (1, 5, 0.0), (2, 3, 2.0)])
def test_free_equals_generate_without_constraint(kb, seed, num_beams, penalty):
    model = tiny_llama(seed)
    engine = make_engine(
        model, kb, "short", num_beams=num_beams, length_penalty=penalty, decoding="free"
    )
    end, depth = model.tokenizer.eos_token_id, engine.trie.trie.depth
    for traces in engine.trace([DOCUMENTS[1], DOCUMENTS[3]]):
        for trace in traces:
            with torch.no_grad():
                output = model.model.generate(
                    torch.tensor([trace.prompt]),
                    num_beams=num_beams,
                    num_return_sequences=num_beams,
                    max_new_tokens=depth,
                    length_penalty=penalty,
                    do_sample=False,
                    eos_token_id=end,
                    pad_token_id=end,
                    return_dict_in_generate=True,
                    output_scores=True,
                )
            expected = []
            for ids in output.sequences[:, len(trace.prompt) :].tolist():
                expected.append(tuple(ids[: ids.index(end) + 1] if end in ids else ids))
            assert [h.tokens for h in trace.hypotheses] == expected
            assert [h.log_score for h in trace.hypotheses] == pytest.approx(
                output.sequences_scores.tolist(), rel=1e-3
            )


def merging_tokenizer():
    """Characters, but "he" and "ad" are tokens of their own, and so is "head"."""
    characters = [chr(i) for i in range(32, 127) if chr(i) not in "[]{}"] + ["\n"]
    vocab = [*SPECIAL, "<unk>", *characters, "he", "ad", "head"]
    backend = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(vocab)},
            merges=[("h", "e"), ("a", "d"), ("he", "ad")],
            unk_token="<unk>",
        )
    )
    backend.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        sep_token="<SEP>",
        pad_token="</s>",
        additional_special_tokens=["[", "]", "{", "}"],
    )


@pytest.fixture(scope="module")
def merging():
    tokenizer = merging_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=1,
    )
    return CausalLanguageModel(LlamaForCausalLM(config), tokenizer)


def dictated(model, tokens):
    """A model that writes these tokens behind every prompt."""
    lengths = {}

    def read(model, segments, cache):
        scores = torch.full((sum(s.keep for s in segments), model.vocab_size), -9.0)
        at = 0
        for segment in segments:
            if segment.mask is None:
                lengths[segment.row] = int(segment.positions[-1]) + 1
            for place in segment.positions[len(segment.ids) - segment.keep :]:
                step = int(place) + 1 - lengths[segment.row]
                if step < len(tokens):
                    scores[at, tokens[step]] = -0.1
                at += 1
        return scores

    return Disturbed(model, read)


@pytest.mark.parametrize(
    ("written", "codes"),
    [
        ([" ", "head", "a", "c", "h", "e"], ["D4"]),
        ([" ", "h", "e", "a", "d", "a", "c", "h", "e"], ["D4"]),
        ([" ", "he", "a", "d", "a", "c", "he"], ["D4"]),
        (["head", "a", "c", "he"], ["D4"]),
        ([" ", "M", "I"], ["D1", "D6"]),
        ([" ", "M", "I", "I"], []),
        ([" ", "H", "e", "ad"], []),
        # A name, but of another group.
        ([" ", "l", "o", "w", " ", "t", "e", "m", "p", "e", "r", "a", "t", "u", "r", "e"], []),
        ([], []),
    ],
    ids=lambda each: "".join(each),
)
def test_what_was_written_freely_is_looked_up(merging, kb, written, codes):
    end = merging.tokenizer.eos_token_id
    tokens = [*merging.tokenizer.convert_tokens_to_ids(written), end]
    engine = make_engine(dictated(merging, tokens), kb, "hybrid_long", num_beams=1, decoding="free")
    document = make_document("x y", [("x", "Disorders"), ("y", "Disorders")])
    (links,) = engine.link([document])
    assert [[c.code for c in candidates] for candidates in links] == [codes, codes]
    if codes:
        assert links[0][0].score == pytest.approx(np.exp(-0.1))
    (traces,) = engine.trace([document])
    assert [t.hypotheses[0].tokens for t in traces] == [tuple(tokens)] * 2
    # What is no name is not remembered.
    assert ("[x]{Disorders}" in merging.tokenizer.decode(traces[1].prompt)) == bool(codes)


def test_settings_that_do_not_go_together(llama, kb):
    for wrong in (
        {"decoding": "best"},
        {"decoding": "free", "candidates": 2},
        {"decoding": "exact", "composites": True},
    ):
        with pytest.raises(SettingsError):
            make_engine(llama, kb, **wrong)
