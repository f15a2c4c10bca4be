"""What components that re-order candidates share: reading them, learning by spaCy's conventions."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import srsly
import torch
from spacy.language import Language
from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from thinc.api import Model, Optimizer

from .candidates import Candidate, get_candidates
from .corpora.gold import Codes, gold_codes
from .errors import ModelError, SettingsError, TrainingError
from .linking_pipe import LinkingPipe, Links, MarkedDoc, MentionSpan
from .memory import free_memory, is_out_of_memory
from .mentions import NIL, mention_spans, set_links
from .torch_shim import get_engine, get_shim

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
    def mentions(self) -> int:
        """How many mentions it teaches about."""


@dataclass(frozen=True, slots=True)
class ReadDoc(MarkedDoc):
    """A document with the indices of the mentions for which "none of them" turned out best."""

    nil: list[int] = field(default_factory=list)


class RerankingPipe(LinkingPipe, TrainablePipe):
    """Base of the trainable components that re-order the candidates of a component before them.

    model: made by `spacy_bel.torch_shim.engine_model`. batch_tokens: tokens that are read at once,
    in training as in use; halved whenever memory runs out. Since candidates are there already,
    labels and groups play no part; the other arguments are those of `LinkingPipe`.

    Subclasses implement `link`, `training_items`, `training_batches`, `training_loss`, and put what
    `calibrate` finds under `calibration_keys` of `cfg`.
    """

    calibration_keys: tuple[str, ...] = ("temperature",)

    def __init__(
        self,
        nlp: Language,
        name: str,
        model: Model[Any, Any],
        *,
        batch_tokens: int,
        **settings: Any,
    ) -> None:
        super().__init__(nlp, name, **settings)
        if batch_tokens < 1:
            raise SettingsError(f"batch_tokens is {batch_tokens}: give 1 or more.")
        self.model = model
        self.batch_tokens = batch_tokens
        self._process = os.getpid()

    @abstractmethod
    def training_items(self, examples: Sequence[Example]) -> Sequence[TrainingItem]:
        """What examples teach; mentions without candidates teach nothing."""

    @abstractmethod
    def training_batches(self, items: Sequence[Any]) -> list[Any]:
        """Batches for the engine's `forward`, in which some items are read."""

    @abstractmethod
    def training_loss(
        self, items: Sequence[Any], batches: Sequence[Any], logits: Sequence[FloatArray]
    ) -> tuple[float, list[FloatArray]]:
        """The loss of items, added up over mentions, and its gradient for each batch of logits."""

    @abstractmethod
    def calibrate(self, examples: Iterable[Example]) -> Mapping[str, float]:
        """Fit what makes probabilities of scores; the predicted mentions must have candidates.

        Returns the new values of `calibration_keys`. Raises SettingsError without mentions.
        """

    @property
    def engine(self) -> Any:
        """What scores candidates; read on first use."""
        return get_engine(self.model)

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Read the pretrained model, and look whether something can be learned from the examples.

        Raises TrainingError if none of the first of them has mentions with gold codes and
        candidates.
        """
        validate_get_examples(get_examples, f"{type(self).__name__}.initialize")
        self.model.initialize()
        self.prepare()
        annotated = with_candidates = 0
        for example in self.first_examples(get_examples, nlp):
            for span, _ in judged_mentions(example, self.spans_key):
                annotated += 1
                with_candidates += bool(get_candidates(span))
        if not with_candidates:
            raise TrainingError(
                f"{self.name} can learn nothing: of {annotated} mentions with gold codes none has "
                "candidates. Write candidates into the corpus with `python -m spacy bel "
                "candidates`, or put a retriever before the component and list it under "
                "annotating_components of [training]."
            )
        if with_candidates < annotated:
            logger.warning(
                "%s: %d of the first %d mentions have no candidates and teach nothing.",
                self.name,
                annotated - with_candidates,
                annotated,
            )

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

    def prepare(self) -> None:
        """Open knowledge base and model."""
        _ = self.kb
        if self._process != os.getpid():
            # Threads do not survive a fork: using them in the child would wait forever.
            torch.set_num_threads(1)
            self._process = os.getpid()
        _ = self.engine

    def mark(self, doc: Doc) -> ReadDoc:
        """Find the mentions that have candidates; the others are left as they are."""
        spans = enumerate(mention_spans(doc, self.spans_key))
        return ReadDoc(
            doc, [MentionSpan(index, span, ()) for index, span in spans if get_candidates(span)]
        )

    def annotate(self, marked: MarkedDoc, links: Links) -> None:
        """Write candidates and codes to a document."""
        super().annotate(marked, links)
        if isinstance(marked, ReadDoc) and marked.nil:
            set_links(marked.doc, self.spans_key, dict.fromkeys(marked.nil, NIL))

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch of examples, whose predicted mentions must have candidates.

        drop: dropout everywhere where the model has any, instead of what it was pretrained with.
        losses: the mean loss of a mention is added under the component's name.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, f"{type(self).__name__}.update")
        self.prepare()
        set_dropout(self.engine.model, drop)
        items = sorted(self.training_items(examples), key=lambda item: item.tokens, reverse=True)
        mentions = sum(item.mentions for item in items)
        at = 0
        while at < len(items):
            together = items[at : at + 1]
            for item in items[at + 1 :]:
                if sum(i.tokens for i in together) + item.tokens > self.batch_tokens:
                    break
                together.append(item)
            if self._learn(together, mentions, losses):
                at += len(together)
        if sgd is not None and items:
            self.finish_update(sgd)
        return losses

    def _learn(self, items: list[TrainingItem], mentions: int, losses: dict[str, float]) -> bool:
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
            backprop([self.model.ops.xp.asarray(gradient / mentions) for gradient in gradients])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(items) == 1:
                raise ModelError(
                    f"There is too little memory to learn from {tokens} tokens: use shorter "
                    "inputs, fewer candidates, or a smaller model."
                ) from error
        else:
            losses[self.name] += loss / mentions
            return True
        free_memory()
        self.batch_tokens = max(1, min(tokens, self.batch_tokens) // 2)
        logger.warning("%s: memory ran out; %d tokens at once.", self.name, self.batch_tokens)
        return False

    def _disk_writers(self) -> dict[str, Callable[[Path], None]]:
        _ = self.engine  # what has not been read yet would be left out
        return {
            "model": lambda path: get_shim(self.model).to_disk(path),
            "calibration.json": lambda path: srsly.write_json(path, self._calibration()),
        }

    def _disk_readers(self) -> dict[str, Callable[[Path], None]]:
        return {"model": self._model_from_disk, "calibration.json": self._calibration_from_disk}

    def _bytes_writers(self) -> dict[str, Callable[[], Any]]:
        _ = self.engine
        return {
            "model": lambda: get_shim(self.model).to_bytes(),
            "calibration": lambda: srsly.json_dumps(self._calibration()),
        }

    def _bytes_readers(self) -> dict[str, Callable[[Any], None]]:
        return {
            "model": self._model_from_bytes,
            "calibration": lambda data: self.cfg.update(srsly.json_loads(data)),
        }

    def _model_from_disk(self, path: Path) -> None:
        if not path.is_dir():
            raise ModelError(f"The pipeline lacks '{path}': copy the complete pipeline again.")
        get_shim(self.model).from_disk(path)

    def _model_from_bytes(self, data: Any) -> None:
        get_shim(self.model).from_bytes(data)

    def _calibration(self) -> dict[str, float]:
        return {key: self.cfg[key] for key in self.calibration_keys}

    def _calibration_from_disk(self, path: Path) -> None:
        if path.is_file():
            self.cfg.update(srsly.read_json(path))

    def _state(self) -> dict[str, Any]:
        # These are no entries of `__dict__`: spaCy keeps them in C.
        kept_in_c = ("vocab", "model", "cfg", "scorer")
        return {**super()._state(), **{key: getattr(self, key) for key in kept_in_c}}


def set_dropout(model: torch.nn.Module, drop: float) -> None:
    """Set the dropout of a torch model of transformers, that of attention included."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = drop
        for attribute in ("dropout_prob", "attention_dropout"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, drop)


def judged_mentions(example: Example, spans_key: str | None) -> Iterable[tuple[Span, Codes]]:
    """Predicted mentions, with the gold codes of the reference's mention at the same place.

    Mentions that the reference does not have, or has without code, are left out; of several at the
    same place that of the same label counts.
    """
    reference = gold_codes(example.reference, mention_spans(example.reference, spans_key))
    gold: dict[tuple[int, int], dict[str, Codes]] = {}
    for span, codes in reference:
        gold.setdefault((span.start_char, span.end_char), {})[span.label_] = codes
    for span in mention_spans(example.predicted, spans_key):
        labels = gold.get((span.start_char, span.end_char), {})
        if span.label_ in labels:
            yield span, labels[span.label_]
        elif len(labels) == 1:
            yield span, next(iter(labels.values()))


def reordered(
    candidates: list[Candidate], probabilities: npt.NDArray[np.floating]
) -> list[Candidate]:
    """Candidates by probability, equal ones in their order.

    probabilities: of the first candidates, shape (read,); those that were not read follow with a
    score of 0.
    """
    scores = probabilities.tolist()
    order = np.argsort(-probabilities, kind="stable").tolist()
    return [candidates[i]._replace(score=scores[i]) for i in order] + [
        candidate._replace(score=0.0) for candidate in candidates[len(scores) :]
    ]
