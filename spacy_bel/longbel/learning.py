"""What `longbel_linker` learns from and with: its settings, and its model as thinc trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from thinc.api import Model
from torch import Tensor

from ..errors import SettingsError
from ..kb import KnowledgeBase
from ..torch_shim import engine_model, get_shim, has_engine
from .models.base import LanguageModel
from .models.loading import copy_model, resolve_model
from .training.building import GroupSource, MemorySource
from .training.objectives import objective_of
from .training.sequence import TokenSequence
from .training.settings import from_mapping
from .training.targets import TargetChooser, TargetName, make_targets


@dataclass(frozen=True)
class LearningSettings:
    """How examples are made of documents.

    target: which name of the gold concept is learned: what `make_targets` knows by a name, a
    `TargetChooser`, or a function that returns one. memory: what prompts show of earlier links,
    groups: where those of mentions come from; see `ExampleBuilder`. batch_tokens: that are learned
    from at once. label_smoothing: share of a learned token's weight that all tokens get alike.

    Raises SettingsError for a setting that cannot be used.
    """

    target: str | TargetChooser | Callable[[], TargetChooser] = "tfidf"
    memory: MemorySource = "gold"
    groups: GroupSource = "label"
    batch_tokens: int = 4096
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("memory", MemorySource), ("groups", GroupSource)):
            if (value := getattr(self, name)) not in get_args(known):
                choices = ", ".join(map(repr, get_args(known)))
                raise SettingsError(f"learning.{name} is {value!r}: use one of {choices}.")
        if not 0 <= self.label_smoothing < 1:
            raise SettingsError(
                f"learning.label_smoothing is {self.label_smoothing}: give 0 to below 1."
            )
        if self.batch_tokens < 1:
            raise SettingsError(f"learning.batch_tokens is {self.batch_tokens}: give 1 or more.")

    @classmethod
    def from_config(cls, settings: Mapping[str, Any] | None) -> LearningSettings:
        """Read the block ``[components.longbel_linker.learning]``."""
        return from_mapping(cls, settings or {}, "learning")

    def chooser(self, kb: KnowledgeBase) -> TargetChooser:
        """What chooses the names of a knowledge base."""
        if isinstance(self.target, str):
            return make_targets(cast(TargetName, self.target), kb)
        return self.target() if callable(self.target) else self.target


class LearningModel:
    """A language model as `spacy_bel.torch_shim.Engine`: batches of sequences in, what their
    learned tokens are given out.
    """

    def __init__(self, language_model: LanguageModel, label_smoothing: float = 0.0) -> None:
        self.language_model = language_model
        self.model: torch.nn.Module = objective_of(language_model, label_smoothing=label_smoothing)

    def forward(self, batch: Sequence[TokenSequence]) -> Tensor:
        """Log-probabilities of the learned tokens, shape (targets, 1)."""
        log_probs: Tensor = self.model(batch)
        return log_probs[:, None]

    def to_disk(self, path: Path) -> None:
        """Write the directory of the language model."""
        copy_model(self.language_model, path)


def thinc_model() -> Model[Any, Any]:
    """A thinc model without a language model; see `learning_model`."""
    return engine_model("longbel", _none, _load)


def learning_model(
    model: Model[Any, Any], language_model: LanguageModel, settings: LearningSettings
) -> LearningModel:
    """What trains a language model, put into a thinc model if it is not yet there."""
    shim = get_shim(model)
    engine = shim.engine
    if not isinstance(engine, LearningModel) or engine.language_model is not language_model:
        engine = LearningModel(language_model, settings.label_smoothing)
        shim.set_engine(engine)
    return engine


def stop_learning(model: Model[Any, Any]) -> None:
    """Let a model that was trained be read again."""
    if has_engine(model):
        get_shim(model).engine.model.eval()  # type: ignore[union-attr]


def _load(path: Path, device: torch.device) -> LearningModel:
    return LearningModel(resolve_model(path, device=str(device)))


def _none(device: torch.device) -> LearningModel:
    raise SettingsError("The model of a linker is loaded by the component.")
