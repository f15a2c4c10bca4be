"""From annotated documents to training examples: what the engine reads, and what it is to write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from ...errors import SettingsError, TrainingError
from ...kb import KnowledgeBase
from ..calibrating import GoldDocument
from ..document import Document, MemoryEntry, Mention
from ..memory_policy import AllLinks, MemoryPolicy
from ..prompts import Prompt
from ..prompts.hybrid import HybridPrompt
from ..prompts.text import mention_tag
from ..tokenization import PromptTokenizer
from ..window import Encode, MentionTooLongError, fit_prompt
from .earlier_links import EarlierLinks, MemorySource, entry
from .example import TrainingExample, Turn
from .gold_groups import with_gold_groups
from .report import BuildingReport, Reason
from .stretches import Stretch, stretches
from .targets.base import TargetChooser
from .targets.gold_names import GoldNames
from .targets.pool import NamePool

GroupSource = Literal["label", "reference"]

#: Of every mention the names to learn, or why there are none.
Names = list[tuple[str, ...] | Reason]
_Skip = Callable[[int, Reason], None]


class ExampleBuilder:
    """Makes training examples that read what the engine will read (LongBEL, arXiv 2605.13451).

    kb: knowledge base whose names are generated. prompt: format of the prompts. targets: chooses
    among the names of a concept. memory: which earlier links prompts show: "gold", the target names
    of earlier mentions; "predicted", the best candidates that mentions carry, such as those of a
    model that has not seen the document; or "none". policy: chooses among them, as at inference.
    groups: "label", those that the mention's label maps to, or "reference", see `gold_groups`.
    encode, budget: how to tokenize prompts, and how many tokens they may have; without budget they
    are as long as they get. tokenizer: leaves out names that it cannot write, and is `encode` if
    there is none. composites: learn mentions of several concepts, if the tokenizer has a separator
    for them. consistent: one name a concept in every document; by default in formats that show the
    document or its links.

    A format of one running stream gives one example a document, with a turn per mention, if memory
    is all gold links; otherwise, as all other formats, one example a mention.

    report: what was made, and what was left out.
    """

    def __init__(
        self,
        kb: KnowledgeBase,
        prompt: Prompt,
        targets: TargetChooser,
        *,
        memory: MemorySource = "gold",
        policy: MemoryPolicy | None = None,
        groups: GroupSource = "label",
        encode: Encode | None = None,
        budget: int | None = None,
        tokenizer: PromptTokenizer | None = None,
        composites: bool = True,
        consistent: bool | None = None,
    ) -> None:
        if memory not in ("gold", "predicted", "none"):
            raise SettingsError(f"memory is {memory!r}: use 'gold', 'predicted' or 'none'.")
        if groups not in ("label", "reference"):
            raise SettingsError(f"groups is {groups!r}: use 'label' or 'reference'.")
        if budget is not None and budget < 1:
            raise SettingsError(f"budget is {budget}: prompts need at least one token.")
        if tokenizer is not None:
            encode = encode or tokenizer.encode
            composites = composites and tokenizer.separator is not None
        if budget is not None and encode is None:
            raise SettingsError("A budget of tokens needs a tokenizer: give encode or tokenizer.")
        if prompt.max_tokens is not None and encode is not None:
            budget = min(budget or prompt.max_tokens, prompt.max_tokens)
        if consistent is None:
            whole = isinstance(prompt, HybridPrompt) and prompt.whole_document
            consistent = prompt.uses_memory or whole
        self.kb = kb
        self.prompt = prompt
        self.targets = targets
        self.memory: MemorySource = memory if prompt.uses_memory else "none"
        self.policy = AllLinks() if policy is None else policy
        self.groups: GroupSource = groups
        self.encode, self.budget, self.tokenizer = encode, budget, tokenizer
        self.composites, self.consistent = composites, consistent
        #: Links are one text with what is read only if they are those that are learned.
        self.one_stream = (
            prompt.end_token == "sep_token_id" and memory == "gold" and self.policy == AllLinks()
        )
        self.report = BuildingReport()
        self._names = GoldNames(
            NamePool(kb, tokenizer), targets, consistent=consistent, composites=composites
        )

    def stream(self, documents: Iterable[tuple[str, GoldDocument]]) -> Iterator[TrainingExample]:
        """Examples of all documents, given with their ids, as far as they are asked for.

        Raises TrainingError at the end if there were none, see `check`.
        """
        for id, document in documents:
            yield from self.examples(document, id)
        self.check()

    def check(self) -> None:
        """Raise TrainingError, which says why, if what was read so far cannot be learned from."""
        self.report.check()
        if self.memory == "predicted" and not self.report.remembered:
            raise TrainingError(
                "memory='predicted', but no mention carries a candidate: predict the corpus first, "
                "with models that have not seen it, or use memory='gold'."
            )

    def examples(self, document: GoldDocument, id: str = "") -> list[TrainingExample]:
        """The examples of a document, in the order of its mentions."""
        if self.groups == "reference":
            document = with_gold_groups(self.kb, document)
        mentions, names = document.document.mentions, self._names.of(document)

        def skip(index: int, reason: Reason) -> None:
            codes = "+".join("|".join(part) for part in document.gold.get(index, ()))
            self.report.skip(reason, id, mentions[index], codes)

        for index, found in enumerate(names):
            if isinstance(found, Reason):
                skip(index, found)
        parts = self._streams if self.one_stream else self._single
        made = [TrainingExample(turns, id) for turns in parts(document.document, names, skip)]
        self.report.documents += 1
        self.report.mentions += len(mentions)
        self.report.examples += len(made)
        self.report.targets += sum(len(example.turns) for example in made)
        return made

    def _single(self, document: Document, names: Names, skip: _Skip) -> Iterator[tuple[Turn]]:
        """Each mention behind the prompt that the engine reads for it."""
        links = EarlierLinks(self.memory, self.policy, document.mentions)
        for index, (mention, found) in enumerate(zip(document.mentions, names, strict=True)):
            target = () if isinstance(found, Reason) else found
            try:
                if mention.pinned is not None:
                    if target:
                        skip(index, Reason.pinned)
                elif target:
                    text = self._prompt(document, mention, links.before(index))
                    yield (Turn(text, target),)
                else:
                    self._check_fits(mention)
            except MentionTooLongError:
                # The engine does not link it either, so that it never enters memory.
                if target:
                    skip(index, Reason.too_long)
            else:
                self.report.remembered += links.add(index, target)

    def _streams(self, document: Document, names: Names, skip: _Skip) -> Iterator[tuple[Turn, ...]]:
        """The mentions of a document as turns of one text, or of several if it is too long."""
        mentions = document.mentions
        learned = {i: found for i, found in enumerate(names) if not isinstance(found, Reason)}
        for index in [i for i in learned if mentions[i].pinned is not None]:
            del learned[index]
            skip(index, Reason.pinned)

        def fits(stretch: Stretch) -> bool:
            if self.encode is None or self.budget is None:
                return True
            *before, last = stretch.mentions
            context = self.prompt.context(document, mentions[last], stretch.window)
            entries = [entry(mentions[i], learned[i]) for i in before]
            prompt = self.prompt.assemble(context, entries, mentions[last])
            return len(self.encode(prompt)) <= self.budget

        parts = list(stretches(document, list(learned), fits))
        self.report.split += len(parts) > 1
        for stretch in parts:
            if stretch.window is None or fits(stretch):
                self.report.remembered += len(stretch.mentions)
                yield tuple(self._turns(document, stretch, learned))
                continue
            for index in stretch.mentions:  # of a sentence that is too long even alone
                try:
                    text = self._prompt(document, mentions[index], [])
                    yield (Turn(text, learned[index]),)
                except MentionTooLongError:
                    skip(index, Reason.too_long)

    def _turns(
        self, document: Document, stretch: Stretch, learned: dict[int, tuple[str, ...]]
    ) -> Iterator[Turn]:
        first, *others = stretch.mentions
        mention = document.mentions[first]
        context = self.prompt.context(document, mention, stretch.window)
        yield Turn(self.prompt.assemble(context, (), mention), learned[first])
        for index in others:
            mention = document.mentions[index]
            yield Turn(mention_tag(mention.text, mention.group), learned[index])

    def _prompt(self, document: Document, mention: Mention, shown: list[MemoryEntry]) -> str:
        """The prompt of a mention, within the window if there is one."""
        if self.encode is None or self.budget is None:
            window = self.prompt.window(document, mention)
            context = self.prompt.context(document, mention, window)
            return self.prompt.assemble(context, shown, mention)
        fitted = fit_prompt(self.prompt, document, mention, shown, self.encode, self.budget)
        self.report.memory_trimmed += fitted.dropped_memory > 0
        self.report.context_cut += fitted.cut_context
        return fitted.text

    def _check_fits(self, mention: Mention) -> None:
        """Raise MentionTooLongError for a mention that the engine leaves out of memory, too."""
        if self.encode is None or self.budget is None or self.memory == "none":
            return
        if len(self.encode(self.prompt.assemble("", (), mention))) > self.budget:
            raise MentionTooLongError(mention.text)
