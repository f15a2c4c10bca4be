"""What components that re-order candidates share: reading them, learning by spaCy's conventions."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import srsly
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_get_examples
from thinc.api import Model

from .candidates import Candidate, get_candidates
from .corpora.gold import Codes, gold_codes
from .errors import ModelError, SettingsError, TrainingError
from .learning_pipe import LearningPipe
from .linking_pipe import Links, MarkedDoc, MentionSpan
from .mentions import NIL, mention_spans, set_links
from .torch_shim import get_engine, get_shim

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadDoc(MarkedDoc):
    """A document with the indices of the mentions for which "none of them" turned out best."""

    nil: list[int] = field(default_factory=list)


class RerankingPipe(LearningPipe):
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
        super().__init__(nlp, name, model, learning_tokens=batch_tokens, **settings)
        if batch_tokens < 1:
            raise SettingsError(f"batch_tokens is {batch_tokens}: give 1 or more.")

    @property
    def batch_tokens(self) -> int:
        """Tokens that are read at once, in training as in use."""
        return self.learning_tokens

    @batch_tokens.setter
    def batch_tokens(self, value: int) -> None:
        self.learning_tokens = value

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

    def prepare(self) -> None:
        """Open knowledge base and model."""
        _ = self.kb
        self._mind_process()
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
