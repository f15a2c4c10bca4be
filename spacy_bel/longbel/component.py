"""`longbel_linker`: generates the name of each mention's concept, in document order."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from spacy.language import Language
from tqdm import tqdm

from ..errors import FingerprintMismatchError, KnowledgeBaseError
from ..kb.default import cache_directory
from ..kb.reference import KBReference
from ..linking_pipe import LinkingPipe, Links, MarkedDoc
from .document import Document
from .documents import reading_order, to_document
from .engine import Engine, Report
from .models.base import LanguageModel, tokenizer_fingerprint
from .models.holder import LanguageModelHolder
from .models.loading import ModelReference, resolve_model
from .name_trie import NameTrie
from .prompts import Prompt, get_prompt
from .tokenization import PromptTokenizer

logger = logging.getLogger(__name__)

DEFAULT_PROMPT = "hybrid_long"


class LongBELLinker(LinkingPipe, LanguageModelHolder):
    """Links mentions by generating concept names under a trie of all names of the terminology.

    Method: LongBEL (arXiv 2605.13451). The mention is put before a language model with its context
    and, in prompts with memory, with the links of the document so far; beam search writes a name of
    one of the mention's semantic groups.

    Scores are length-normalised likelihoods, in [0, 1]: with a length penalty of 1 the geometric
    mean of the probabilities of a name's tokens. They do not sum to one over the candidates.

    model: directory or hub id of a causal language model, a function that returns a
    `LanguageModel`, or None for the default model. prompt: name of a prompt format, or a `Prompt`;
    by default the one that the model says it was trained for, otherwise `hybrid_long`, which
    released LongBEL checkpoints read. num_beams: beams per mention, also the largest number of
    names per mention. length_penalty: exponent of the length by which log-probabilities are divided
    before names are compared; by default the model's own, otherwise 1. batch_size: documents in
    flight. device, dtype: where and in which precision the model runs; by default the best device,
    float32 on CPU. max_length: tokens to read at most, if fewer than the model can. The other
    arguments are those of `LinkingPipe`.
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
        batch_size: int = 8,
        device: str | None = None,
        dtype: str | None = None,
        max_length: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(nlp, name, kb=kb, **settings)
        if num_beams < 1 or batch_size < 1:
            raise ValueError("num_beams and batch_size must be at least 1.")
        self._prompt = None if prompt is None else get_prompt(prompt)
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self.max_length = max_length
        self._model_reference = model
        self._model: LanguageModel | None = None
        self._trie: NameTrie | None = None
        self._trie_directory: Path | None = None
        self._engine: Engine | None = None
        self._process = os.getpid()

    def set_model(self, reference: ModelReference) -> None:
        """Decode with another language model from now on."""
        self._model_reference = reference
        self._model = resolve_model(reference, device=self.device, dtype=self.dtype)
        self._trie = self._trie_directory = self._engine = None

    def set_prompt(self, prompt: str | Prompt) -> None:
        """Put mentions before the model in another format from now on."""
        self._prompt = get_prompt(prompt)
        self._engine = None
        if self._trie is not None:
            tokenizer = PromptTokenizer(self.language_model.tokenizer, self._prompt)
            if tokenizer.end_token != self._trie.end_token:
                self._trie = self._trie_directory = None

    @property
    def language_model(self) -> LanguageModel:
        """The language model, loaded on first use."""
        if self._model is None:
            self._model = resolve_model(self._model_reference, device=self.device, dtype=self.dtype)
        return self._model

    @property
    def prompt(self) -> Prompt:
        """The prompt format."""
        if self._prompt is None:
            self._prompt = get_prompt(
                getattr(self.language_model, "prompt", None) or DEFAULT_PROMPT
            )
        return self._prompt

    @property
    def trie(self) -> NameTrie:
        """The names of the knowledge base in the model's tokens, built or opened on first use."""
        if self._trie is None:
            self._trie = self._open_trie()
        return self._trie

    @property
    def engine(self) -> Engine:
        """What does the linking, made on first use."""
        if self._engine is None:
            penalty = self.length_penalty
            if penalty is None:
                penalty = getattr(self.language_model, "length_penalty", None)
            self._engine = Engine(
                self.language_model,
                self.trie,
                self.prompt,
                num_beams=self.num_beams,
                length_penalty=1.0 if penalty is None else penalty,
                batch_size=self.batch_size,
                accept=self.accepts,
                max_length=self.max_length,
            )
        return self._engine

    @property
    def report(self) -> Report:
        """Counts of what was linked, read, and left out for want of room."""
        return self.engine.report

    def prepare(self) -> None:
        """Open knowledge base, model and names."""
        super().prepare()
        if self._process != os.getpid():
            # Threads do not survive a fork: using them in the child would wait forever.
            torch.set_num_threads(1)
            self._process = os.getpid()
        _ = self.engine

    def link(self, docs: Iterator[MarkedDoc]) -> Iterator[Links | Exception]:
        """Candidates of every mention, or what went wrong, document by document."""
        waiting: deque[tuple[MarkedDoc, dict[int, int]]] = deque()

        def documents() -> Iterator[Document]:
            for marked in docs:
                mentions = reading_order(self.linkable(marked.mentions))
                places = {mention.index: i for i, mention in enumerate(mentions)}
                waiting.append((marked, places))
                yield to_document(marked, mentions)

        report = self.report
        before = (report.memory_trimmed, report.context_cut, report.mentions_too_long)
        for links in self.engine.link(documents()):
            marked, places = waiting.popleft()
            after = (report.memory_trimmed, report.context_cut, report.mentions_too_long)
            if after != before:
                self._warn(before, after)
                before = after
            if isinstance(links, Exception):
                yield links
            else:
                none: list[Any] = []
                yield [
                    links[places[m.index]] if m.index in places else none for m in marked.mentions
                ]

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

    def _open_trie(self) -> NameTrie:
        tokenizer = PromptTokenizer(self.language_model.tokenizer, self.prompt)
        opening = (self.kb, self.language_model.tokenizer, tokenizer.end_token)
        if self._trie_directory is not None:
            return NameTrie.from_disk(self._trie_directory, *opening)
        # In-memory knowledge bases are small and short-lived: not worth a place in the cache.
        if self.kb.path is None:
            return NameTrie.build(self.kb, tokenizer)
        made_from = (self.kb.fingerprint, tokenizer_fingerprint(self.language_model.tokenizer))
        key = "-".join([*(fingerprint[:16] for fingerprint in made_from), str(tokenizer.end_token)])
        cached = cache_directory() / "token_tries" / key
        try:
            if cached.is_dir():
                return NameTrie.from_disk(cached, *opening)
        except (KnowledgeBaseError, FingerprintMismatchError) as error:
            logger.warning("The cached token trie is built again: %s", error)
        trie = NameTrie.build(self.kb, tokenizer, _progress(self.kb.n_names))
        try:
            trie.to_disk(cached, self.language_model.tokenizer)
            # By memory map it takes next to nothing of this process.
            return NameTrie.from_disk(cached, *opening)
        except (OSError, KnowledgeBaseError, FingerprintMismatchError) as error:
            logger.info("The token trie was not cached: %s", error)
        return trie

    def _kb_changed(self) -> None:
        super()._kb_changed()
        self._trie = self._trie_directory = self._engine = None

    def _disk_writers(self) -> dict[str, Callable[[Path], None]]:
        return {"model": self._model_to_disk, "token_trie": self._trie_to_disk}

    def _disk_readers(self) -> dict[str, Callable[[Path], None]]:
        return {"model": self._model_from_disk, "token_trie": self._trie_from_disk}

    def _forget_model(self) -> None:
        self._model = self._trie = self._engine = None

    def _trie_to_disk(self, path: Path) -> None:
        if self.store_kb and self._trie_directory != path.resolve():
            self.trie.to_disk(path, self.language_model.tokenizer)

    def _trie_from_disk(self, path: Path) -> None:
        if path.is_dir():
            self._trie_directory = path.resolve()
            self._trie = self._engine = None

    def _bytes_writers(self) -> dict[str, Callable[[], Any]]:
        return {"model": self._model_to_bytes}

    def _bytes_readers(self) -> dict[str, Callable[[Any], None]]:
        return {"model": self._model_from_bytes}

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "_engine": None, "_trie": None, **self._model_state()}


def _progress(total: int) -> Callable[[Iterable[str]], Iterable[str]]:
    return lambda names: tqdm(names, "Tokenizing names", total, unit="name", disable=None)
