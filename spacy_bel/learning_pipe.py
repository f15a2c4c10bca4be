"""What components that learn share: spaCy's conventions, torch models, running out of memory."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from spacy.language import Language
from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.training import Example, validate_examples
from thinc.api import Model, Optimizer

from .dropout import set_dropout
from .errors import ModelError, TrainingError
from .linking_pipe import LinkingPipe
from .memory import free_memory, is_out_of_memory
from .torch_shim import get_engine

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

#: Of so many examples `initialize` looks whether anything can be learned from them.
SAMPLE = 100


class TrainingItem(Protocol):
    """Something to learn from that is read as a whole, but apart from other items."""

    @property
    def tokens(self) -> int:
        """How many tokens a model reads for it."""

    @property
    def weight(self) -> int:
        """How much it counts in the mean loss: its mentions, or what else losses are added over."""


class LearningPipe(LinkingPipe, TrainablePipe):
    """Base of the trainable components.

    model: made by `spacy_bel.torch_shim.engine_model`. learning_tokens: that are learned from at
    once; halved whenever memory runs out. The other arguments are those of `LinkingPipe`.
    Subclasses implement `link`, `training_items`, `training_batches` and `training_loss`.
    """

    def __init__(
        self,
        nlp: Language,
        name: str,
        model: Model[Any, Any],
        *,
        learning_tokens: int,
        **settings: Any,
    ) -> None:
        super().__init__(nlp, name, **settings)
        self.model = model
        self.learning_tokens = learning_tokens
        self._process = os.getpid()

    @abstractmethod
    def training_items(self, examples: Sequence[Example]) -> Sequence[TrainingItem]:
        """What examples teach."""

    @abstractmethod
    def training_batches(self, items: Sequence[Any]) -> list[Any]:
        """Batches for the engine's `forward`, in which some items are read."""

    @abstractmethod
    def training_loss(
        self, items: Sequence[Any], batches: Sequence[Any], logits: Sequence[FloatArray]
    ) -> tuple[float, list[FloatArray]]:
        """The loss of items, added up, and its gradient for each batch of what the engine gave."""

    def first_examples(
        self, get_examples: Callable[[], Iterable[Example]], nlp: Language | None
    ) -> list[Example]:
        """Some examples as they are in training, where annotating components come before."""
        found = list(islice(get_examples(), SAMPLE))
        training = nlp.config.get("training", {}) if nlp is not None else {}
        annotating = training.get("annotating_components", [])
        # Frozen components are disabled by now, but can be called.
        for name, pipe in nlp.components if nlp is not None and annotating else []:
            if name == self.name:
                break
            if name in annotating:
                found = [Example(pipe(eg.predicted.copy()), eg.reference) for eg in found]
        return found

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch of examples.

        drop: dropout everywhere where the model has any, instead of what it was pretrained with.
        losses: the mean loss is added under the component's name.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        self.prepare()
        set_dropout(get_engine(self.model).model, drop)
        items = sorted(self.training_items(examples), key=lambda item: item.tokens, reverse=True)
        weight = sum(item.weight for item in items)
        at = 0
        while at < len(items):
            together = items[at : at + 1]
            for item in items[at + 1 :]:
                if sum(i.tokens for i in together) + item.tokens > self.learning_tokens:
                    break
                together.append(item)
            if self._learn(together, weight, losses):
                at += len(together)
        if sgd is not None and items:
            self.finish_update(sgd)
        return losses

    def _learn(self, items: list[TrainingItem], weight: int, losses: dict[str, float]) -> bool:
        """Add up the gradients of some items; False, and less at once, if memory ran out."""
        tokens = sum(item.tokens for item in items)
        try:
            batches = self.training_batches(items)
            logits, backprop = self.model.begin_update(batches)
            arrays = [self.model.ops.to_numpy(array) for array in logits]
            loss, gradients = (
                (float("nan"), list[FloatArray]())
                if any(np.isnan(array).any() for array in arrays)
                else self.training_loss(items, batches, arrays)
            )
            if not np.isfinite(loss):
                raise TrainingError(
                    f"The loss of {self.name} is not a number: lower the learning rate, or use "
                    'dtype "float32".'
                )
            backprop([self.model.ops.xp.asarray(gradient / weight) for gradient in gradients])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(items) == 1:
                raise ModelError(
                    f"There is too little memory to learn from {tokens} tokens: use shorter "
                    "inputs, fewer candidates, or a smaller model."
                ) from error
        else:
            losses[self.name] += loss / weight
            return True
        free_memory()
        self.learning_tokens = max(1, min(tokens, self.learning_tokens) // 2)
        logger.warning("%s: memory ran out; %d tokens at once.", self.name, self.learning_tokens)
        return False

    def _mind_process(self) -> None:
        """Threads do not survive a fork: using them in the child would wait forever."""
        if self._process != os.getpid():
            torch.set_num_threads(1)
            self._process = os.getpid()

    def _state(self) -> dict[str, Any]:
        # These are no entries of `__dict__`: spaCy keeps them in C.
        kept_in_c = ("vocab", "model", "cfg", "scorer")
        return {**super()._state(), **{key: getattr(self, key) for key in kept_in_c}}
