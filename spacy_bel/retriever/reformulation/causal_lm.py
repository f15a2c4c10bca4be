"""Standard names by a local causal language model."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from spacy_bel.errors import SettingsError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.models.chat import ChatEncoder
from spacy_bel.memory import free_memory, is_out_of_memory
from spacy_bel.retriever.reformulation.base import Request, cut_around
from spacy_bel.retriever.reformulation.decoding import continue_greedily
from spacy_bel.retriever.reformulation.prompt import (
    BEGUN,
    PromptedReformulator,
    prompt_fingerprint,
    read_answer,
    user_turn,
)

logger = logging.getLogger(__name__)


class CausalLMReformulator(PromptedReformulator):
    """Standard names by a causal language model of transformers that follows instructions.

    model: a directory with safetensors weights and tokenizer, or a hub id; or a
        `CausalLanguageModel`. It is loaded when first needed.
    ontology: what the prompt calls the terminology.
    max_new_tokens: tokens of an answer at most. batch_size: prompts that are read together;
        halved when memory runs out.
    device, dtype: where and in which precision the model runs; by default the best device, float32
        on CPU.

    Decoding is greedy, whatever the model's own settings for it are, and ends with the JSON object.
    The answer to a prompt does not depend on the others, up to rounding. Raises SettingsError for
    numbers below 1; ModelError, when it is loaded, for a model that cannot be used.
    """

    def __init__(
        self,
        model: str | Path | CausalLanguageModel,
        ontology: str,
        *,
        max_new_tokens: int = 150,
        batch_size: int = 8,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(ontology)
        if max_new_tokens < 1 or batch_size < 1:
            raise SettingsError("max_new_tokens and batch_size are numbers of at least 1.")
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self._load: Callable[[], CausalLanguageModel] | None = None
        self._model: CausalLanguageModel | None = None
        if isinstance(model, CausalLanguageModel):
            self._model = model
        else:
            self._load = partial(
                CausalLanguageModel.from_pretrained, model, device=device, dtype=dtype
            )
        self._source = getattr(model, "directory", model) or "a model in memory"
        self._encoder: ChatEncoder | None = None
        self._process = os.getpid()

    @property
    def name(self) -> str:
        """Model, as it was named, ontology, and what tells this prompt from others."""
        prompt = prompt_fingerprint(self.ontology)
        return f"{self._source}, {self.ontology}, {self.max_new_tokens} tokens, prompt {prompt}"

    @property
    def language_model(self) -> CausalLanguageModel:
        """The language model, loaded on first use."""
        if self._model is None:
            assert self._load is not None
            self._model = self._load()
        return self._model

    def reformulate(self, requests: Sequence[Request]) -> list[str | None]:
        """The standard name for each request; see `PromptedReformulator`."""
        if self._process != os.getpid():
            # Threads do not survive a fork: using them in the child would wait forever.
            torch.set_num_threads(1)
            self._process = os.getpid()
        _ = self.language_model
        return super().reformulate(requests)

    def turn(self, request: Request) -> str:
        """The user turn, with so much of the sentence as the model can read."""
        start = max(0, request.sentence.find(request.mention))
        margin = len(request.sentence)
        turn = user_turn(request, self.ontology)
        while margin and not self._fits(self._encode(turn, BEGUN)):
            margin //= 2
            cut = cut_around(request.sentence, start, start + len(request.mention), margin)
            turn = user_turn(request._replace(sentence=cut), self.ontology)
        return turn

    def generate(self, turns: Sequence[str], begun: str = "") -> list[str | None]:
        """Answers by greedy decoding; None for a turn that the model cannot read whole."""
        prompts = [self._encode(turn, begun) for turn in turns]
        answers: list[str | None] = [None] * len(turns)
        rows = [row for row, prompt in enumerate(prompts) if self._fits(prompt)]
        if len(rows) < len(turns):
            logger.warning(
                "%s: %d mentions are too long for the %d tokens that the model can read, and are "
                "searched alone.",
                self.name,
                len(turns) - len(rows),
                self.language_model.max_length,
            )
        rows.sort(key=lambda row: len(prompts[row]))  # little padding
        start, size = 0, self.batch_size
        while start < len(rows):
            some = rows[start : start + size]
            texts = self._continue([prompts[row] for row in some], begun)
            if texts is None:
                free_memory()
                size = max(1, len(some) // 2)
                continue
            for row, text in zip(some, texts, strict=True):
                answers[row] = begun + text
            start += len(some)
        return answers

    def _encode(self, turn: str, begun: str = "") -> list[int]:
        if self._encoder is None:
            self._encoder = ChatEncoder(self.language_model.tokenizer)
        return prompt_ids(self._encoder, turn, begun)

    def _fits(self, prompt: list[int]) -> bool:
        return len(prompt) + self.max_new_tokens <= self.language_model.max_length

    def _continue(self, prompts: list[list[int]], begun: str) -> list[str] | None:
        """What the model writes after each prompt; None if memory runs out with several."""

        def is_complete(text: str) -> bool:
            return _is_readable(begun + text)

        try:
            return continue_greedily(self.language_model, prompts, self.max_new_tokens, is_complete)
        except Exception as error:
            if len(prompts) == 1 or not is_out_of_memory(error):
                raise
        return None

    def __getstate__(self) -> dict[str, Any]:
        # Another process loads the model itself, where it can.
        model = self._model if self._load is None else None
        return {**self.__dict__, "_model": model, "_encoder": None}


def _is_readable(answer: str) -> bool:
    try:
        read_answer(answer)
    except ValueError:
        return False
    return True


def prompt_ids(chat: ChatEncoder, turn: str, begun: str = "") -> list[int]:
    """Token ids of a user turn and of what the answer begins with."""
    answer = "" if chat.has_template else "Answer:\n"
    return chat.ids(chat.prompt(turn) + answer + begun)
