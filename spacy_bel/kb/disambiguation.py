"""Terminologies in which a name says which concept is meant, after two published methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.cleaning import NameReport, clean_names, drop_capitals
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.merging import MergeReport, builder_like, joined

_COMPOSITE = re.compile(r"\s*[+;]\s*")
_SHORT = 5  # BeLink: names with fewer characters are always explained


def disambiguate(
    kb: KnowledgeBase, method: str, report: NameReport | None = None
) -> tuple[KnowledgeBaseBuilder, NameReport]:
    """Resolve names that several concepts share.

    ``longbel`` drops names until each (group, name) stands for one concept: names of one concept
    stay; of the others, concepts that have such a name lose the rest, and names that are unique by
    then stay; concepts still without a name share out theirs, the lowest code first. Preferred
    names that nothing else is called come back, and names in capitals go if the concept has them in
    mixed case. A concept in several groups keeps a name that it has in any of them.

    ``belink`` makes names lower-case and adds the preferred name in brackets to other names shorter
    than five characters and to those that several concepts share, or another name where that does
    not tell them apart. A concept that still has a name of another is merged into that one, which
    has the lower code: its code becomes an alternative, its names are dropped. Composite codes
    (A+B, A;B) become their first part before all that.

    Concepts that lose all names become retired codes ("nameless").
    Returns a builder of the result and what was done. Raises KnowledgeBaseError for other methods.
    Sources: LongBEL (arXiv 2605.13451), BeLink (doi 10.1145/3805712.3809918).
    """
    if method not in METHODS:
        raise KnowledgeBaseError(
            f"There is no method {method!r} to disambiguate names: use {', '.join(METHODS)}."
        )
    report = NameReport() if report is None else report
    return METHODS[method](kb, report), report


def _longbel(kb: KnowledgeBase, report: NameReport) -> KnowledgeBaseBuilder:
    kept, rules = _unambiguous_rows(kb)
    builder = builder_like(kb)
    row = 0
    for concept_id in range(len(kb)):
        concept = kb[kb.code(concept_id)]
        rows = range(row, row + len(concept.names))
        row += len(concept.names)
        names = []
        for place, name in zip(rows, concept.names, strict=True):
            if kept[place]:
                names.append(name)
            else:
                report.note(rules[place], concept.code, name)
        names = drop_capitals(concept.code, names, report)
        if names:
            builder.add(replace(concept, names=tuple(names)))
        else:
            report.note("nameless", concept.code, concept.names[0])
            builder.retire(concept.code)
    return builder


class _Rules(dict[int, str]):
    """Why a row was dropped; most are of one kind."""

    def __missing__(self, row: int) -> str:
        return "ambiguous"


def _unambiguous_rows(kb: KnowledgeBase) -> tuple[np.ndarray, Mapping[int, str]]:
    """Which rows of ``kb.alias_names`` stay."""
    rows, keys = _rows_by_group(kb)
    concepts = kb.alias_concepts[rows]
    stays = _single(keys)
    named = np.zeros(len(kb), bool)
    named[concepts[stays]] = True

    left = ~stays & ~named[concepts]
    left[left] = _single(keys[left])
    stays |= left
    named[concepts[left]] = True

    nameless = np.flatnonzero(~stays & ~named[concepts])
    order = _ranks(kb, concepts[nameless])
    nameless = nameless[np.lexsort((order, keys[nameless]))]
    first = np.ones(len(nameless), bool)
    first[1:] = keys[nameless][1:] != keys[nameless][:-1]
    stays[nameless[first]] = True

    kept = np.zeros(len(kb.alias_names), bool)
    kept[rows[stays]] = True
    rules = _Rules((int(row), "shared") for row in rows[nameless[~first]])
    _restore_titles(kb, kept)
    return kept, rules


def _rows_by_group(kb: KnowledgeBase) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``kb.alias_names``, once for each group, and one number per (group, name)."""
    rows, keys = [], []
    for bit, group in enumerate(kb.groups):
        mask = kb.group_mask([group])
        inside = (kb.concept_group_masks & mask).any(axis=1)
        of_group = np.flatnonzero(inside[kb.alias_concepts])
        rows.append(of_group)
        keys.append(kb.alias_names[of_group].astype(np.int64) + bit * kb.n_names)
    return np.concatenate(rows), np.concatenate(keys)


def _single(keys: np.ndarray) -> np.ndarray:
    """Which keys occur once."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return counts[inverse] == 1


def _ranks(kb: KnowledgeBase, concepts: np.ndarray) -> np.ndarray:
    """The place of each concept in the order of codes."""
    distinct, inverse = np.unique(concepts, return_inverse=True)
    codes = np.array([kb.code(concept) for concept in distinct], object)
    ranks = np.empty(len(distinct), np.int64)
    ranks[np.argsort(codes, kind="stable")] = np.arange(len(distinct))
    return ranks[inverse]


def _restore_titles(kb: KnowledgeBase, kept: np.ndarray) -> None:
    """Keep preferred names that no kept name equals, one concept each, the lowest code."""
    used = np.zeros(kb.n_names, bool)
    used[kb.alias_names[kept]] = True
    rows = np.arange(len(kept))
    titles = rows[kb.is_preferred(rows) & ~used[kb.alias_names]]
    for row in sorted(titles.tolist(), key=lambda row: kb.code(int(kb.alias_concepts[row]))):
        name = kb.alias_names[row]
        if not used[name]:
            used[name] = kept[row] = True


def _belink(kb: KnowledgeBase, report: NameReport) -> KnowledgeBaseBuilder:
    kb = clean_names(_without_composites(kb, report), ["lower"], report)[0].build()
    holders = np.bincount(kb.alias_names, minlength=kb.n_names)
    known = _Known(kb)
    taken: dict[str, str] = {}  # explained names and homonyms, and the code that got each
    names_of: dict[str, tuple[str, ...]] = {}
    merged: dict[str, list[str]] = {}
    for code in sorted(kb):
        names = kb.names_of_concept(kb.concept_id(code))
        shared = [bool(holders[name] > 1) for name in names]
        texts = [kb.name(int(name)) for name in names]
        result: dict[str, str] = {}  # name by what it was
        for place, (before, homonym) in enumerate(zip(texts, shared, strict=True)):
            after = before
            if homonym or (place and len(before) < _SHORT):
                explained = _explained(before, texts)
                after = next((e for e in explained if e not in taken and e not in known), before)
            if homonym and after == before and before in taken:
                report.note("merged", code, before, taken[before])
                merged.setdefault(taken[before], []).append(code)
                break
            result[before] = after
        else:
            names_of[code] = tuple(result.values())
            for (before, after), homonym in zip(result.items(), shared, strict=True):
                if before != after:
                    report.note("homonym" if homonym else "short", code, before, after)
                if before != after or homonym:
                    taken[after] = code
    return _merged(kb, names_of, merged)


def _without_composites(kb: KnowledgeBase, report: NameReport) -> KnowledgeBase:
    """Concepts of several codes in one (A+B, A;B) under the first code, the others beside it."""
    if not any(_COMPOSITE.search(code) for code in kb):
        return kb
    concepts: dict[str, list[Concept]] = {}
    for code in sorted(kb):  # a code by itself comes before those that begin with it
        first, *others = list(filter(None, _COMPOSITE.split(code))) or [code]
        concept = kb[code]
        if others:
            report.note("composite", code, concept.names[0], first)
            alternatives = (*others, code, *concept.alternative_codes)
            concept = replace(concept, code=first, alternative_codes=alternatives)
        concepts.setdefault(first, []).append(concept)
    builder = builder_like(kb)
    for same in concepts.values():
        builder.add(joined(same[0], same[1:], False, MergeReport()))
    return builder.build()


def _explained(name: str, names: Iterable[str]) -> Iterator[str]:
    """The name with another of its concept in brackets, the preferred one first."""
    return (f"{name} ({other})" for other in names if other != name)


class _Known:
    """The names of a knowledge base as something that ``in`` can ask."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self._kb = kb

    def __contains__(self, name: str) -> bool:
        return self._kb.folded_id(name) >= 0


def _merged(
    kb: KnowledgeBase, names_of: Mapping[str, tuple[str, ...]], merged: Mapping[str, list[str]]
) -> KnowledgeBaseBuilder:
    builder = builder_like(kb)
    for code, names in names_of.items():
        concept = kb[code]
        others = [kb[other] for other in merged.get(code, ())]
        alternatives = (
            *concept.alternative_codes,
            *(text for other in others for text in (other.code, *other.alternative_codes)),
        )
        references = (r for other in (concept, *others) for r in other.cross_references)
        builder.add(
            replace(
                concept,
                names=names,
                cross_references=tuple(references),
                alternative_codes=alternatives,
            )
        )
    return builder


METHODS: Mapping[str, Callable[[KnowledgeBase, NameReport], KnowledgeBaseBuilder]] = {
    "longbel": _longbel,
    "belink": _belink,
}
