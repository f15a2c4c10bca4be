"""Linking documents with a language model: names in, ranked candidates out.

The engine holds what does not change from document to document; `run.Run` does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

from ..candidates import Candidate
from ..errors import ModelError
from ..kb.token_trie import MaskArray
from .document import Document, Mention
from .memory_policy import AllLinks, MemoryPolicy
from .merging import Merging
from .models.base import LanguageModel
from .models.static_cache import StaticCache
from .name_trie import NameTrie
from .prompts import Prompt
from .rows import Links, Trace
from .run import Run
from .search import Hypothesis, Search
from .searching import Decoding, SearchSettings
from .tokenization import PromptTokenizer

#: The most that a cache may have grown to and still be kept for the next run.
_KEPT_CAPACITY = 2048


@dataclass
class Report:
    """What an engine has done so far.

    mentions: linked. pinned: mentions whose link stood already. memory_trimmed: prompts that left
    out earlier links. context_cut: prompts that left out sentences. mentions_too_long: mentions
    that no prompt could hold, left without candidates. prompt_tokens, read_tokens: tokens of all
    prompts, and how many of them had to be read because they were not in the cache. beam_tokens:
    tokens read while generating, of which needed_beam_tokens had to be; the others were read ahead
    in vain. forward_passes: steps in which the model read something. unproven: exact searches that
    gave up before their best name was proven.
    """

    mentions: int = 0
    pinned: int = 0
    memory_trimmed: int = 0
    context_cut: int = 0
    mentions_too_long: int = 0
    prompt_tokens: int = 0
    read_tokens: int = 0
    beam_tokens: int = 0
    needed_beam_tokens: int = 0
    forward_passes: int = 0
    unproven: int = 0


class Engine:
    """Links documents with a model, a name trie and a prompt format.

    model: see `LanguageModel`. trie: the names to choose from. prompt: format of the prompts.
    num_beams, length_penalty, decoding, composites, candidates, read_ahead: see `SearchSettings`.
    merging: how generated names become candidates. memory: which earlier links prompts show.
    passes: with 2, a document is read again with the links of all its mentions. batch_size:
    documents in flight, or groups of mentions if the prompt has no memory. batch_tokens: tokens of
    theirs that the cache is to hold at most, if one document alone does not take more. accept:
    whether a best candidate counts as a link and enters memory. max_length: read at most so many
    tokens, if fewer than the model can. reuse_prefix: read a prompt from the first token that
    differs from the document's previous one rather than from its beginning; the results are the
    same.
    """

    def __init__(
        self,
        model: LanguageModel,
        trie: NameTrie,
        prompt: Prompt,
        *,
        num_beams: int = 5,
        length_penalty: float = 1.0,
        decoding: Decoding = "constrained",
        composites: bool = False,
        candidates: int = 0,
        merging: Merging | None = None,
        memory: MemoryPolicy | None = None,
        passes: int = 1,
        batch_size: int = 16,
        batch_tokens: int = 32_768,
        accept: Callable[[Candidate], bool] = lambda candidate: True,
        max_length: int | None = None,
        reuse_prefix: bool = True,
        read_ahead: bool = True,
    ) -> None:
        self.model = model
        self.trie = trie
        self.prompt = prompt
        self.search = SearchSettings(
            num_beams,
            length_penalty,
            decoding=decoding,
            composites=composites,
            candidates=candidates,
            read_ahead=read_ahead,
        )
        self.merging = merging or Merging()
        self.memory = memory or AllLinks()
        self.passes = passes
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.accept = accept
        self.reuse_prefix = reuse_prefix and not model.bidirectional_prompt
        self.report = Report()
        self.tokenizer = PromptTokenizer(model.tokenizer, prompt)
        if self.tokenizer.name_format != trie.name_format:
            raise ModelError(
                f"The names were tokenized for another prompt than '{prompt.name}'. Build the "
                "token trie again for this prompt."
            )
        if composites and self.tokenizer.separator is None:
            raise ModelError(
                f"The tokenizer has no '{prompt.name_separator}', which joins the names of several "
                "concepts. Set composites=False, or take a model that was trained with it."
            )
        window = min(max_length or model.max_length, model.max_length)
        self.budget = window - self.search.longest(trie)
        if prompt.max_tokens is not None:
            self.budget = min(self.budget, prompt.max_tokens)
        if composites and self.budget <= 0 < window - trie.trie.depth:
            raise ModelError(
                f"The model reads only {window} tokens, too few for the names of several concepts. "
                "Set composites=False, or use a model with a longer window."
            )
        if self.budget <= 0:
            raise ModelError(
                f"The longest name has {trie.trie.depth} tokens and the model reads only {window}. "
                "Use a model with a longer window, or drop the longest names."
            )
        self._group_masks: dict[tuple[str, ...], MaskArray] = {}
        self._spare_cache: StaticCache | None = None

    def link(self, documents: Iterable[Document]) -> Iterator[Links | Exception]:
        """Ranked candidates of every mention, document by document, in the order they came.

        Reads `documents` only as far as needed. A document that cannot be linked yields the
        exception and does not disturb the others; an error of the model itself is raised.
        """
        for done in Run(self, iter(documents)).results():
            yield done.error or done.links

    def trace(self, documents: Iterable[Document]) -> Iterator[list[Trace]]:
        """Prompts and generated names behind `link`, mention by mention; raises what went wrong."""
        for done in Run(self, iter(documents), keep_traces=True).results():
            if done.error is not None:
                raise done.error
            yield done.traces

    def generate(self, documents: Iterable[Document]) -> Iterator[list[list[Hypothesis]]]:
        """The generated names of every mention, best first; raises what went wrong."""
        for traces in self.trace(documents):
            yield [trace.hypotheses for trace in traces]

    def new_search(self, mention: Mention) -> Search:
        """What looks for the names of a mention."""
        mask = self.group_mask(mention.groups)
        counted = self.model.counted_prompt_tokens
        return self.search.search(self.trie, self.tokenizer, mention, mask, counted)

    def scored(self, mention: Mention) -> tuple[tuple[str, str], ...]:
        """Codes and names that are scored beside what is generated for a mention."""
        chosen = mention.retrieved[: self.search.candidates]
        return tuple((each.code, each.name) for each in chosen)

    def candidates(
        self, mention: Mention, hypotheses: Iterable[Hypothesis], linked: Container[str]
    ) -> list[Candidate]:
        """Concepts of the generated names, best first; linked: codes that win ties."""
        mask = self.group_mask(mention.groups)
        names = [self.trie.generated(h, mask, self.tokenizer) for h in hypotheses]
        retrieved = mention.retrieved if self.search.candidates else ()
        return self.merging.candidates(self.trie.kb, mention.text, names, linked, retrieved)

    def take_cache(self) -> StaticCache:
        """A cache for one run; its content is of no meaning."""
        cache, self._spare_cache = self._spare_cache, None
        return cache or self.model.new_cache(1, 0)

    def return_cache(self, cache: StaticCache) -> None:
        """Keep a cache for the next run: making one takes longer than a short document."""
        if cache.capacity <= _KEPT_CAPACITY:
            self._spare_cache = cache

    def group_mask(self, groups: tuple[str, ...]) -> MaskArray:
        """Bits of some semantic groups."""
        if groups not in self._group_masks:
            self._group_masks[groups] = self.trie.kb.group_mask(groups)
        return self._group_masks[groups]
