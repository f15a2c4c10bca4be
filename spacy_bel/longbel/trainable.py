"""The part of `longbel_linker` that learns, by spaCy's conventions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.training import Example, validate_get_examples
from thinc.api import Optimizer

from ..learning_pipe import FloatArray
from .calibrating import GoldDocument
from .engine import Engine
from .learning import LearningSettings, learning_model, stop_learning
from .resources import LinkerResources
from .training.building import ExampleBuilder, GroupSource
from .training.earlier_links import MemorySource
from .training.sequence import TokenSequence
from .training.targets import TargetChooser
from .training.tokenizing import SequenceMaker


@dataclass(frozen=True, slots=True)
class _Item:
    """A sequence as `LearningPipe` counts it: losses are added up over learned tokens."""

    sequence: TokenSequence

    @property
    def tokens(self) -> int:
        return self.sequence.tokens

    @property
    def weight(self) -> int:
        return self.sequence.targets


class TrainableLinker(LinkerResources):
    """A linker whose model learns to write the names of gold concepts.

    learning: see `LearningSettings.from_config`. The other arguments are those of
    `LinkerResources`.
    """

    def __init__(
        self, nlp: Language, name: str, *, learning: Mapping[str, Any] | None, **settings: Any
    ) -> None:
        self.learning = LearningSettings.from_config(learning)
        super().__init__(nlp, name, learning_tokens=self.learning.batch_tokens, **settings)
        self._makers: tuple[Engine, ExampleBuilder, SequenceMaker] | None = None

    @abstractmethod
    def single_engine(self, purpose: str) -> Engine:
        """The engine of one model and prompt."""

    @abstractmethod
    def gold_documents(self, examples: Iterable[Example]) -> Iterator[GoldDocument]:
        """What is read of the predicted documents, with the gold codes of the references."""

    @property
    def example_builder(self) -> ExampleBuilder:
        """What makes training examples of documents."""
        return self._learning_from()[0]

    def prepare(self) -> None:
        """Open knowledge base, model and names."""
        super().prepare()
        stop_learning(self.model)

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Open what the component links with, and look whether something can be learned.

        Raises TrainingError if the first examples teach nothing.
        """
        validate_get_examples(get_examples, f"{type(self).__name__}.initialize")
        super().initialize(get_examples, nlp=nlp)
        self.training_items(self.first_examples(get_examples, nlp))
        self.example_builder.check()

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch of examples; see `LearningPipe.update`."""
        self.prepare()
        model = self.language_model
        learning_model(self.model, model, self.learning)
        losses = super().update(examples, drop=drop, sgd=sgd, losses=losses)
        model.directory = None  # its files are those of another model now
        return losses

    def training_items(self, examples: Sequence[Example]) -> list[_Item]:
        """Sequences of tokens that examples teach, memory as `learning` says."""
        builder, maker = self._learning_from()
        made = [each for gold in self.gold_documents(examples) for each in builder.examples(gold)]
        return [_Item(sequence) for sequence in maker.sequences(made)]

    def training_batches(self, items: Sequence[_Item]) -> list[list[TokenSequence]]:
        """Sequences that are read one behind the other."""
        return [[item.sequence for item in items]]

    def training_loss(
        self,
        items: Sequence[_Item],
        batches: Sequence[list[TokenSequence]],
        logits: Sequence[FloatArray],
    ) -> tuple[float, list[FloatArray]]:
        """Negative log-likelihood of the learned tokens; logits: their log-probabilities."""
        loss = -float(sum(array.sum(dtype=np.float64) for array in logits))
        return loss, [np.full_like(array, -1.0) for array in logits]

    def new_builder(
        self, targets: TargetChooser, memory: MemorySource, groups: GroupSource
    ) -> ExampleBuilder:
        """What makes examples of documents as this component reads them; see `ExampleBuilder`."""
        engine = self.single_engine("training")
        return ExampleBuilder(
            self.kb,
            engine.prompt,
            targets,
            memory=memory,
            policy=engine.memory,
            groups=groups,
            budget=engine.budget,
            tokenizer=engine.tokenizer,
            composites=engine.search.composites,
        )

    def _learning_from(self) -> tuple[ExampleBuilder, SequenceMaker]:
        engine, learning = self.single_engine("training"), self.learning
        if self._makers is None or self._makers[0] is not engine:
            builder = self.new_builder(learning.chooser(self.kb), learning.memory, learning.groups)
            self._makers = engine, builder, SequenceMaker(engine.model, engine.prompt)
        return self._makers[1:]

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "_makers": None}
