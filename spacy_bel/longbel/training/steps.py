"""One step of the optimizer after another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from ...errors import TrainingError
from ...memory import free_memory, is_out_of_memory
from .batching import Places, Plan, micro_batches, shares
from .distributed import Workers
from .objectives import Objective
from .sequence import TokenSequence
from .settings import TrainingSettings

logger = logging.getLogger(__name__)

_Found = TypeVar("_Found")


class StepResult(NamedTuple):
    """loss: summed over the learned tokens of a step. targets, tokens: learned, and read."""

    loss: float
    targets: int
    tokens: int


class DevelopmentScores(NamedTuple):
    """loss: per learned token. exact_match: share of names of which every token is the best one."""

    loss: float
    exact_match: float


class Steps:
    """An objective, its optimizer, and the sequences that it learns.

    The loss of a step is the mean over all tokens that are learned in it, in whatever process, so
    that it does not depend on how many processes there are and what fits into their memory.

    sequences: to learn. workers: the processes among which each step is split.
    """

    def __init__(
        self,
        objective: Objective,
        sequences: Sequence[TokenSequence],
        settings: TrainingSettings,
        workers: Workers,
    ) -> None:
        self.objective, self.sequences = objective, sequences
        self.settings, self.workers = settings, workers
        self.plan = Plan([each.tokens for each in sequences], settings.batch_tokens, settings.seed)
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimizer = _optimizer(self.parameters, settings, objective.device)
        self.micro_tokens = settings.micro_batch_tokens or settings.batch_tokens

    def step(self, step: int, chosen: Places, rate: float) -> StepResult:
        """Learn some sequences. step: of the run, from 0. rate: of learning.

        Raises TrainingError if loss or gradients are no numbers.
        """
        workers = self.workers
        targets = sum(self.sequences[i].targets for i in chosen)
        places = shares(chosen, self.plan.tokens, workers.count)[workers.rank]
        own = [self.sequences[i] for i in places]
        [loss] = workers.total([self._while_memory(lambda: self._gradients(step, own, targets))])
        if workers.count > 1:
            for parameter in self.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            workers.add([p.grad for p in self.parameters if p.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.max_grad_norm)
        if not np.isfinite(loss) or not torch.isfinite(norm):
            raise TrainingError(
                f"Loss or gradients are no numbers any more at step {step + 1}: lower "
                "learning_rate, or train in float32. The last checkpoint is kept."
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss, targets, int(self.plan.tokens[chosen].sum()))

    @torch.no_grad()
    def scores(self, sequences: Sequence[TokenSequence]) -> DevelopmentScores:
        """How well sequences are foretold, which are split among the processes."""
        tokens = np.array([each.tokens for each in sequences])
        places = shares(np.arange(len(sequences)), tokens, self.workers.count)[self.workers.rank]
        own = [sequences[i] for i in places]
        self.objective.eval()
        found = self._while_memory(lambda: self._judged(own))
        self.objective.train()
        loss, targets, right, names = self.workers.total(found)
        return DevelopmentScores(loss / max(targets, 1), right / max(names, 1))

    def _gradients(self, step: int, own: Sequence[TokenSequence], targets: int) -> float:
        """Add up gradients; the summed loss."""
        self.optimizer.zero_grad(set_to_none=True)
        # What is dropped depends on the step alone: a run that is taken up drops the same.
        seed = np.random.SeedSequence([self.settings.seed, step, self.workers.rank])
        torch.manual_seed(int(seed.generate_state(1)[0]))
        losses = []
        for batch in micro_batches(own, self.micro_tokens):
            with self._arithmetic():
                loss = -self.objective(batch).sum()
            (loss / targets).backward()
            losses.append(loss.detach())
        return float(torch.stack(losses).sum()) if losses else 0.0

    def _judged(self, own: Sequence[TokenSequence]) -> tuple[float, float, float, float]:
        loss = right = 0.0
        for batch in micro_batches(own, self.micro_tokens):
            with self._arithmetic():
                judged = self.objective.judge(batch)
            loss -= float(judged.log_probs.sum())
            counts = [b - a for each in batch for a, b in each.learned]
            right += sum(bool(name.all()) for name in judged.best.cpu().split(counts))
        targets = sum(each.targets for each in own)
        return loss, targets, right, sum(len(each.learned) for each in own)

    def _while_memory(self, compute: Callable[[], _Found]) -> _Found:
        """What a function computes, which begins again with smaller batches where memory ends."""
        while True:
            try:
                return compute()
            except Exception as error:
                smallest = max((each.tokens for each in self.sequences), default=1)
                if not is_out_of_memory(error) or self.micro_tokens <= smallest:
                    raise
            # Outside of the handler, which holds what was computed.
            self.optimizer.zero_grad(set_to_none=True)
            free_memory()
            self.micro_tokens = max(self.micro_tokens // 2, 1)
            logger.warning(
                "Memory ran out: from now on %d tokens are read at once (micro_batch_tokens).",
                self.micro_tokens,
            )

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self.settings.dtype == "bfloat16":
            return torch.autocast(self.objective.device.type, torch.bfloat16)
        return nullcontext()


def _optimizer(
    parameters: Sequence[torch.nn.Parameter], settings: TrainingSettings, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW, without decay of biases and norms."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "eps": settings.epsilon,
    }
    groups = [group for group in groups if group["params"]]
    try:
        return torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"), **options)
    except RuntimeError:  # PyTorch before 2.4 has no fused step on a CPU
        return torch.optim.AdamW(groups, **options)
