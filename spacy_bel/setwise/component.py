"""`bel_setwise`: re-orders candidates by reading them all beside the mention's sentence."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from spacy.language import Language
from spacy.tokens import Doc

from ..candidates import Candidate, get_candidates
from ..errors import ModelError, SettingsError
from ..kb.reference import KBReference
from ..linking_pipe import LinkingPipe, Links, MarkedDoc, MentionSpan, in_batches
from ..longbel.models.base import LanguageModel
from ..longbel.models.holder import LanguageModelHolder
from ..longbel.models.loading import ModelReference, resolve_model
from ..mentions import NIL, mention_spans, set_links
from .contexts import CONTEXTS, Context, questions
from .prompt import option_text
from .reader import Reader, Reading, Report, check_settings

logger = logging.getLogger(__name__)

#: Documents whose mentions are read together.
_DOCS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class _ReadDoc(MarkedDoc):
    """A document with the mentions for which "none of the above" turned out best."""

    nil: list[int] = field(default_factory=list)


class SetwiseReader(LinkingPipe, LanguageModelHolder):
    """Re-orders the candidates that a component before it has put on the mentions.

    Method: BeLink (Shlyk et al. 2026, doi 10.1145/3805712.3809918). The first candidates of a
    mention become lettered options, "none of the above" the last; a language model reads them with
    the mention's sentence, and the scores of the letters in one forward pass rank all of them.

    Scores are the probabilities of the letters. Those of the candidates that were read and of "none
    of the above" sum to one; candidates that were not read follow in their order with a score of 0.
    If "none of the above" is best, the mention gets "NIL" as its `kb_id_` and keeps its candidates.
    Mentions without candidates are left as they are.

    model: directory or hub id of a causal language model that follows instructions, or a function
        that returns a `CausalLanguageModel`. There is no default.
    options: how many candidates of a mention are read, at most 20.
    context: what is read around a mention, "sentence" or "passage".
    batch_tokens: tokens that are read at once; halved whenever memory runs out.
    device, dtype: where and in which precision the model runs; by default the best device, float32
        on CPU.

    kb: where the candidates come from; gives their preferred names. The other arguments are those
    of `LinkingPipe`; since candidates are there already, labels and groups play no part.
    """

    def __init__(
        self,
        nlp: Language,
        name: str = "bel_setwise",
        *,
        kb: KBReference = None,
        model: ModelReference = None,
        options: int = 10,
        context: Context = "sentence",
        batch_tokens: int = 4096,
        device: str | None = None,
        dtype: str | None = None,
        max_candidates: int = 25,
        **settings: Any,
    ) -> None:
        super().__init__(nlp, name, kb=kb, max_candidates=max_candidates, **settings)
        check_settings(options, batch_tokens)
        if context not in CONTEXTS:
            raise SettingsError(f"context must be one of {', '.join(CONTEXTS)}, not {context!r}.")
        self.options = options
        self.context: Context = context
        self.batch_tokens = batch_tokens
        self.device = device
        self.dtype = dtype
        self._model_reference = model
        self._model: LanguageModel | None = None
        self._reader: Reader | None = None
        self._process = os.getpid()

    def set_model(self, reference: ModelReference) -> None:
        """Read with another language model from now on."""
        self._model_reference, self._model, self._reader = reference, None, None
        _ = self.reader

    @property
    def language_model(self) -> LanguageModel:
        """The language model, loaded on first use."""
        if self._model is None:
            if self._model_reference is None:
                raise ModelError(
                    f"{self.name} has no default model: set its setting model to the directory or "
                    "hub id of a causal language model that follows instructions."
                )
            self._model = resolve_model(self._model_reference, device=self.device, dtype=self.dtype)
        return self._model

    @property
    def reader(self) -> Reader:
        """What does the reading, made on first use."""
        if self._reader is None:
            self._reader = Reader(
                self.language_model, options=self.options, batch_tokens=self.batch_tokens
            )
        return self._reader

    @property
    def report(self) -> Report:
        """Counts of what was read, and left out for want of room."""
        return self.reader.report

    def prepare(self) -> None:
        """Open knowledge base and model."""
        _ = self.kb
        if self._process != os.getpid():
            # Threads do not survive a fork: using them in the child would wait forever.
            torch.set_num_threads(1)
            self._process = os.getpid()
        _ = self.reader

    def mark(self, doc: Doc) -> MarkedDoc:
        """Find the mentions that have candidates."""
        spans = enumerate(mention_spans(doc, self.spans_key))
        return _ReadDoc(
            doc, [MentionSpan(index, span, ()) for index, span in spans if get_candidates(span)]
        )

    def link(self, docs: Iterator[MarkedDoc]) -> Iterator[Links | Exception]:
        """Candidates of every mention in their new order, document by document."""
        return in_batches(docs, self._read, _DOCS_AT_ONCE)

    def annotate(self, marked: MarkedDoc, links: Links) -> None:
        """Write candidates and codes to a document."""
        super().annotate(marked, links)
        if isinstance(marked, _ReadDoc) and marked.nil:
            set_links(marked.doc, self.spans_key, dict.fromkeys(marked.nil, NIL))

    def _read(self, batch: list[MarkedDoc]) -> list[Links]:
        asked = []
        for marked in batch:
            candidates = [get_candidates(m.span)[: self.options] for m in marked.mentions]
            options = [tuple(map(self._option, shown)) for shown in candidates]
            asked += questions(marked, marked.mentions, options, self.context)
        report = self.report
        before = (report.context_cut, report.options_cut)
        readings = iter(self.reader.read(asked))
        self._warn(report.context_cut - before[0], report.options_cut - before[1])
        result: list[Links] = []
        for marked in batch:
            links: Links = []
            for mention in marked.mentions:
                reading = next(readings)
                links.append(reordered(get_candidates(mention.span), reading))
                if reading.is_nil and isinstance(marked, _ReadDoc):
                    marked.nil.append(mention.index)
            result.append(links)
        return result

    def _option(self, candidate: Candidate) -> str:
        return option_text(candidate.name, self.kb.preferred_name(candidate.code))

    def _warn(self, contexts: int, options: int) -> None:
        if contexts or options:
            logger.warning(
                "%s: prompts longer than the %d tokens that the model can read: context cut to "
                "words around the mention in %d, candidates not read in %d of them.",
                self.name,
                self.reader.max_length,
                contexts,
                options,
            )

    def _disk_writers(self) -> dict[str, Callable[[Path], None]]:
        return {"model": self._model_to_disk}

    def _disk_readers(self) -> dict[str, Callable[[Path], None]]:
        return {"model": self._model_from_disk}

    def _bytes_writers(self) -> dict[str, Callable[[], Any]]:
        return {"model": self._model_to_bytes}

    def _bytes_readers(self) -> dict[str, Callable[[Any], None]]:
        return {"model": self._model_from_bytes}

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "_reader": None, **self._model_state()}

    def _forget_model(self) -> None:
        self._model = self._reader = None


def reordered(candidates: list[Candidate], reading: Reading) -> list[Candidate]:
    """Candidates by the probability of their letters; those that were not read follow with 0."""
    probabilities = reading.probabilities.tolist()
    read = [candidates[i]._replace(score=probabilities[i]) for i in reading.order]
    return read + [c._replace(score=0.0) for c in candidates[len(probabilities) :]]
