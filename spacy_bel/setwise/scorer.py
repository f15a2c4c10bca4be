"""Probabilities of letters at the end of prompts, many prompts in one forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from ..errors import ModelError, SettingsError
from ..memory import free_memory, is_out_of_memory
from .forward import Prompt, run, side_by_side

T = TypeVar("T")


class LetterScorer:
    """Reads prompts with a causal language model and scores the letters that may follow.

    The letter of the highest score is the one that greedy generation among the letters would write;
    nothing is generated. Scoring labels by their logits is the likelihood variant of set-wise
    ranking (Zhuang et al. 2024, doi 10.1145/3626772.3657813).

    Prompts are read by descending length, as many together as `batch_tokens` holds with padding.
    What all of them begin with is read once and kept for the next call. If memory runs out,
    `batch_tokens` is halved and the batch is read again in parts.

    model: transformers causal language model. letters: token ids, the first for the first option.
    batch_tokens: tokens per forward pass; one prompt is read whatever its length. dtype: see
    `forward.run`.

    halved: how often memory ran out. read_tokens: tokens read so far, without padding.
    """

    def __init__(
        self,
        model: Any,
        letters: Sequence[int],
        *,
        batch_tokens: int = 4096,
        dtype: torch.dtype | None = None,
    ) -> None:
        if batch_tokens < 1:
            raise SettingsError("batch_tokens must be at least 1.")
        self.model = model
        self.letters = torch.tensor(letters, device=model.device)
        self.batch_tokens = batch_tokens
        self.dtype = dtype
        self.halved = 0
        self.read_tokens = 0
        self._prefix: list[int] = []
        self._cache: Any = None
        self._previous: Sequence[int] | None = None

    def forget(self) -> None:
        """Read everything anew from now on; needed where the model's weights have changed."""
        self._prefix, self._cache, self._previous = [], None, None

    def score(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        """Log-probability of each letter of each prompt, float64 (letters,), in the order given.

        Probabilities sum to one over the letters of a prompt. Raises ModelError if the model gives
        NaN or infinity for a prompt, or memory does not suffice for one.
        """
        results: list[np.ndarray] = [np.empty(0)] * len(prompts)
        if not prompts:
            return results
        self.model.eval()  # training leaves it with dropout on
        self._share_prefix(prompts)
        waiting = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].ids))
        while waiting:
            longest = len(prompts[waiting[0]].ids)
            batch = waiting[: max(1, self.batch_tokens // longest)]
            logits = _unless_out_of_memory(partial(self._read, [prompts[i].ids for i in batch]))
            if logits is None:
                self._back_off(prompts[batch[0]], longest * len(batch), len(batch))
                continue
            for i, row in zip(batch, logits, strict=True):
                results[i] = _log_probabilities(row[: prompts[i].letters], prompts[i].mention)
            waiting = waiting[len(batch) :]
        return results

    def _share_prefix(self, prompts: Sequence[Prompt]) -> None:
        """Read what prompts begin with, unless what was read for an earlier call will do."""
        if self._cache is not None and all(
            len(prompt.ids) > len(self._prefix)
            and list(prompt.ids[: len(self._prefix)]) == self._prefix
            for prompt in prompts
        ):
            return
        # A single prompt has nothing in common but with the one before it.
        known = [prompt.ids for prompt in prompts]
        if self._previous is not None:
            known.append(self._previous)
        self._previous = prompts[-1].ids
        length = _common_length(known) if len(known) > 1 else 0
        self._prefix, self._cache = [], None
        if length:
            prefix = list(known[0][:length])
            ids = torch.tensor([prefix], device=self.model.device)
            last = torch.tensor([length - 1], device=self.model.device)
            output = _unless_out_of_memory(lambda: self._run(ids, last, keep=True))
            cache = getattr(output, "past_key_values", None)
            if isinstance(cache, tuple):  # some models of transformers 4
                cache = DynamicCache.from_legacy_cache(cache)
            # Models with a memory of another kind read every prompt in full.
            if hasattr(cache, "batch_repeat_interleave"):
                self._prefix, self._cache = prefix, cache
                self.read_tokens += length

    def _read(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        """Logits of all letters, float64 (rows, letters)."""
        tails = [ids[len(self._prefix) :] for ids in batch]
        ids, last = side_by_side(tails, self.model.device)
        cache = copy.deepcopy(self._cache)
        if cache is not None:
            cache.batch_repeat_interleave(len(tails))
        logits = self._run(ids, last, cache).logits
        self.read_tokens += sum(map(len, tails))
        return logits[:, 0, self.letters].double().cpu().numpy()

    @torch.no_grad()
    def _run(self, ids: Tensor, last: Tensor, cache: Any = None, *, keep: bool = False) -> Any:
        return run(self.model, ids, last, cache, keep=keep, dtype=self.dtype)

    def _back_off(self, longest: Prompt, used: int, rows: int) -> None:
        if rows == 1:
            raise ModelError(
                f"Memory does not suffice to read the prompt of the mention '{longest.mention}' "
                f"({len(longest.ids)} tokens). Use a smaller model, fewer options, or another "
                "device."
            )
        self.batch_tokens = max(1, used // 2)
        self.halved += 1


def _log_probabilities(logits: np.ndarray, mention: str) -> np.ndarray:
    if not np.isfinite(logits).all():
        raise ModelError(
            f"The model gives NaN or infinity for the mention '{mention}': its weights are damaged,"
            ' or need dtype "float32".'
        )
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def _common_length(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with; one of each is always left over."""
    first = sequences[0]
    length = min(map(len, sequences)) - 1
    for other in sequences[1:]:
        length = next((i for i in range(length) if first[i] != other[i]), length)
    return max(0, length)


def _unless_out_of_memory(run: Callable[[], T]) -> T | None:
    """What `run` returns; None if memory does not suffice."""
    try:
        return run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Only here, where the error no longer holds the tensors of the pass.
    free_memory()
    return None
