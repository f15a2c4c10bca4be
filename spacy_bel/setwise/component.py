"""`bel_setwise`: re-orders candidates by reading them all beside the mention's sentence."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from spacy.language import Language
from spacy.training import Example
from thinc.api import Optimizer
from thinc.compat import has_cupy_gpu

from ..calibration import fit_temperature
from ..candidates import Candidate, get_candidates
from ..errors import SettingsError, TrainingError
from ..kb.reference import KBReference
from ..learning_pipe import FloatArray
from ..linking_pipe import Links, MarkedDoc, in_batches
from ..longbel.models.base import LanguageModel
from ..longbel.models.loading import ModelReference
from ..reranking_pipe import ReadDoc, RerankingPipe, reordered
from ..torch_shim import has_engine
from .architecture import letter_model
from .contexts import CONTEXTS, Context, questions
from .examples import HIDDEN, TrainingMention, make_examples
from .forward import Prompt
from .gold_mentions import training_mentions
from .learning import AnsweredPrompt, answered, batches, loss_and_gradients
from .lora import LoraSettings
from .prompt import MAX_OPTIONS, Question, option_text
from .reader import Reader, Report

logger = logging.getLogger(__name__)

#: Documents whose mentions are read together.
_DOCS_AT_ONCE = 32
_MENTIONS_AT_ONCE = 256


class SetwiseReader(RerankingPipe):
    """Re-orders the candidates that a component before it has put on the mentions.

    Method: BeLink (Shlyk et al. 2026, doi 10.1145/3805712.3809918). The first candidates of a
    mention become lettered options, "none of the above" the last; a language model reads them with
    the mention's sentence, and the scores of the letters in one forward pass rank all of them.

    Scores are the probabilities of the letters, calibrated if `calibrate` was called on development
    documents. Those of the candidates that were read and of "none of the above" sum to one (see
    `spacy_bel.candidates.nil_probability`); candidates that were not read follow in their order
    with a score of 0. If "none of the above" is best, the mention gets "NIL" as its `kb_id_` and
    keeps its candidates.
    Mentions without candidates are left as they are.

    model: directory or hub id of a causal language model that follows instructions, or a function
        that returns a `CausalLanguageModel`. There is no default.
    options: how many candidates of a mention are read, at most 20 and `max_candidates`.
    context: what is read around a mention, "sentence" or "passage".
    batch_tokens: tokens that are read at once, padding included.
    device, dtype: where and in which precision the model runs; by default the best device, float32
        on CPU.
    lora: settings of `LoraSettings`; None to train all weights.
    resamplings: draws of options of a mention each time its document is trained on.
    hidden: share of draws that hide the right concept.

    kb: where the candidates come from; gives their names. The other arguments are those of
    `LinkingPipe`.
    """

    def __init__(
        self,
        nlp: Language,
        name: str = "bel_setwise",
        *,
        model: ModelReference = None,
        kb: KBReference = None,
        options: int = 10,
        context: Context = "sentence",
        batch_tokens: int = 4096,
        device: str | None = None,
        dtype: str | None = None,
        lora: Mapping[str, Any] | None = None,
        resamplings: int = 1,
        hidden: float = HIDDEN,
        max_candidates: int = 25,
        **settings: Any,
    ) -> None:
        self._make_model = partial(letter_model, options=options, device=device, dtype=dtype)
        super().__init__(
            nlp,
            name,
            self._make_model(model),
            batch_tokens=batch_tokens,
            kb=kb,
            max_candidates=max_candidates,
            **settings,
        )
        if not 1 <= options <= MAX_OPTIONS:
            raise SettingsError(f"options must be from 1 to {MAX_OPTIONS}, not {options}.")
        if max_candidates < options:
            raise SettingsError(
                f"max_candidates ({max_candidates}) must be at least options ({options}): without "
                "the scores of all that was read, the probability of none of them is lost."
            )
        if context not in CONTEXTS:
            raise SettingsError(f"context must be one of {', '.join(CONTEXTS)}, not {context!r}.")
        if resamplings < 1 or not 0 <= hidden <= 1:
            raise SettingsError(
                f"resamplings must be at least 1 and hidden from 0 to 1, not {resamplings} and "
                f"{hidden}."
            )
        self.options = options
        self.context: Context = context
        self.resamplings = resamplings
        self.hidden = hidden
        try:
            self.lora = None if lora is None else LoraSettings(**lora)
        except TypeError as error:
            raise SettingsError(f"lora: {error}. Settings are rank and alpha.") from error
        self.cfg["temperature"] = 1.0
        self._reader: Reader | None = None

    def set_model(self, reference: ModelReference) -> None:
        """Read with another language model from now on."""
        self.model, self._reader = self._make_model(reference), None
        _ = self.reader

    @property
    def language_model(self) -> LanguageModel:
        """The language model, loaded on first use."""
        return self.engine.language_model

    @property
    def reader(self) -> Reader:
        """What does the reading, made on first use."""
        if self._reader is None or self._reader.engine is not self.engine:
            self._reader = Reader(self.engine, batch_tokens=self.batch_tokens)
        return self._reader

    @property
    def report(self) -> Report:
        """Counts of what was read, and left out for want of room."""
        return self.reader.report

    def link(self, docs: Iterator[MarkedDoc]) -> Iterator[Links | Exception]:
        """Candidates of every mention in their new order, document by document."""
        return in_batches(docs, self._rank, _DOCS_AT_ONCE)

    def _rank(self, batch: list[MarkedDoc]) -> list[Links]:
        asked = [question for marked in batch for question in self._questions(marked)]
        with self._watched() as reader:
            readings = iter(reader.read(asked, self.cfg["temperature"]))
        result: list[Links] = []
        for marked in batch:
            links: Links = []
            for mention in marked.mentions:
                reading = next(readings)
                links.append(reordered(get_candidates(mention.span), reading.probabilities))
                if reading.is_nil and isinstance(marked, ReadDoc):
                    marked.nil.append(mention.index)
            result.append(links)
        return result

    def _questions(self, marked: MarkedDoc) -> list[Question]:
        options = [self._options(get_candidates(mention.span)) for mention in marked.mentions]
        return questions(marked, marked.mentions, options, self.context)

    def _options(self, candidates: Sequence[Candidate]) -> tuple[str, ...]:
        return tuple(
            option_text(candidate.name, self.kb.preferred_name(candidate.code))
            for candidate in candidates[: self.options]
        )

    @contextmanager
    def _watched(self) -> Iterator[Reader]:
        """The reader, whose troubles are passed on."""
        reader, report = self.reader, self.report
        cut = report.context_cut, report.options_cut
        reader.scorer.batch_tokens = self.batch_tokens
        yield reader
        self.batch_tokens = reader.scorer.batch_tokens
        if (report.context_cut, report.options_cut) != cut:
            logger.warning(
                "%s: prompts longer than the %d tokens that the model can read: context cut to "
                "words around the mention in %d, candidates not read in %d of them.",
                self.name,
                self.engine.max_length,
                report.context_cut - cut[0],
                report.options_cut - cut[1],
            )

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch of examples; see `LearningPipe.update`."""
        if self.engine.model.device.type == "cuda" and not has_cupy_gpu:
            raise TrainingError(
                "spaCy's optimizers need cupy on a GPU: pip install 'spacy[cuda12x]', or set "
                'device to "cpu".'
            )
        self.engine.train(self.lora, seed=random.getrandbits(32))
        return super().update(examples, drop=drop, sgd=sgd, losses=losses)

    def training_items(self, examples: Sequence[Example]) -> list[AnsweredPrompt]:
        """Prompts of newly drawn options; see `training_mentions` and `make_examples`."""
        drawn = make_examples(
            training_mentions(examples, self.kb, self.context, self.spans_key),
            self.kb,
            options=self.options,
            resamplings=self.resamplings,
            hidden=self.hidden,
            seed=random.getrandbits(32),
        )
        return [answered(example, self.engine) for example in drawn]

    def training_batches(self, items: Sequence[AnsweredPrompt]) -> list[list[Prompt]]:
        """Prompts side by side."""
        return batches(items, self.batch_tokens)

    def training_loss(
        self,
        items: Sequence[AnsweredPrompt],
        batches: Sequence[list[Prompt]],
        logits: Sequence[FloatArray],
    ) -> tuple[float, list[FloatArray]]:
        """Cross-entropy of the right letter among those of the options."""
        return loss_and_gradients(items, logits)

    def calibrate(self, examples: Iterable[Example]) -> Mapping[str, float]:
        """Fit the temperature that logits are divided by, on development documents.

        Method: temperature scaling (Guo et al., ICML 2017). Returns the temperature. Raises
        SettingsError if no mention has a gold code and candidates.
        """
        self.prepare()
        mentions = training_mentions(examples, self.kb, self.context, self.spans_key)
        logits: list[FloatArray] = []
        right: list[int] = []
        while some := list(islice(mentions, _MENTIONS_AT_ONCE)):
            asked = [replace(m.question, options=self._options(m.candidates)) for m in some]
            with self._watched() as reader:
                rows = reader.log_probabilities(asked)
            logits += rows
            right += [
                _right(mention, len(row) - 1) for mention, row in zip(some, rows, strict=True)
            ]
        self.cfg["temperature"] = fit_temperature(logits, right)
        return {"temperature": self.cfg["temperature"]}

    def _state(self) -> dict[str, Any]:
        state = {**super()._state(), "_reader": None}
        directory = self.language_model.directory if has_engine(self.model) else None
        if directory is not None and not self.engine.training:
            # Another process reads the same files instead of being sent what is in them.
            state["model"] = self._make_model(directory)
        return state


def _right(mention: TrainingMention, read: int) -> int:
    """The index of the right option, `read` if none of those that were read is."""
    codes = [candidate.code for candidate in mention.candidates[:read]]
    return next((i for i, code in enumerate(codes) if code in mention.gold), read)
