"""Settings with which models of transformers write the best token each time."""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig


def greedy(tokenizer: Any, own: GenerationConfig, max_new_tokens: int) -> GenerationConfig:
    """Greedy decoding; of a model's own settings only the tokens that end its answers.

    own: these settings.
    """
    ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    closing = sorted({int(end) for end in [*ends, tokenizer.eos_token_id] if end is not None})
    pad = tokenizer.pad_token_id
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=closing or None,
        bos_token_id=own.bos_token_id,
        pad_token_id=pad if pad is not None else closing[0] if closing else 0,
    )
