"""Texts by a causal language model in this process, sampled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from spacy_bel.errors import SettingsError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.models.chat import ChatEncoder
from spacy_bel.longbel.models.greedy import greedy
from spacy_bel.memory import free_memory, is_out_of_memory
from spacy_bel.synthesis.base import Answer, Failure, Request


class CausalLMGenerator:
    """Texts by a causal language model of transformers that follows instructions.

    model: a directory with safetensors weights and tokenizer, or a hub id; or a
        `CausalLanguageModel`. It is loaded when first needed.
    temperature, top_p: of sampling. seed: of what is drawn; together with messages and attempt it
        says which text comes, whatever is generated beside it, up to rounding.
    max_tokens: of an answer. batch_size: requests that are read together; halved when memory runs
        out. device, dtype: where and in which precision the model runs; by default the best device,
        float32 on CPU.

    System and user turn are read as one, which every chat template can show. Raises SettingsError
    for numbers that cannot be used; ModelError, when it is loaded, for a model that cannot.
    """

    in_flight = 1

    def __init__(
        self,
        model: str | Path | CausalLanguageModel,
        *,
        temperature: float = 0.6,
        top_p: float = 0.9,
        seed: int = 0,
        max_tokens: int = 512,
        batch_size: int = 8,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        if max_tokens < 1 or batch_size < 1 or not temperature > 0 or not 0 < top_p <= 1:
            raise SettingsError(
                "max_tokens and batch_size are at least 1, temperature more than 0, top_p more "
                "than 0 and at most 1."
            )
        self.temperature, self.top_p, self.seed = temperature, top_p, seed
        self.max_tokens, self.batch_size = max_tokens, batch_size
        self._load: Callable[[], CausalLanguageModel] | None = None
        self._model: CausalLanguageModel | None = None
        if isinstance(model, CausalLanguageModel):
            self._model = model
        else:
            self._load = partial(
                CausalLanguageModel.from_pretrained, model, device=device, dtype=dtype
            )
        self.name = str(getattr(model, "directory", model) or "a model in memory")
        self._encoder: ChatEncoder | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        """Temperature, top_p, seed and the longest answer."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
        }

    @property
    def language_model(self) -> CausalLanguageModel:
        """The language model, loaded on first use."""
        if self._model is None:
            assert self._load is not None
            self._model = self._load()
        return self._model

    def generate(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """An answer to each request; a failure for one that the model cannot read whole."""
        model = self.language_model
        if self._encoder is None:
            self._encoder = ChatEncoder(model.tokenizer)
        prompts = [self._prompt(self._encoder, request) for request in requests]
        longest = model.max_length - self.max_tokens
        outcomes: list[Answer | Failure] = [
            Failure("refused", f"the prompt has {len(prompt)} tokens, of which {longest} fit")
            for prompt in prompts
        ]
        rows = [row for row, prompt in enumerate(prompts) if len(prompt) <= longest]
        start, size = 0, self.batch_size
        while start < len(rows):
            some = rows[start : start + size]
            try:
                answers = self._sample(
                    [prompts[row] for row in some], [self._seed(requests[row]) for row in some]
                )
            except Exception as error:
                if len(some) == 1 or not is_out_of_memory(error):
                    raise
                answers = None
            if answers is None:
                free_memory()
                size = max(1, len(some) // 2)
                continue
            for row, answer in zip(some, answers, strict=True):
                outcomes[row] = answer
            start += len(some)
        return outcomes

    def _prompt(self, encoder: ChatEncoder, request: Request) -> list[int]:
        turn = "\n\n".join(message.content for message in request.messages)
        return encoder.ids(encoder.prompt(turn))

    def _seed(self, request: Request) -> int:
        content = f"{self.seed} {request.attempt} {request.messages!r}"
        digest = hashlib.sha256(content.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:8], "big")

    def _sample(self, prompts: list[list[int]], seeds: list[int]) -> list[Answer]:
        model = self.language_model
        tokenizer, network = model.tokenizer, model.model
        own = network.generation_config
        config = greedy(tokenizer, own, self.max_tokens)
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), int(config.pad_token_id))
        seen = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            seen[row, width - len(prompt) :] = 1
        drawing = LogitsProcessorList(
            [
                TemperatureLogitsWarper(self.temperature),
                TopPLogitsWarper(self.top_p),
                _Draw(seeds),
            ]
        )
        # As an argument, it would be mixed with what the model's own settings say.
        network.generation_config = config
        try:
            output = network.generate(
                input_ids=ids.to(model.device),
                attention_mask=seen.to(model.device),
                logits_processor=drawing,
            )
        finally:
            network.generation_config = own
        ends = set(config.eos_token_id or ())
        return [
            self._answer(new, len(prompt), ends)
            for new, prompt in zip(output[:, width:].tolist(), prompts, strict=True)
        ]

    def _answer(self, new: list[int], prompt_tokens: int, ends: set[int]) -> Answer:
        length = next((i for i, token in enumerate(new) if token in ends), len(new))
        text = self.language_model.tokenizer.decode(
            new[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        finish = "stop" if length < len(new) else "length"
        return Answer(str(text), prompt_tokens, min(length + 1, len(new)), finish)


class _Draw(LogitsProcessor):
    """Makes the best token one that is drawn, for each row from numbers of its own.

    The largest of log-probabilities with Gumbel noise is a sample of them (Gumbel 1954). Rows that
    shared one stream of random numbers would depend on each other.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed % (1 << 63)) for seed in seeds]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        noise = torch.stack([_gumbel(scores.shape[-1], g) for g in self.generators])
        return scores.float() + noise.to(scores.device)


def _gumbel(size: int, generator: torch.Generator) -> Tensor:
    tiny = torch.finfo(torch.float32).tiny
    # Twice a logarithm of numbers that may be rounded to 0 or 1.
    exponential = torch.empty(size).exponential_(generator=generator).clamp_min(tiny)
    return -torch.log(exponential)
