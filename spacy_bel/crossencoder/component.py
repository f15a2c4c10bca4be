"""`bel_crossencoder`: re-orders candidates by reading each of them with the mention's context."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from thinc.api import Model

from ..calibration import Calibration, JudgedMention, Objective, fit_calibration
from ..candidates import Candidate, get_candidates
from ..corpora.flags import main_code
from ..errors import KnowledgeBaseError, SettingsError, TrainingError
from ..learning_pipe import FloatArray
from ..linking_pipe import Links, MarkedDoc, MentionSpan, in_batches
from ..reranking_pipe import ReadDoc, RerankingPipe, judged_mentions, reordered
from .candidate_text import CandidateText, candidate_text
from .document import Document
from .documents import to_document
from .inputs import Batch, batches, by_length
from .learning import BoolArray, LearningInput, learning_inputs, loss_and_gradients
from .report import PackingReport

#: Documents whose mentions are scored together.
_DOCS_AT_ONCE = 32
#: The candidate that stands for "none of them": nothing follows its mask.
_NIL_TEXT = ""

Shuffle = Literal["never", "training", "always"]


class CrossEncoderPipe(RerankingPipe):
    """Re-orders the candidates that a component before it has put on the mentions.

    Method: mention and candidate are read together by an encoder, and the score is read at a mask
    between them (Sanz-Cruzado and Lever, BioNLP 2025); the layouts in which pairs share an input
    are explained in `spacy_bel.crossencoder.layouts`.

    Scores are probabilities, calibrated if `calibrate` was called on development documents.
    Candidates that were not read follow in their order with a score of 0. Mentions without
    candidates are left as they are.

    model: encoder and layout, "spacy_bel.CrossEncoder.v1".
    candidates: how many candidates of a mention are read, the first ones.
    candidate_text: what is read of a candidate, settings of
        `spacy_bel.crossencoder.candidate_text.CandidateText`.
    objective: "listwise", one of the candidates is right, or none: their probabilities sum to one
        with that of none; or "pairwise", each candidate is right or wrong by itself (published).
    nil: with "listwise", whether "none of them" is learned: a mask after which nothing follows. If
        it is more probable than every candidate, the mention gets "NIL" as its `kb_id_` and keeps
        its candidates. Without it, one of them is always right.
    retriever_scores: whether `calibrate` may let the retriever's scores count, too.
    shuffle: where candidates are read in random order: "never", in "training", so that a model does
        not learn to trust the retriever's order, or "always".
    batch_tokens: tokens that are read at once, padding included.
    kb: where the candidates come from. The other arguments are those of `LinkingPipe`.
    """

    calibration_keys = ("temperature", "retriever_weight", "bias")

    def __init__(
        self,
        nlp: Language,
        name: str = "bel_crossencoder",
        *,
        model: Model[Any, Any],
        candidates: int = 10,
        candidate_text: Mapping[str, Any] | None = None,
        objective: Objective = "listwise",
        nil: bool = True,
        retriever_scores: bool = True,
        shuffle: Shuffle = "training",
        batch_tokens: int = 4096,
        max_candidates: int = 25,
        **settings: Any,
    ) -> None:
        super().__init__(
            nlp, name, model, batch_tokens=batch_tokens, max_candidates=max_candidates, **settings
        )
        if candidates < 1:
            raise SettingsError(f"candidates is {candidates}: give 1 or more.")
        for setting, value, allowed in (
            ("objective", objective, ("listwise", "pairwise")),
            ("shuffle", shuffle, ("never", "training", "always")),
        ):
            if value not in allowed:
                raise SettingsError(f"{setting} is {value!r}: use one of {', '.join(allowed)}.")
        self.candidates = candidates
        try:
            self.candidate_text = CandidateText(**(candidate_text or {}))
        except TypeError as error:
            raise SettingsError(
                f"candidate_text: {error}. Settings are name, synonyms, group and definition."
            ) from error
        self.objective: Objective = objective
        self.nil = nil and objective == "listwise"
        self.retriever_scores = retriever_scores
        self.shuffle: Shuffle = shuffle
        self.report = PackingReport()
        self.cfg.update({"temperature": 1.0, "retriever_weight": 0.0, "bias": 0.0})

    @property
    def calibration(self) -> Calibration:
        """How logits become probabilities."""
        return Calibration(*(self.cfg[key] for key in self.calibration_keys))

    def prepare(self) -> None:
        """Open knowledge base and model, and check the settings against them."""
        super().prepare()
        if self.candidate_text.definition and not self.kb.has_definitions:
            raise SettingsError(
                f"candidate_text asks for definitions, but the knowledge base "
                f"'{self.kb.meta.name}' has none: build it from files that have them, or set "
                "definition = false."
            )

    def link(self, docs: Iterator[MarkedDoc]) -> Iterator[Links | Exception]:
        """Candidates of every mention in their new order, document by document."""
        return in_batches(docs, lambda some: self.rank(some, self.score_pairs(some)), _DOCS_AT_ONCE)

    def rank(
        self, batch: Sequence[MarkedDoc], logits: Sequence[Sequence[FloatArray]]
    ) -> list[Links]:
        """Candidates of every mention, by their logits and the calibration.

        logits: what `score_pairs` gave for the same documents.
        """
        result: list[Links] = []
        for marked, mentions in zip(batch, logits, strict=True):
            links: Links = []
            for mention, scores in zip(marked.mentions, mentions, strict=True):
                candidates = get_candidates(mention.span)
                read, nil = self._split(scores)
                probabilities, none = self.calibration.probabilities(
                    read, _scores(candidates[: len(read)]), nil, self.objective
                )
                links.append(reordered(candidates, probabilities))
                if self.nil and isinstance(marked, ReadDoc) and none > probabilities.max():
                    marked.nil.append(mention.index)
            result.append(links)
        return result

    def score_pairs(self, batch: Sequence[MarkedDoc]) -> list[list[FloatArray]]:
        """For each document and mention the logits of its candidates, shape (candidates,).

        That of "none of them" comes last, if it is read.
        """
        seed = random.getrandbits(32) if self.shuffle == "always" else None
        self.engine.tokens_at_once = self.batch_tokens
        scores = self.engine.score([self._document(m, m.mentions) for m in batch], seed=seed)
        self.batch_tokens = self.engine.tokens_at_once
        self.report += scores.report
        return [[logits[:, 1] - logits[:, 0] for logits in mentions] for mentions in scores.logits]

    def _split(self, scores: FloatArray) -> tuple[FloatArray, float | None]:
        return (scores[:-1], float(scores[-1])) if self.nil else (scores, None)

    def _document(self, marked: MarkedDoc, mentions: Iterable[MentionSpan]) -> Document:
        return to_document(marked.doc, [(m.span, self._texts(m)) for m in mentions])

    def _texts(self, mention: MentionSpan) -> tuple[str, ...]:
        read = get_candidates(mention.span)[: self.candidates]
        return (*map(self._text, read), *([_NIL_TEXT] if self.nil else []))

    def _text(self, candidate: Candidate) -> str:
        if candidate.code not in self.kb:
            raise KnowledgeBaseError(
                f"The candidate {candidate.code} ({candidate.name!r}) is not in the knowledge base "
                f"'{self.kb.meta.name}': give {self.name} the one of the retriever."
            )
        return candidate_text(self.kb[candidate.code], candidate.name, self.candidate_text)

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Read the pretrained model, and look whether something can be learned.

        Raises TrainingError if there is nothing to learn from the examples.
        """
        super().initialize(get_examples, nlp=nlp)
        self.cfg.update({"temperature": 1.0, "retriever_weight": 0.0, "bias": 0.0})
        _, right = self._judged(self.first_examples(get_examples, nlp))
        if not any(right):
            raise TrainingError(
                f"{self.name} can learn nothing: no mention of the first documents has a single "
                f"gold concept that is among its first {self.candidates} candidates. Give better "
                "candidates, or set nil = true."
            )

    def training_items(self, examples: Sequence[Example]) -> list[LearningInput]:
        """Inputs with what is right in them; see `_judged` for the mentions that are left out."""
        batch, right = self._judged(examples)
        seed = None if self.shuffle == "never" else random.getrandbits(32)
        inputs, report = self.engine.pack(
            [self._document(marked, marked.mentions) for marked in batch], seed=seed
        )
        self.report += report
        return learning_inputs(inputs, right)

    def training_batches(self, items: Sequence[LearningInput]) -> list[Batch]:
        """Inputs side by side, the longest first."""
        inputs = by_length([packed for item in items for packed in item.inputs])
        return [self.engine.collate(some) for some in batches(inputs, self.batch_tokens)]

    def training_loss(
        self,
        items: Sequence[LearningInput],
        batches: Sequence[Batch],
        logits: Sequence[FloatArray],
    ) -> tuple[float, list[FloatArray]]:
        """Cross-entropy over the candidates of a mention, or of each candidate by itself."""
        return loss_and_gradients(items, batches, logits, self.objective)

    def calibrate(
        self, examples: Iterable[Example], *, use_retriever: bool | None = None
    ) -> Mapping[str, float]:
        """Fit what makes probabilities of scores, on development documents.

        use_retriever: whether the retriever's scores may count; None for what the setting
        `retriever_scores` says. Returns temperature, retriever_weight and bias, see
        `spacy_bel.calibration.Calibration`. Raises SettingsError if no mention has gold codes and
        candidates.
        """
        self.prepare()
        judged: list[JudgedMention] = []
        stream = iter(examples)
        while some := list(islice(stream, _DOCS_AT_ONCE)):
            # All mentions are read, as in use: with full attention they bear on each other.
            everything = [self.mark(example.predicted) for example in some]
            read = zip(everything, self.score_pairs(everything), *self._judged(some), strict=True)
            for every, logits, marked, right in read:
                row_of = {m.index: row for m, row in zip(every.mentions, logits, strict=True)}
                rows = (row_of[mention.index] for mention in marked.mentions)
                judged += map(self._judged_mention, marked.mentions, rows, right)
        if use_retriever is None:
            use_retriever = self.retriever_scores
        found = fit_calibration(judged, self.objective, use_retriever=use_retriever)
        values = {key: getattr(found, key) for key in self.calibration_keys}
        self.cfg.update(values)
        return values

    def _judged(self, examples: Sequence[Example]) -> tuple[list[MarkedDoc], list[list[BoolArray]]]:
        """Predicted mentions with gold codes and candidates, and which of these are right.

        The last entry is "none of them", if that is read. Left out are mentions of several concepts
        and, where one of the candidates must be right, those of which none is.
        """
        batch, targets = [], []
        for example in examples:
            marked = self.mark(example.predicted)
            gold = {_place(span): codes for span, codes in judged_mentions(example, self.spans_key)}
            mentions, right = [], []
            for mention in marked.mentions:
                codes = gold.get(_place(mention.span))
                if codes is None or len(codes) > 1:
                    continue
                wanted = {main_code(self.kb, code) for part in codes for code in part} - {None}
                read = get_candidates(mention.span)[: self.candidates]
                array = np.array([main_code(self.kb, c.code) in wanted for c in read])
                if self.nil:
                    array = np.append(array, not array.any())
                if self.objective == "pairwise" or array.any():
                    mentions.append(mention)
                    right.append(array)
            batch.append(MarkedDoc(marked.doc, mentions))
            targets.append(right)
        return batch, targets

    def _judged_mention(
        self, mention: MentionSpan, logits: FloatArray, right: BoolArray
    ) -> JudgedMention:
        read, nil = self._split(logits)
        scores = _scores(get_candidates(mention.span)[: len(read)])
        return JudgedMention(read, scores, right[: len(read)], nil)


def _place(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label_


def _scores(candidates: Sequence[Candidate]) -> FloatArray:
    return np.array([candidate.score for candidate in candidates], np.float32)
