"""What a corpus holds, and how it fits knowledge bases; one document at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.flags import FLAGS, gold_flags, main_code
from spacy_bel.corpora.standoff import is_misplaced

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase


class CorpusInfo:
    """Counts of a corpus."""

    def __init__(self) -> None:
        self.documents = self.characters = self.passages = self.mentions = self.duplicates = 0
        self.codes: set[str] = set()
        self.types: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()

    def add(self, document: CorpusDocument) -> None:
        """Count one more document."""
        self.documents += 1
        self.characters += len(document.text)
        self.passages += len(document.passages)
        self.mentions += len(document.annotations)
        self.duplicates += "duplicate_id" in document.meta
        self.types.update(annotation.type for annotation in document.annotations)
        self.codes.update(code for a in document.annotations for part in a.codes for code in part)
        self.flags.update(flag for flags in gold_flags(document) for flag in flags)

    def as_dict(self) -> dict[str, Any]:
        """All figures, as plain values."""
        return {
            "documents": self.documents,
            "mentions": self.mentions,
            "codes": len(self.codes),
            "passages": self.passages,
            "characters": self.characters,
            "duplicate_ids": self.duplicates,
            "types": dict(self.types.most_common()),
            "flags": {flag: self.flags[flag] for flag in FLAGS if self.flags[flag]},
        }


class CorpusCheck:
    """How well the gold codes of a corpus fit one or more knowledge bases.

    Coverage: mentions with a code whose every part some knowledge base knows. Recurrence: mentions
    for each concept of a document. Ambiguity: how many concepts have the mention, as it is written,
    as a name. A code counts under the vocabulary-less form too, as in `main_code`.
    """

    def __init__(self, kbs: Sequence[KnowledgeBase]) -> None:
        self.kbs = kbs
        self.mentions = self.coded = self.covered = self.recurring = self.concepts = 0
        self.unknown: Counter[str] = Counter()
        self.misplaced: list[dict[str, Any]] = []
        self.codes: dict[str, bool] = {}
        self.names: Counter[str] = Counter()
        self._found: dict[str, int] = {}
        self._codes_of_text: dict[str, set[str]] = {}

    def add(self, document: CorpusDocument) -> None:
        """Count one more document."""
        concepts: Counter[str] = Counter()
        for annotation in document.annotations:
            self.mentions += 1
            if is_misplaced(document, annotation):
                self.misplaced.append(_misplaced(document, annotation))
            if not annotation.codes:
                continue
            self.coded += 1
            known = [[self._known(code) for code in part] for part in annotation.codes]
            self.covered += all(map(any, known))
            for part, found in zip(annotation.codes, known, strict=True):
                self.unknown.update(c for c, ok in zip(part, found, strict=True) if not ok)
                concepts[part[0]] += 1
            self._add_name(annotation)
        self.concepts += len(concepts)
        self.recurring += sum(count - 1 for count in concepts.values())

    def as_dict(self) -> dict[str, Any]:
        """All figures, as plain values."""
        several = sum(len(codes) > 1 for codes in self._codes_of_text.values())
        return {
            "mentions": self.mentions,
            "mentions_with_code": self.coded,
            "covered_mentions": self.covered,
            "coverage": _ratio(self.covered, self.coded),
            "codes": len(self.codes),
            "known_codes": sum(self.codes.values()),
            "unknown_codes": dict(self.unknown.most_common()),
            "offset_errors": self.misplaced,
            "recurrence": _ratio(self.concepts + self.recurring, self.concepts),
            "names": {
                "no concept": self.names["none"],
                "one concept": self.names["one"],
                "several concepts": self.names["several"],
            },
            "texts": len(self._codes_of_text),
            "texts_with_several_codes": several,
        }

    def _known(self, code: str) -> bool:
        if code not in self.codes:
            self.codes[code] = any(main_code(kb, code) is not None for kb in self.kbs)
        return self.codes[code]

    def _add_name(self, annotation: Annotation) -> None:
        text = " ".join(annotation.text.casefold().split())
        if text not in self._found:
            found = {code for kb in self.kbs for code in kb.find(annotation.text)}
            self._found[text] = len(found)
        count = self._found[text]
        self.names["none" if not count else "one" if count == 1 else "several"] += 1
        codes = self._codes_of_text.setdefault(text, set())
        codes.add("+".join(sorted("|".join(sorted(part)) for part in annotation.codes)))


def _misplaced(document: CorpusDocument, annotation: Annotation) -> dict[str, Any]:
    pieces = annotation.fragments or [(annotation.start, annotation.end)]
    return {
        "document": document.id,
        "start": annotation.start,
        "end": annotation.end,
        "text": annotation.text,
        "found": " ".join(document.text[a:b] for a, b in pieces),
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
