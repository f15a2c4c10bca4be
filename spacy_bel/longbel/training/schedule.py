"""The learning rate from step to step."""

from __future__ import annotations

import math

from .settings import TrainingSettings


def learning_rate(settings: TrainingSettings, done: float, step: int, steps: int) -> float:
    """The learning rate of a step.

    done: share of the run that lies behind, in [0, 1]. step: of the optimizer, from 0. steps: of
    the whole run, 0 where the clock ends it.
    """
    warmup = settings.warmup
    if warmup >= 1:
        rising, begun = (step + 1) / warmup, warmup / steps if steps else 0.0
    elif warmup > 0:
        first = 1 / steps if steps else 0.01  # the first step learns something, too
        rising, begun = (done + first) / warmup, warmup
    else:
        rising, begun = 1.0, 0.0
    if rising < 1:
        return settings.learning_rate * rising
    left = 1.0 if begun >= 1 else min(1.0, max(0.0, (1 - done) / (1 - begun)))
    if settings.schedule == "linear":
        return settings.learning_rate * left
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 - math.cos(math.pi * left)) / 2
    return settings.learning_rate
