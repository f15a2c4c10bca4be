"""What a config of ``spacy train`` says about training a generator; knows spaCy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from confection import Config
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.util import registry, resolve_dot_names

from ...errors import SettingsError
from .settings import TrainingSettings, from_mapping

SECTION = "longbel_training"
#: Settings that ``[training]`` decides, and where it does.
_ELSEWHERE = {
    "learning_rate": "[training.optimizer] learn_rate",
    "schedule": "[training.optimizer] learn_rate",
    "warmup": "[training.optimizer] learn_rate",
    "weight_decay": "[training.optimizer] L2",
    "betas": "[training.optimizer] beta1 and beta2",
    "epsilon": "[training.optimizer] eps",
    "max_grad_norm": "[training.optimizer] grad_clip",
    "epochs": "[training] max_epochs",
    "max_steps": "[training] max_steps",
    "dropout": "[training] dropout",
    "label_smoothing": "label_smoothing under [components.longbel_linker.learning]",
    "eval_every": "[training] eval_frequency",
    "patience": "[training] patience",
    "seed": "[training] seed",
}


@dataclass
class Rates:
    """Learning rate of every step, from a thinc optimizer, whose schedules go forward only."""

    optimizer: Any
    _known: list[float] = field(default_factory=list)

    def __call__(self, step: int) -> float:
        """The rate of a step, from 0."""
        while len(self._known) <= step:
            self._known.append(float(self.optimizer.learn_rate))
            self.optimizer.step_schedules()
        return self._known[step]


@dataclass(frozen=True)
class SpacyTraining:
    """The sections of a config that training reads.

    settings, rate: for `train`. train, dev: read a corpus. annotating: components that come before,
    whose annotations examples are given. before_to_disk: called with the pipeline before it is
    written.
    """

    settings: TrainingSettings
    rate: Rates
    train: Callable[[Language], Iterable[Example]]
    dev: Callable[[Language], Iterable[Example]]
    annotating: list[str]
    before_to_disk: Callable[[Language], Language] | None


def read_training(config: Config) -> SpacyTraining:
    """Read ``[training]``, the corpora that it names, and ``[longbel_training]``.

    Raises SettingsError for what cannot be used.
    """
    config = config.interpolate()
    training = registry.resolve(config["training"], schema=ConfigSchemaTraining)
    train, dev = resolve_dot_names(config, [training["train_corpus"], training["dev_corpus"]])
    optimizer: Any = training["optimizer"]
    return SpacyTraining(
        training_settings(training, config.get(SECTION, {})),
        Rates(optimizer),
        train,
        dev,
        list(training["annotating_components"]),
        training["before_to_disk"],
    )


def training_settings(training: Mapping[str, Any], own: Mapping[str, Any]) -> TrainingSettings:
    """Settings of `train`.

    training: the resolved section ``[training]``. own: the section ``[longbel_training]``.
    """
    for name in own:
        if name in _ELSEWHERE:
            raise SettingsError(f"[{SECTION}] has no {name}: set {_ELSEWHERE[name]}.")
    optimizer, every = training["optimizer"], training["eval_frequency"]
    shared = {
        "learning_rate": 1.0,  # replaced, step by step
        "schedule": "constant",
        "warmup": 0,
        "weight_decay": float(optimizer.L2),
        "betas": (float(optimizer.b1), float(optimizer.b2)),
        "epsilon": float(optimizer.eps),
        "max_grad_norm": float(optimizer.grad_clip) or float("1e30"),
        "epochs": training["max_epochs"] if training["max_epochs"] > 0 else None,
        "max_steps": training["max_steps"] or None,
        "dropout": float(training["dropout"]),
        "eval_every": every,
        # There it is counted in steps, here in evaluations.
        "patience": -(-training["patience"] // every) if training["patience"] else 0,
        "seed": training["seed"] or 0,
    }
    known = [f.name for f in fields(TrainingSettings) if f.name not in _ELSEWHERE]
    default = TrainingSettings(max_steps=1)
    mine = {name: own.get(name, getattr(default, name)) for name in known}
    unknown = {name: value for name, value in own.items() if name not in known}
    mine["batch_tokens"] = mine["batch_tokens"] * training["accumulate_gradient"]
    if mine["micro_batch_tokens"] is None and training["accumulate_gradient"] > 1:
        mine["micro_batch_tokens"] = mine["batch_tokens"] // training["accumulate_gradient"]
    return from_mapping(TrainingSettings, {**mine, **shared, **unknown}, SECTION)


def annotated(
    nlp: Language, examples: Iterable[Example], annotating: Iterable[str]
) -> Iterator[Example]:
    """Examples with what some components of a pipeline add to them."""
    pipes = [nlp.get_pipe(name) for name in nlp.pipe_names if name in set(annotating)]
    for example in examples:
        doc = example.predicted
        for pipe in pipes:
            doc = pipe(doc)
        yield Example(doc, example.reference) if pipes else example
