"""What prompts teach: batches of them, the loss of the letters that follow, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .engine import LetterEngine
from .examples import SetwiseExample
from .forward import Prompt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AnsweredPrompt:
    """A prompt and the index of the letter that is to follow it."""

    prompt: Prompt
    answer: int

    @property
    def tokens(self) -> int:
        """How many a model reads for it."""
        return len(self.prompt.ids)

    @property
    def weight(self) -> int:
        """How many mentions it teaches about."""
        return 1


def answered(example: SetwiseExample, engine: LetterEngine) -> AnsweredPrompt:
    """The prompt of an example.

    If the right option is left out for want of room, "none of the above" is right.
    """
    asked, ids = engine.encode(example.question)
    options = len(asked.options)
    return AnsweredPrompt(Prompt(ids, options + 1, asked.mention), min(example.answer, options))


def batches(items: Sequence[AnsweredPrompt], batch_tokens: int) -> list[list[Prompt]]:
    """Prompts in their order, as many together as `batch_tokens` holds with padding, at least one.

    Best given by length.
    """
    result: list[list[Prompt]] = []
    longest = 0
    for item in items:
        longest = max(longest, item.tokens)
        if not result or longest * (len(result[-1]) + 1) > batch_tokens:
            result.append([])
            longest = item.tokens
        result[-1].append(item.prompt)
    return result


def loss_and_gradients(
    items: Sequence[AnsweredPrompt], logits: Sequence[FloatArray]
) -> tuple[float, list[FloatArray]]:
    """Cross-entropy of the right letters among those of each prompt, added up, and its gradient.

    logits: of each batch that `batches` made of the items, shape (prompts, letters), -inf for
    letters that a prompt has not; the gradients are of the same shapes.
    """
    loss, at, gradients = 0.0, 0, []
    for rows in logits:
        scores = rows.astype(np.float64)
        answers = [item.answer for item in items[at : at + len(rows)]]
        at += len(rows)
        shifted = scores - scores.max(axis=1, keepdims=True)
        weights = np.exp(shifted)
        sums = weights.sum(axis=1, keepdims=True)
        right = (np.arange(len(rows)), answers)
        loss += float(np.sum(np.log(sums[:, 0]) - shifted[right]))
        slope = weights / sums
        slope[right] -= 1
        gradients.append(slope.astype(np.float32))
    return loss, gradients
