"""`longbel_linker`: generates the name of each mention's concept, in document order."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example
from spacy.util import get_lang_class

from ..calibration import Calibration, fit_calibration
from ..candidates import Candidate, get_candidates
from ..errors import SettingsError
from ..kb.reference import KBReference
from ..linking_pipe import Links, MarkedDoc, MentionSpan
from ..mentions import NIL
from ..reranking_pipe import judged_mentions
from ..sentences import sentence_starts
from .answers import pinned_candidate
from .bigbio import Record, sample
from .calibrating import GoldDocument, judged_names
from .compat import check_compat, last_of_each_span
from .document import Document
from .documents import reading_order, to_document
from .engine import Engine, Report
from .ensemble import EnsembleEngine, MemberSettings
from .member_model import MemberModel
from .memory_policy import MemoryName, memory_policy
from .merging import MergeRule, Merging, ScoreKind
from .models.base import LanguageModel
from .models.loading import ModelReference
from .prompts import Prompt, get_prompt
from .searching import Decoding, SearchSettings
from .tokenization import PromptTokenizer
from .trainable import TrainableLinker

logger = logging.getLogger(__name__)


class LongBELLinker(TrainableLinker):
    """Links mentions by generating concept names under a trie of all names of the terminology.

    Method: LongBEL (arXiv 2605.13451). The mention is put before a language model with its context
    and, in prompts with memory, with the links of the document so far; beam search writes a name of
    one of the mention's semantic groups.

    kb: see `LinkingPipe`; None for that of a released checkpoint, else for the default. model:
    directory or hub id of a language model, a function that returns a `LanguageModel`, or None for
    the default model. prompt: name of a prompt format, or a `Prompt`; by default the one that the
    model was trained for, if it says so, otherwise `hybrid_long`. length_penalty: exponent of the
    length by which log-probabilities are divided before names are compared; by default the model's
    own, otherwise 1. num_beams, decoding, composites, candidates: see `SearchSettings`. merge,
    score: see `Merging`. memory, memory_size, memory_repeats: see `memory_policy`. passes: with 2
    documents are read again with the links of all their mentions. overwrite: if not, a mention that
    has a `kb_id_` and no candidates keeps it, and it enters memory. abbreviations: write out short
    forms that the document defines, in mentions and memory. ensemble: see
    `MemberSettings.from_config`. compat: "longbel" links the mentions that the published
    implementation would link, see docs/compatibility.md. batch_size, batch_tokens: documents in
    flight, and the tokens of theirs held at once. device, dtype: where and in which precision the
    model runs; by default the best device, float32 on CPU. max_length: tokens to read at most, if
    fewer than the model can. learning: see `LearningSettings.from_config`. The other arguments are
    those of `LinkingPipe`.
    """

    def __init__(
        self,
        nlp: Language,
        name: str = "longbel_linker",
        *,
        kb: KBReference = None,
        model: ModelReference = None,
        prompt: str | Prompt | None = None,
        num_beams: int = 5,
        length_penalty: float | None = None,
        decoding: Decoding = "constrained",
        composites: bool = False,
        candidates: int = 0,
        merge: MergeRule = "max",
        score: ScoreKind = "likelihood",
        memory: MemoryName = "all",
        memory_size: int | None = None,
        memory_repeats: bool = True,
        passes: Literal[1, 2] = 1,
        overwrite: bool = True,
        abbreviations: bool = False,
        ensemble: Sequence[Mapping[str, Any]] | None = None,
        compat: str | None = None,
        batch_size: int = 16,
        batch_tokens: int = 32_768,
        device: str | None = None,
        dtype: str | None = None,
        max_length: int | None = None,
        learning: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self._members = [] if ensemble is None else MemberSettings.from_config(ensemble)
        member_models = {
            member.model: MemberModel(member.model, device, dtype)
            for member in self._members
            if member.model is not None and member.model != model
        }
        super().__init__(
            nlp,
            name,
            kb=kb,
            model=model,
            prompt=prompt,
            device=device,
            dtype=dtype,
            member_models=member_models,
            learning=learning,
            **settings,
        )
        if num_beams < 1 or batch_size < 1 or batch_tokens < 1:
            raise ValueError("num_beams, batch_size and batch_tokens must be at least 1.")
        if passes not in (1, 2):
            raise SettingsError(f"passes is {passes}: a document is read once or twice.")
        if candidates and score != "probability":
            raise SettingsError(
                f"candidates={candidates} scores what is on a mention already beside what is "
                "generated, which needs score='probability'."
            )
        self.length_penalty = length_penalty
        self.merging = Merging(merge, score)
        self.compat = check_compat(compat)
        self.search = SearchSettings(
            num_beams, decoding=decoding, composites=composites, candidates=candidates
        )
        self._reading: dict[str, Any] = {
            "num_beams": num_beams,
            "decoding": decoding,
            "composites": composites,
            "candidates": candidates,
            "memory": memory_policy(memory, memory_size, repeats=memory_repeats),
            "passes": passes,
            "batch_size": batch_size,
            "batch_tokens": batch_tokens,
            "max_length": max_length,
        }
        self.cfg["overwrite"] = overwrite
        self.abbreviations = abbreviations

    @property
    def engine(self) -> Engine | EnsembleEngine:
        """What does the linking, made on first use."""
        if self._engine is None:
            if self._members:
                members = [self._member_engine(member) for member in self._members]
                self._engine = EnsembleEngine(members)
            else:
                self._engine = self._make_engine(self.language_model, self.prompt)
        return self._engine

    def _member_engine(self, member: MemberSettings) -> Engine:
        own = None if member.model is None else self._member_models.get(member.model)
        model = self.language_model if own is None else own.language_model
        prompt = self.prompt if member.prompt is None else get_prompt(member.prompt)
        # The threshold is one on the ensemble's scores.
        return self._make_engine(model, prompt, accept=lambda candidate: True)

    def _make_engine(self, model: LanguageModel, prompt: Prompt, **settings: Any) -> Engine:
        penalty = self.length_penalty
        if penalty is None:
            penalty = getattr(model, "length_penalty", None)
        calibration = Calibration(**{key: self.cfg[key] for key in self.calibration_keys})
        merging = Merging(self.merging.merge, self.merging.score, calibration)
        chosen = {**self._reading, "merging": merging, "accept": self.accepts, **settings}
        chosen["length_penalty"] = 1.0 if penalty is None else penalty
        trie = self._trie_of(PromptTokenizer(model.tokenizer, prompt))
        return Engine(model, trie, prompt, **chosen)

    def single_engine(self, purpose: str) -> Engine:
        """The engine of one model and prompt. Raises SettingsError if there is an ensemble."""
        if isinstance(self.engine, EnsembleEngine):
            raise SettingsError(
                f"{purpose} needs one model and prompt: {self.name} is an ensemble. Use its "
                "members in components of their own."
            )
        return self.engine

    def sample(
        self,
        bigbio_pages: Iterable[Mapping[str, Any]],
        num_beams: int | None = None,
        *,
        compat: str | None = "longbel",
    ) -> list[Record]:
        """Link BigBio-KB pages; flat records, see `bigbio.sample`.

        num_beams: names per mention; by default those of the component.
        """
        self.prepare()
        engine = self.single_engine("sample")
        if num_beams is not None and num_beams != self.search.num_beams:
            engine = self._make_engine(self.language_model, self.prompt, num_beams=num_beams)
        return sample(engine, bigbio_pages, compat=compat, sentence_starts=self._sentence_starts)

    def _sentence_starts(self, text: str) -> Iterable[int]:
        make_doc = get_lang_class(self.vocab.lang or "xx")().make_doc
        return sentence_starts(make_doc(text))

    @property
    def report(self) -> Report:
        """Counts of what was linked, read, and left out for want of room."""
        return self.engine.report

    def prepare(self) -> None:
        """Open knowledge base, model and names."""
        super().prepare()
        self._mind_process()
        _ = self.engine

    def link(self, docs: Iterator[MarkedDoc]) -> Iterator[Links | Exception]:
        """Candidates of every mention, or what went wrong, document by document."""
        waiting: deque[tuple[MarkedDoc, dict[int, int] | Exception]] = deque()

        def documents() -> Iterator[Document]:
            for marked in docs:
                try:
                    mentions = self.read_mentions(marked)
                    document = self.document_of(marked, mentions)
                except Exception as error:
                    # In its place an empty one, so that answers come in order.
                    waiting.append((marked, error))
                    yield Document((), (), ())
                else:
                    waiting.append((marked, {m.index: i for i, m in enumerate(mentions)}))
                    yield document

        before = _left_out(self.report)
        for links in self.engine.link(documents()):
            marked, places = waiting.popleft()
            after = _left_out(self.report)
            if after != before:
                self._warn(before, after)
                before = after
            if isinstance(places, Exception):
                yield places
            elif isinstance(links, Exception):
                yield links
            else:
                none: list[Any] = []
                yield [
                    links[places[m.index]] if m.index in places else none for m in marked.mentions
                ]

    def read_mentions(self, marked: MarkedDoc) -> list[MentionSpan]:
        """The mentions that are linked, in the order in which they are."""
        # A code that the knowledge base does not know is kept, but says nothing to other mentions.
        mentions = [
            m for m in marked.mentions if not self._is_pinned(m.span) or self._pinned(m.span)
        ]
        if self.compat == "longbel":
            spans = [(m.span.start, m.span.end) for m in mentions]
            return reading_order(last_of_each_span(mentions, spans))
        return reading_order(self.linkable(mentions))

    def document_of(self, marked: MarkedDoc, mentions: list[MentionSpan]) -> Document:
        """What the engine is given of a document and some of its mentions."""
        return to_document(
            marked,
            mentions,
            pinned=self._pinned,
            retrieved=bool(self.search.candidates) or self.learning.memory == "predicted",
            abbreviations=self.abbreviations,
        )

    def _pinned(self, span: Span) -> Candidate | None:
        """The link that a mention keeps; one that a component made comes with candidates."""
        if self._is_pinned(span):
            return pinned_candidate(self.kb, span.text, span.kb_id_)
        return None

    def _is_pinned(self, span: Span) -> bool:
        kept = not self.cfg["overwrite"] and span.kb_id_ not in ("", NIL)
        return kept and not get_candidates(span)

    def annotate(self, marked: MarkedDoc, links: Links) -> None:
        """Write candidates and codes to a document; pinned mentions stay as they are."""
        free = [i for i, m in enumerate(marked.mentions) if not self._is_pinned(m.span)]
        chosen = [marked.mentions[i] for i in free]
        super().annotate(MarkedDoc(marked.doc, chosen), [links[i] for i in free])

    def calibrate(
        self, examples: Iterable[Example], *, use_retriever: bool = True
    ) -> Mapping[str, float]:
        """Fit temperature and weight of a retriever's scores, which make probabilities of scores.

        use_retriever: whether candidates that are on the mentions count; only if the component
        scores any (`candidates`). Returns the new values. Raises SettingsError without mentions to
        fit to, or if scores are no probabilities.
        """
        if self.merging.score != "probability":
            raise SettingsError(f"{self.name} shows likelihoods: set score = 'probability'.")
        self.prepare()
        golden = self.gold_documents(examples)
        judged = list(judged_names(self.single_engine("calibrate"), golden))
        weighted = use_retriever and bool(self.search.candidates)
        found = fit_calibration(judged, "listwise", use_retriever=weighted)
        self.cfg.update({key: getattr(found, key) for key in self.calibration_keys})
        self._engine = None
        return self._calibration()

    def gold_documents(self, examples: Iterable[Example]) -> Iterator[GoldDocument]:
        """What is read of the predicted documents, with the gold codes of the references."""
        for example in examples:
            marked = self.mark(example.predicted)
            mentions = self.read_mentions(marked)
            codes = {_key(s): c for s, c in judged_mentions(example, self.spans_key)}
            places = {i: codes.get(_key(m.span)) for i, m in enumerate(mentions)}
            yield GoldDocument(
                self.document_of(marked, mentions), {i: c for i, c in places.items() if c}
            )

    def _warn(self, before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
        memory, context, mentions = (b - a for a, b in zip(before, after, strict=True))
        logger.warning(
            "%s: a document does not fit into the %d tokens that are read at once. Earlier links "
            "left out of %d prompts, context cut to sentences around the mention in %d, mentions "
            "too long to be linked: %d.",
            self.name,
            self.engine.budget,
            memory,
            context,
            mentions,
        )


def _key(span: Span) -> tuple[int, int, str]:
    return span.start_char, span.end_char, span.label_


def _left_out(report: Report) -> tuple[int, int, int]:
    return report.memory_trimmed, report.context_cut, report.mentions_too_long
