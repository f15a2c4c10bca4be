"""Tiny models of several architectures, and reading them as the engine does."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM

from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.rows import Row
from spacy_bel.longbel.search import Reading

from .conftest import character_tokenizer

_LIKE_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
_GROUPED = {**_LIKE_LLAMA, "num_key_value_heads": 2}
_LIKE_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4}

ARCHITECTURES = {
    "Llama": _GROUPED,
    "Mistral": {**_GROUPED, "sliding_window": 160},
    "Qwen2": _GROUPED,
    "Qwen3": {**_GROUPED, "head_dim": 8},
    "Gemma2": {**_GROUPED, "head_dim": 8},
    "GPT2": {**_LIKE_GPT2, "n_positions": 512},
    "GPTNeoX": _LIKE_LLAMA,
    "GPTJ": {**_LIKE_GPT2, "n_positions": 512, "rotary_dim": 4},
    "BioGpt": _LIKE_LLAMA,
    "OPT": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    },
}
#: Attention that depends on where in the cache a token stands, or caches of their own.
NOT_READ = {
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "Mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512},
    "GPTNeo": {
        "hidden_size": 32,
        "num_layers": 2,
        "attention_types": [[["global", "local"], 1]],
        "num_heads": 4,
        "window_size": 64,
    },
}


def tiny(architecture, seed=0, dtype=torch.float32):
    """A random model whose predictions are far from uniform."""
    tokenizer = character_tokenizer()
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=len(tokenizer),
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        **{**ARCHITECTURES, **NOT_READ}[architecture],
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 6
    return CausalLanguageModel(model.to(dtype), tokenizer)


def plain_scores(model, ids):
    """Log-probabilities behind some tokens, read at once without a cache."""
    with torch.no_grad():
        return model.model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)


def readings(model, read, seed=0):
    """Pairs of what `read` answers and what it should: three prompts in pieces, then two trees.

    One prompt is short enough to be done while another is begun, rows are not in order, and tokens
    of the trees stand beside each other and behind each other.
    """
    random = np.random.default_rng(seed)
    draw = partial(random.integers, 8, model.vocab_size)
    cache = model.new_cache(4, 90)
    prompts = {0: draw(size=23).tolist(), 2: draw(size=9).tolist(), 3: draw(size=60).tolist()}
    rows = {index: Row(None, unread=list(ids)) for index, ids in prompts.items()}
    while any(row.unread for row in rows.values()):
        segments = [r.prompt_segment(i, 33) for i, r in rows.items() if r.unread]
        scores = list(read(segments, cache))
        for segment in segments:
            if segment.keep:
                yield scores.pop(0), plain_scores(model, prompts[segment.row])
        assert not scores
    for trees in ({2: [-1, -1, 0, 1, 0], 0: [-1], 3: [-1, 0]}, {3: [1, -1], 0: [0, 1], 2: [4]}):
        segments = []
        for index, parents in trees.items():
            reading = Reading(np.array(parents), draw(size=len(parents)))
            segments.append(rows[index].tree_segment(index, reading))
        scores = list(read(segments, cache))
        for segment in segments:
            row = rows[segment.row]
            for place in range(len(row.tree) - segment.keep, len(row.tree)):
                path = [row.tokens[p] for p in row.tree.path(place)]
                yield scores.pop(0), plain_scores(model, prompts[segment.row] + path)
        assert not scores
