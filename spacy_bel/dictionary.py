"""Mentions by dictionary: every name of a terminology that stands in the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from spacy import util
from spacy.language import Language
from spacy.matcher import PhraseMatcher
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span

from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.reference import KBReference, KnowledgeBaseHolder
from spacy_bel.kb.text import fold

LONGEST_ABBREVIATION = 6
_NAMES_AT_ONCE = 1000
_Matchers = tuple[PhraseMatcher, PhraseMatcher]


class Dictionary(Pipe, KnowledgeBaseHolder):
    """Marks names of a knowledge base as `doc.ents`, labelled with their semantic group.

    Names match whole tokens whatever their case, save abbreviations ("ASD"), which match as they
    are written. The longest of overlapping names wins, and entities that are already there stay as
    they are. A name of several groups gets the first of them in alphabetical order. The knowledge
    base is opened and its names are read at the first document.

    nlp, name: as spaCy passes them.
    kb: directory of a knowledge base, a KnowledgeBase, a function that returns one, or None for the
        default one.
    groups: semantic groups to look for; None means all.
    min_length: names with fewer characters are left out, as are numbers, single letters and
        stop words.
    store_kb: see `KnowledgeBaseHolder`.
    """

    def __init__(
        self,
        nlp: Language,
        name: str = "bel_dictionary",
        *,
        kb: KBReference = None,
        groups: Iterable[str] | None = None,
        min_length: int = 3,
        store_kb: bool = False,
    ) -> None:
        self.nlp: Language | None = nlp
        self.name = name
        self._kb_reference = kb
        self.groups = None if groups is None else tuple(groups)
        self.min_length = min_length
        self.store_kb = store_kb
        self._matchers: _Matchers | None = None

    @property
    def matchers(self) -> _Matchers:
        """The matchers of words and of abbreviations, made on first use."""
        if self._matchers is None:
            if self.nlp is None:
                raise RuntimeError("A dictionary in another process cannot change its names.")
            self._matchers = build_matchers(
                names_by_group(self.kb, self.groups), self.nlp, self.min_length
            )
        return self._matchers

    def __call__(self, doc: Doc) -> Doc:
        """Add the names in a document to its entities."""
        taken = {token.i for ent in doc.ents for token in ent}
        found = [
            Span(doc, start, end, label=_label(matcher, label))
            for matcher in self.matchers
            for label, start, end in matcher(doc)
            if taken.isdisjoint(range(start, end))
        ]
        doc.set_ents(util.filter_spans(found), default="unmodified")
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Mark the names in a stream of documents."""
        # A missing knowledge base is no fault of the first document.
        _ = self.matchers
        yield from super().pipe(stream, batch_size=batch_size)

    def _kb_changed(self) -> None:
        self._matchers = None

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Write the component to a directory."""
        util.to_disk(path, {"kb": self._kb_to_disk}, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> Dictionary:
        """Read the component from a directory."""
        util.from_disk(path, {"kb": self._kb_from_disk}, exclude)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Write the component to a bytestring."""
        return util.to_bytes({"kb": self._kb_to_bytes}, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> Dictionary:
        """Read the component from a bytestring."""
        util.from_bytes(data, {"kb": self._kb_from_bytes}, exclude)
        return self

    def __reduce__(self) -> tuple[Callable[..., Dictionary], tuple[Any, ...]]:
        # For `nlp.pipe(n_process=…)` where processes are spawned: the pipeline itself stays behind.
        _ = self.matchers
        return _restore, (type(self), {**self.__dict__, "nlp": None})


def _label(matcher: PhraseMatcher, key: int) -> str:
    # In a process of its own the document's vocabulary does not know the labels.
    return matcher.vocab.strings[key]  # type: ignore[attr-defined]


def _restore(cls: type[Dictionary], state: dict[str, Any]) -> Dictionary:
    dictionary = cls.__new__(cls)
    dictionary.__dict__.update(state)
    return dictionary


def names_by_group(kb: KnowledgeBase, groups: Iterable[str] | None = None) -> dict[str, list[str]]:
    """For each group the names that its concepts own, each name under one group only.

    groups: groups to take, None for all. Raises UnknownGroupError if the knowledge base lacks one.
    """
    chosen = sorted(kb.groups if groups is None else set(groups))
    masks = {group: kb.group_mask([group]) for group in chosen}
    names: dict[str, list[str]] = {group: [] for group in chosen}
    seen = set()
    for name_id, name in enumerate(kb.names()):
        bits = kb.concept_group_masks[kb.concepts_of_name(name_id)]
        group = next((group for group in chosen if (bits & masks[group]).any()), None)
        # "Seizure" and "seizure" would be two patterns for one text.
        if group is not None and (key := (fold(name), is_abbreviation(name))) not in seen:
            seen.add(key)
            names[group].append(name)
    return names


def build_matchers(names: dict[str, list[str]], nlp: Language, min_length: int) -> _Matchers:
    """Matchers of words, whatever their case, and of abbreviations, for the names of each label."""
    words = PhraseMatcher(nlp.vocab, attr="LOWER")
    abbreviations = PhraseMatcher(nlp.vocab, attr="ORTH")
    stop_words = nlp.Defaults.stop_words
    for label, candidates in names.items():
        usable = (name for name in candidates if is_usable(name, min_length, stop_words))
        # In portions, because a tokenised name takes far more memory than its pattern.
        while portion := list(islice(usable, _NAMES_AT_ONCE)):
            docs = [nlp.make_doc(name) for name in portion]
            words.add(label, [doc for doc in docs if not is_abbreviation(doc.text)])
            abbreviations.add(label, [doc for doc in docs if is_abbreviation(doc.text)])
    return words, abbreviations


def is_usable(name: str, min_length: int, stop_words: set[str]) -> bool:
    """Whether a name can be told from ordinary text: long enough, two letters, no stop word."""
    letters = sum(character.isalpha() for character in name)
    return (
        len(name) >= min_length
        and letters > 1
        and (is_abbreviation(name) or name.lower() not in stop_words)
    )


def is_abbreviation(name: str) -> bool:
    """Whether a name is short and all in capitals, so that its case tells it from a word."""
    return name.isupper() and len(name) <= LONGEST_ABBREVIATION
