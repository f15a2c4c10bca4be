"""What every linking component shares: mentions in, ranked candidates out, spaCy's conventions."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from spacy import util
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.training import Example

from .candidates import Candidate, register_extension, set_candidates
from .kb.reference import KBReference, KnowledgeBaseHolder
from .mentions import (
    NIL,
    GroupMapping,
    LabelGroups,
    UnmappedLabels,
    is_linkable,
    mention_spans,
    set_links,
)

Links = list[list[Candidate]]


@dataclass(frozen=True, slots=True)
class MentionSpan:
    """A mention to be linked: its span, its place in `mention_spans`, and the groups to search."""

    index: int
    span: Span
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MarkedDoc:
    """A document with the mentions that are to be linked."""

    doc: Doc
    mentions: list[MentionSpan]


class LinkingPipe(Pipe, KnowledgeBaseHolder):
    """Base of the linking components.

    Subclasses implement `link`. nlp, name: as spaCy passes them. kb: directory of a knowledge base,
    a KnowledgeBase, a function that returns one, or None for the embedded default. label_groups,
    unmapped_labels: see `GroupMapping`. spans_key: span group that holds the mentions; None for
    `doc.ents`. threshold: lowest score of a link; a mention whose best candidate scores less gets
    "NIL" as its `kb_id_` and keeps its candidates. max_candidates: how many are stored per mention.
    store_kb: see `KnowledgeBaseHolder`. scorer: spaCy scorer of `nlp.evaluate`.
    """

    def __init__(
        self,
        nlp: Language,
        name: str,
        *,
        kb: KBReference = None,
        label_groups: LabelGroups | None = None,
        unmapped_labels: UnmappedLabels = "error",
        spans_key: str | None = None,
        threshold: float = 0.0,
        max_candidates: int = 5,
        store_kb: bool = True,
        scorer: Callable[..., dict[str, Any]] | None = None,
    ) -> None:
        self.vocab = nlp.vocab
        self.name = name
        self._kb_reference = kb
        self.label_groups = dict(label_groups or {})
        self.unmapped_labels = unmapped_labels
        self.max_candidates = max_candidates
        self.store_kb = store_kb
        self.scorer = scorer
        # Settings that a scorer or `spacy find-threshold` reads and replaces.
        self.cfg: dict[str, Any] = {"spans_key": spans_key, "threshold": threshold}
        self._mapping: GroupMapping | None = None
        register_extension()

    @abstractmethod
    def link(self, docs: Iterator[MarkedDoc]) -> Iterator[Links | Exception]:
        """Candidates of every mention, best first, or what went wrong, document by document.

        Must read `docs` no further than it needs to.
        """

    @property
    def spans_key(self) -> str | None:
        """Span group that holds the mentions; None for `doc.ents`."""
        return self.cfg["spans_key"]

    @property
    def threshold(self) -> float:
        """Lowest score of a link."""
        return self.cfg["threshold"]

    @property
    def mapping(self) -> GroupMapping:
        """Semantic groups of mention labels."""
        if self._mapping is None:
            self._mapping = GroupMapping(self.kb, self.label_groups, self.unmapped_labels)
        return self._mapping

    def accepts(self, candidate: Candidate) -> bool:
        """Whether a best candidate counts as a link."""
        return candidate.score >= self.threshold

    def initialize(
        self, get_examples: Callable[[], Iterable[Example]], *, nlp: Language | None = None
    ) -> None:
        """Open what the component links with, so that a wrong setting shows before training."""
        self.prepare()

    def prepare(self) -> None:
        """Open the knowledge base and check the settings against it."""
        _ = self.mapping

    def __call__(self, doc: Doc) -> Doc:
        """Link the mentions of a document."""
        self.prepare()
        marked = self.mark(doc)
        (links,) = self.link(iter([marked]))
        if isinstance(links, Exception):
            raise links
        self.annotate(marked, links)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Link a stream of documents lazily and in order.

        A document that fails goes to spaCy's error handler and is left out, as in every component.
        """
        # A missing model or knowledge base is no fault of the first document.
        self.prepare()
        error_handler = self.get_error_handler()
        in_work: deque[MarkedDoc] = deque()
        # Documents whose mentions could not be read, each behind so many others still in work.
        failed: deque[tuple[int, Doc, Exception]] = deque()
        done = 0

        def marked() -> Iterator[MarkedDoc]:
            for doc in stream:
                try:
                    in_work.append(self.mark(doc))
                except Exception as error:
                    failed.append((done + len(in_work), doc, error))
                else:
                    yield in_work[-1]

        def report_failed() -> None:
            while failed and failed[0][0] <= done:
                _, doc, error = failed.popleft()
                error_handler(self.name, self, [doc], error)

        for links in self.link(marked()):
            report_failed()
            item = in_work.popleft()
            done += 1
            try:
                if isinstance(links, Exception):
                    raise links
                self.annotate(item, links)
            except Exception as error:
                error_handler(self.name, self, [item.doc], error)
            else:
                yield item.doc
        report_failed()

    def mark(self, doc: Doc) -> MarkedDoc:
        """Find the mentions of a document and the groups to search for each."""
        mentions = []
        for index, span in enumerate(mention_spans(doc, self.spans_key)):
            groups = self.mapping.groups(span.label_)
            if groups is not None:
                mentions.append(MentionSpan(index, span, groups))
        return MarkedDoc(doc, mentions)

    def annotate(self, marked: MarkedDoc, links: Links) -> None:
        """Write candidates and codes to a document."""
        codes = {}
        for mention, candidates in zip(marked.mentions, links, strict=True):
            set_candidates(mention.span, candidates[: self.max_candidates])
            linked = bool(candidates) and self.accepts(candidates[0])
            codes[mention.index] = candidates[0].code if linked else NIL
        if codes:
            set_links(marked.doc, self.spans_key, codes)

    def linkable(self, mentions: Iterable[MentionSpan]) -> list[MentionSpan]:
        """Mentions that have anything to compare; the others get no candidates."""
        return [mention for mention in mentions if is_linkable(mention.span.text)]

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score examples; gold codes that the knowledge base knows by another code count as it."""
        return super().score(examples, **{"kb": self.kb, **kwargs})

    def _kb_changed(self) -> None:
        self._mapping = None

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write the component to a directory."""
        util.to_disk(path, {"kb": self._kb_to_disk, **self._disk_writers()}, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> LinkingPipe:
        """Read the component from a directory."""
        util.from_disk(path, {"kb": self._kb_from_disk, **self._disk_readers()}, exclude)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Write the component to a bytestring."""
        return util.to_bytes({"kb": self._kb_to_bytes, **self._bytes_writers()}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> LinkingPipe:
        """Read the component from a bytestring."""
        util.from_bytes(data, {"kb": self._kb_from_bytes, **self._bytes_readers()}, exclude)
        return self

    def _disk_writers(self) -> dict[str, Callable[[Path], None]]:
        return {}

    def _disk_readers(self) -> dict[str, Callable[[Path], None]]:
        return {}

    def _bytes_writers(self) -> dict[str, Callable[[], Any]]:
        return {}

    def _bytes_readers(self) -> dict[str, Callable[[Any], None]]:
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        # For `nlp.pipe(n_process=…)` where processes are spawned: open files are opened again.
        return _restore, (type(self), self.name, self._state())

    def _state(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_mapping"}


def in_batches(
    docs: Iterator[MarkedDoc], link: Callable[[list[MarkedDoc]], list[Links]], size: int
) -> Iterator[Links | Exception]:
    """Link so many documents at a time; the links of each, or what went wrong with it.

    link: gives the links of every document of a batch. Where it fails, the documents are linked one
    by one, so that only those at fault are lost.
    """
    while batch := list(islice(docs, size)):
        try:
            links = link(batch)
        except Exception as error:
            if len(batch) == 1:
                yield error
            else:
                yield from in_batches(iter(batch), link, 1)
        else:
            yield from links


def _restore(cls: type[LinkingPipe], name: str, state: dict[str, Any]) -> LinkingPipe:
    pipe = cls.__new__(cls)
    pipe.name = name
    pipe._mapping = None
    for key, value in state.items():
        setattr(pipe, key, value)
    register_extension()
    return pipe
