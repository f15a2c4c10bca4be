"""What a causal language model writes after prompts, greedily and many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.models.greedy import greedy


def continue_greedily(
    model: CausalLanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    is_complete: Callable[[str], bool],
) -> list[str]:
    """The text that follows each prompt, without control tokens.

    prompts: token ids. max_new_tokens: tokens of a text at most. is_complete: whether a text that
    just got a closing brace needs nothing more.

    Prompts are padded on the left and masked there, so that a text does not depend on the others,
    up to rounding. What the model's own settings say about decoding plays no part.
    """
    tokenizer, network = model.tokenizer, model.model
    config = greedy(tokenizer, network.generation_config, max_new_tokens)
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), int(config.pad_token_id))
    seen = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        seen[row, width - len(prompt) :] = 1

    def text_of(new: Tensor) -> str:
        return str(
            tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def is_done(new: Tensor) -> bool:
        return "}" in text_of(new[-1:]) and is_complete(text_of(new))

    with _generating(network, config):
        output = network.generate(
            input_ids=ids.to(model.device),
            attention_mask=seen.to(model.device),
            stopping_criteria=StoppingCriteriaList([_Done(is_done, width)]),
        )
    return [text_of(row) for row in output[:, width:].cpu()]


class _Done(StoppingCriteria):
    """Ends each sequence by what follows its prompt."""

    def __init__(self, is_done: Callable[[Tensor], bool], width: int) -> None:
        self.is_done, self.width = is_done, width

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        done = [self.is_done(row) for row in input_ids[:, self.width :].cpu()]
        return torch.tensor(done, device=input_ids.device)


@contextmanager
def _generating(network: Any, config: GenerationConfig) -> Iterator[None]:
    # As an argument, it would be mixed with what the model's own settings say about sampling.
    own, network.generation_config = network.generation_config, config
    try:
        yield
    finally:
        network.generation_config = own
