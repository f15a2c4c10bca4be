"""Linking documents with a language model: names in, ranked candidates out.

The engine holds what does not change from document to document; `run.Run` does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..candidates import Candidate
from ..errors import ModelError
from ..kb.token_trie import MaskArray
from .beam_search import BeamSearch
from .document import Document, Mention
from .models.base import LanguageModel
from .models.static_cache import StaticCache
from .name_trie import NameTrie
from .prompts import Prompt
from .rows import Links, Trace
from .run import Run
from .search import Hypothesis, Search
from .tokenization import PromptTokenizer

#: Slots per row of a new cache, and the most that a cache may have grown to and still be kept.
_FIRST_CAPACITY = 256
_KEPT_CAPACITY = 2048


@dataclass
class Report:
    """What an engine has done so far.

    mentions: linked. memory_trimmed: prompts that left out earlier links. context_cut: prompts that
    left out sentences. mentions_too_long: mentions that no prompt could hold, left without
    candidates. prompt_tokens, read_tokens: tokens of all prompts, and how many of them had to be
    read because they were not in the cache. beam_tokens: tokens read while generating, of which
    needed_beam_tokens had to be; the others were read ahead in vain. forward_passes: calls of the
    model.
    """

    mentions: int = 0
    memory_trimmed: int = 0
    context_cut: int = 0
    mentions_too_long: int = 0
    prompt_tokens: int = 0
    read_tokens: int = 0
    beam_tokens: int = 0
    needed_beam_tokens: int = 0
    forward_passes: int = 0


class Engine:
    """Links documents with a model, a name trie and a prompt format.

    model: see `LanguageModel`. trie: the names to choose from. prompt: format of the prompts.
    num_beams: beams per mention. length_penalty: see `BeamSearch`. batch_size: documents in flight,
    or groups of mentions if the prompt has no memory. accept: whether a best candidate counts as a
    link and enters memory. max_length: read at most so many tokens, if fewer than the model can.
    reuse_prefix: read a prompt from the first token that differs from the document's previous one
    rather than from its beginning; the results are the same.
    """

    def __init__(
        self,
        model: LanguageModel,
        trie: NameTrie,
        prompt: Prompt,
        *,
        num_beams: int = 5,
        length_penalty: float = 1.0,
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
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.accept = accept
        self.read_ahead = read_ahead
        self.reuse_prefix = reuse_prefix and not model.bidirectional_prompt
        self.report = Report()
        self.tokenizer = PromptTokenizer(model.tokenizer, prompt)
        if self.tokenizer.end_token != trie.end_token:
            raise ModelError(
                f"The names were tokenized for another prompt than '{prompt.name}'. Build the "
                "token trie again for this prompt."
            )
        window = min(max_length or model.max_length, model.max_length)
        self.budget = window - trie.trie.depth
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
        return BeamSearch(
            self.trie.trie,
            self.group_mask(mention.groups),
            self.tokenizer.end_token,
            self.num_beams,
            self.length_penalty,
            read_ahead=self.read_ahead,
        )

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
