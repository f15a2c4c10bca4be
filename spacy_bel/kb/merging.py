"""Adding names and concepts to a knowledge base: translations, synonyms, another terminology."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import clean


@dataclass(slots=True)
class MergeReport:
    """What a merge did.

    names: names added to concepts that were there.
    present: names that those had already.
    concepts: concepts that got names; new: concepts added.
    unknown: codes that the knowledge base does not have, unless their concepts were added.
    """

    names: int = 0
    present: int = 0
    concepts: int = 0
    new: int = 0
    unknown: list[str] = field(default_factory=list)


def merge(
    kb: KnowledgeBase,
    extra: Iterable[Concept],
    *,
    prefer: bool = False,
    new_concepts: bool = False,
    name: str | None = None,
) -> tuple[KnowledgeBaseBuilder, MergeReport]:
    """Add the names of ``extra`` to the concepts that their codes stand for.

    A concept whose own code is unknown is the one that its alternative codes stand for, if that is
    one: MEDIC has "OMIM:608446" where MeSH has "D009203", and says that they are the same.
    Cross-references, parents and alternative codes are added, too, and a definition where there is
    none. The groups stay those of ``kb``.

    prefer: put added names first, so that the first becomes the preferred one.
    new_concepts: add concepts whose codes ``kb`` does not have; they need a group.
    Returns a builder of the result and what was done. Raises KnowledgeBaseError for a new concept
    that cannot be added.
    """
    report = MergeReport()
    builder = builder_like(kb, name=name)
    additions: dict[str, list[Concept]] = {}
    strangers: dict[str, list[Concept]] = {}
    for concept in extra:
        code = _counterpart(kb, concept)
        if code is None:
            strangers.setdefault(clean(concept.code), []).append(concept)
        else:
            additions.setdefault(code, []).append(concept)
    for code in kb:
        builder.add(joined(kb[code], additions.get(code, ()), prefer, report))
    for code, concepts in strangers.items():
        if not new_concepts:
            report.unknown.append(code)
            continue
        first, *others = concepts
        builder.add(joined(first, others, False, MergeReport()))
        report.new += 1
    return builder, report


def _counterpart(kb: KnowledgeBase, concept: Concept) -> str | None:
    """The code of the concept that means the same, None if there is none, or no single one."""
    code = kb.resolve(concept.code)
    if code is not None:
        return code
    others = {kb.resolve(other) for other in concept.alternative_codes} - {None}
    return others.pop() if len(others) == 1 else None


def builder_like(kb: KnowledgeBase, *, name: str | None = None) -> KnowledgeBaseBuilder:
    """A builder with the labels and the retired codes of a knowledge base, and no concepts."""
    builder = KnowledgeBaseBuilder(
        name or kb.meta.name,
        source=kb.meta.source,
        release=kb.meta.release,
        licence=kb.meta.licence,
    )
    for other, code in kb.other_codes():
        builder.retire(other, code)
    if kb.training_mentions is not None:
        for concept in np.flatnonzero(kb.training_mentions):
            builder.training_mentions[kb.code(concept)] = int(kb.training_mentions[concept])
    return builder


def joined(
    concept: Concept, extra: Iterable[Concept], prefer: bool, report: MergeReport
) -> Concept:
    """A concept with what others that mean the same add to it."""
    before = set(concept.names)
    added: dict[str, None] = {}
    for other in extra:
        for name in filter(None, map(clean, other.names)):
            if name in before:
                report.present += 1
            else:
                added[name] = None
        alternatives = (*concept.alternative_codes, other.code, *other.alternative_codes)
        concept = replace(
            concept,
            definition=concept.definition or other.definition,
            cross_references=_union(concept.cross_references, other.cross_references),
            parents=_union(concept.parents, other.parents),
            alternative_codes=_union(c for c in alternatives if c != concept.code),
        )
    if not added:
        return concept
    report.names += len(added)
    report.concepts += 1
    names = (*added, *concept.names) if prefer else (*concept.names, *added)
    return replace(concept, names=names)


def _union(*texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for part in texts for text in part))
