"""A training run, from its first step or its checkpoint to its output."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from tqdm import tqdm

from ...checkpoints import disk_errors
from ...kb.atomic import new_directory
from ..models.base import LanguageModel
from ..models.copy_lm import CopyLanguageModel
from ..prompts import PROMPTS, Prompt
from .checkpoint import Progress, RunCheckpoint
from .distributed import Workers
from .lora import Adapters
from .objectives import Objective
from .schedule import learning_rate
from .sequence import TokenSequence
from .settings import TrainingSettings
from .steps import Steps
from .tokenizing import TokenizingReport

logger = logging.getLogger(__name__)

#: The file of an output that holds settings and figures.
REPORT = "training.json"


class Run:
    """A run from its first step or its checkpoint to its end.

    sequences: to learn. held_out: choose the best weights. run: what the run is made from. rate:
    of each step, instead of that of the settings.
    """

    def __init__(
        self,
        objective: Objective,
        sequences: Sequence[TokenSequence],
        held_out: Sequence[TokenSequence],
        settings: TrainingSettings,
        output: Path,
        run: dict[str, Any],
        workers: Workers,
        rate: Callable[[int], float] | None,
    ) -> None:
        self.objective, self.held_out = objective, held_out
        self.settings, self.output, self.run_made_from = settings, output, run
        self.workers, self.rate = workers, rate
        self.steps = Steps(objective, sequences, settings, workers)
        self.checkpoint = RunCheckpoint(output, run, self.steps.parameters, self.steps.optimizer)
        self.total = self._total()
        self.progress = Progress()

    def run(self, show: bool) -> None:
        """Make all steps that are left."""
        settings, now = self.settings, self.progress
        restored = self.checkpoint.restore()
        if restored is not None:
            self.progress = now = restored
            logger.info("Going on after step %d of the run at %s.", now.step, self.output)
        self.objective.train()
        begun = time.monotonic() - now.seconds
        with _bar(self.total, settings.minutes, show and self.workers.main) as bar:
            _show(bar, self.total, now)
            while (done := self._done(now)) < 1 and not self._tired(now):
                epoch = self.steps.plan.epoch(now.epoch)
                rate = learning_rate(settings, done, now.step, self.total)
                if self.rate is not None:
                    rate = self.rate(now.step)
                result = self.steps.step(now.step, epoch[now.behind], rate)
                now.step, now.behind = now.step + 1, now.behind + 1
                now.loss += result.loss
                now.targets += result.targets
                now.tokens += result.tokens
                ended = now.behind == len(epoch)
                if ended:
                    now.epoch, now.behind = now.epoch + 1, 0
                now.seconds = time.monotonic() - begun
                _show(bar, self.total, now)
                if settings.minutes is not None:
                    # All processes have to end at the same step.
                    mine = now.seconds if self.workers.main else 0.0
                    [now.seconds] = self.workers.total([mine])
                every = settings.eval_every
                due = now.step % every == 0 if every else ended
                over = self._done(now) >= 1
                if due or over:
                    self._evaluate(rate, len(epoch))
                    now.seconds = max(now.seconds, time.monotonic() - begun)
                    now.since = now.seconds
                    if show and self.workers.main:
                        _tell(bar, now.history[-1])
                saves = settings.checkpoint_every
                if due or (saves and now.step % saves == 0 and not over):
                    self._save()
                    if show and self.workers.main and not due:
                        # Where there is no terminal, no bar is shown.
                        part, loss = self._done(now), now.loss / max(now.targets, 1)
                        logger.info("step %d (%.0f %%)  loss %.4f", now.step, 100 * part, loss)
        self.objective.eval()

    def write(
        self,
        model: LanguageModel,
        prompt: Prompt,
        adapters: Adapters | None,
        examples: TokenizingReport,
        development: TokenizingReport | None,
    ) -> dict[str, Any]:
        """Write the output, with the best weights, and remove the checkpoint; the report."""
        now = self.progress
        last = len(now.history) - 1
        best = now.best if self.held_out else last
        epoch = self.steps.plan.epoch(now.epoch)
        report = {
            "run": self.checkpoint.run_id,
            **self.run_made_from,
            "settings": asdict(self.settings),
            "steps": now.step,
            "epochs": round(now.epoch + now.behind / len(epoch), 4),
            "seconds": round(now.seconds, 1),
            "processes": self.workers.count,
            "counts": asdict(examples),
            "development_counts": None if development is None else asdict(development),
            "best": best,
            "history": now.history,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        }
        if isinstance(model, CopyLanguageModel) and prompt.name in PROMPTS:
            model.prompt = prompt.name
            model.network.config = replace(model.network.config, prompt=prompt.name)
        if best != last:
            beside = self.output.with_name(f"{self.output.name}-last")
            with nullcontext() if adapters is None else adapters.merged():
                self._write(model, beside, {**report, "best": last})
            self.checkpoint.take_best()
        if adapters is not None:
            adapters.merge()
        self._write(model, self.output, report)
        # What is copied with a pipeline are the files of this directory.
        model.directory = self.output
        if self.workers.main:
            self.checkpoint.remove()
        self.workers.wait()
        return report

    def _write(self, model: LanguageModel, output: Path, report: dict[str, Any]) -> None:
        if self.workers.main:
            with disk_errors(output), new_directory(output, force=True) as directory:
                model.save(directory)  # type: ignore[attr-defined]
                text = json.dumps(report, indent=1) + "\n"
                (directory / REPORT).write_text(text, encoding="utf-8")
        self.workers.wait()

    def _evaluate(self, rate: float, steps: int) -> None:
        now = self.progress
        entry: dict[str, Any] = {
            "step": now.step,
            "epoch": round(now.epoch + now.behind / steps, 4),
            "loss": now.loss / max(now.targets, 1),
            "learning_rate": rate,
            "tokens_per_second": round(now.tokens / max(now.seconds - now.since, 1e-9)),
            "seconds": round(now.seconds, 1),
        }
        if self.held_out:
            scores = self.steps.scores(self.held_out)
            entry |= {"dev_loss": scores.loss, "dev_exact_match": scores.exact_match}
        now.history.append(entry)
        now.loss, now.targets, now.tokens = 0.0, 0, 0
        if self.held_out and (now.best < 0 or _rank(entry) > _rank(now.history[now.best])):
            now.best = len(now.history) - 1
            self.checkpoint.keep_best()

    def _save(self) -> None:
        if self.workers.main:
            self.checkpoint.save(self.progress)
        self.workers.wait()

    def _tired(self, now: Progress) -> bool:
        patience = self.settings.patience
        return bool(patience and now.best >= 0 and len(now.history) - 1 - now.best >= patience)

    def _total(self) -> int:
        """Steps until the run ends, if the clock does not end it before; 0 if only that does."""
        settings = self.settings
        if settings.epochs is None:
            return settings.max_steps or 0
        total, most = 0, settings.max_steps
        for epoch in range(settings.epochs):
            total += len(self.steps.plan.epoch(epoch))
            if most is not None and total >= most:
                return most
        return total

    def _done(self, now: Progress) -> float:
        """Share of the run that lies behind."""
        by_steps = now.step / self.total if self.total else 0.0
        minutes = self.settings.minutes
        return max(by_steps, now.seconds / 60 / minutes if minutes else 0.0)


def _rank(entry: Mapping[str, Any]) -> tuple[float, float]:
    return entry["dev_exact_match"], -entry["dev_loss"]


def _bar(total: int, minutes: float | None, show: bool) -> Any:
    whole = total or round(60 * (minutes or 0))
    return tqdm(
        total=whole, desc="training", unit="step" if total else "s", disable=None if show else True
    )


def _show(bar: Any, total: int, now: Progress) -> None:
    bar.update((now.step if total else min(round(now.seconds), bar.total or 0)) - bar.n)
    if now.targets:
        speed = now.tokens / max(now.seconds - now.since, 1e-9)
        loss = f"{now.loss / now.targets:.3f}"
        bar.set_postfix(loss=loss, tokens=f"{speed:,.0f}/s", refresh=False)


def _tell(bar: Any, entry: Mapping[str, Any]) -> None:
    line = f"step {entry['step']}  epoch {entry['epoch']:.2f}  loss {entry['loss']:.4f}"
    if "dev_loss" in entry:
        line += f"  dev loss {entry['dev_loss']:.4f}  exact match {entry['dev_exact_match']:.1%}"
    logger.info("%s  %d tokens/s", line, entry["tokens_per_second"])
