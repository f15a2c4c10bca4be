"""When a candidate is right: gold codes as AND of ORs, under policies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spacy_bel.corpora.document import Annotation, CorpusDocument, parse_code_string
from spacy_bel.corpora.flags import gold_flags, main_code
from spacy_bel.evaluation.policies import CHOICES, Policies
from spacy_bel.evaluation.recall import Rank

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase

NIL = "NIL"
"""Code of a mention that was looked at and not linked."""


@dataclass(frozen=True, slots=True)
class GoldMention:
    """What a mention of the gold asks for.

    parts: AND of ORs, main codes of the knowledge base where it knows them; empty for "no concept".
    groups: semantic groups of its first concept that the knowledge base has; may be empty.
    counted: whether the policies let it count.
    """

    label: str
    parts: tuple[frozenset[str], ...]
    groups: tuple[str, ...]
    counted: bool


class Judge:
    """Compares candidates with gold codes.

    kb: knowledge base that says which codes stand for the same concept; without it codes count as
        they are written, and nothing is obsolete or outside.
    counts: how many gold mentions each policy concerned, whatever the policy made of them.
    """

    def __init__(self, policies: Policies | None = None, kb: KnowledgeBase | None = None) -> None:
        self.policies = policies or Policies()
        self.kb = kb
        self.counts: Counter[str] = Counter(dict.fromkeys(CHOICES, 0))

    def mentions(self, document: CorpusDocument) -> list[GoldMention]:
        """What each annotation of a document asks for, in order; counts the policies' cases."""
        flags = gold_flags(document, self.kb)
        shadowed = _shadowed(document.annotations)
        result = []
        for index, (annotation, found) in enumerate(zip(document.annotations, flags, strict=True)):
            special = found & CHOICES.keys() - {"overlapping"}
            if index in shadowed:
                special.add("overlapping")
            self.counts.update(special)
            dropped = any(getattr(self.policies, name) == "drop" for name in special)
            parts = tuple(frozenset(map(self._gold_code, part)) for part in annotation.codes)
            result.append(
                GoldMention(annotation.type, parts, self._groups(annotation), not dropped)
            )
        return result

    def rank(self, mention: GoldMention, ranked: Sequence[str], decision: str = "") -> Rank:
        """Position of the first right candidate, from 1.

        ranked: codes, best first; "A+B" for a candidate of two concepts.
        decision: "NIL" if the system left the mention unlinked.
        """
        if self.policies.nil == "count" and decision == NIL:
            ranked = [NIL, *ranked]
        right = (rank for rank, code in enumerate(ranked, 1) if self._is_right(code, mention))
        return next(right, None)

    def _is_right(self, code: str, mention: GoldMention) -> bool:
        if code == NIL or not mention.parts:
            return code == NIL and not mention.parts
        candidate = {self._main_code(c) for part in parse_code_string(code) for c in part}
        if self.policies.composite == "any" and len(mention.parts) > 1:
            return any(candidate & part for part in mention.parts)
        # Nothing may be missing and nothing too much.
        return fulfils(candidate, mention.parts) and not any(
            fulfils(candidate - {code}, mention.parts) for code in candidate
        )

    def _gold_code(self, code: str) -> str:
        return self._main_code(code) if self.policies.obsolete == "resolve" else code

    def _main_code(self, code: str) -> str:
        return (main_code(self.kb, code) if self.kb is not None else None) or code

    def _groups(self, annotation: Annotation) -> tuple[str, ...]:
        if self.kb is None:
            return ()
        codes = (main_code(self.kb, code) for part in annotation.codes for code in part)
        known = next(filter(None, codes), None)
        return self.kb[known].groups if known else ()


def fulfils(candidate: set[str], parts: Iterable[frozenset[str]]) -> bool:
    """Whether a set of codes has one of every part."""
    return all(candidate & part for part in parts)


def _shadowed(annotations: Sequence[Annotation]) -> set[int]:
    """Indices of annotations that share characters with a longer one that is kept."""
    order = sorted(
        range(len(annotations)),
        key=lambda i: (annotations[i].start - annotations[i].end, annotations[i].start, i),
    )
    taken: set[int] = set()
    shadowed = set()
    for index in order:
        characters = range(annotations[index].start, annotations[index].end)
        # A longer one covers an end of it, as none that was taken is shorter.
        if characters and (characters[0] in taken or characters[-1] in taken):
            shadowed.add(index)
        else:
            taken.update(characters)
    return shadowed
