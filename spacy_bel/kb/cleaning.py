"""Names as published systems prepare them, rule by rule, with an account of every change.

Sources: LongBEL and SynCABEL (arXiv 2605.13451, 2601.19667; rules nos, capitalise, brackets,
capitals), BeLink (doi 10.1145/3805712.3809918; rule lower).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.merging import builder_like

_BRACKETS = str.maketrans({"\xa0": " ", "{": "(", "}": ")", "[": "(", "]": ")"})


@dataclass(frozen=True, slots=True)
class NameChange:
    """One change: ``after`` is empty where a name was dropped."""

    rule: str
    code: str
    before: str
    after: str = ""


@dataclass(slots=True)
class NameReport:
    """What cleaning or disambiguation did.

    counts: changes by rule.
    listen: called with each change, so that a list of millions need not be kept.
    """

    counts: Counter[str] = field(default_factory=Counter)
    listen: Callable[[NameChange], None] | None = None

    def note(self, rule: str, code: str, before: str, after: str = "") -> None:
        """Count a change and tell the listener."""
        self.counts[rule] += 1
        if self.listen is not None:
            self.listen(NameChange(rule, code, before, after))


def _without_nos(name: str) -> str:
    for marker in ("NOS", "SAI"):  # "not otherwise specified", French "sans autre indication"
        if name.endswith(f"({marker})"):
            return name[: -len(marker) - 2].rstrip() or name
        if name.endswith(f" {marker}"):
            return name[: -len(marker)].rstrip().removesuffix(",").rstrip() or name
    return name


def _capitalise(name: str) -> str:
    return name[:1].upper() + name[1:]


_REWRITES: Mapping[str, Callable[[str], str]] = {
    "nos": _without_nos,
    "capitalise": _capitalise,
    "brackets": lambda name: name.translate(_BRACKETS),
    "lower": str.lower,
}
_CAPITALS = "capitals"

RULES: Mapping[str, str] = {
    "nos": "strip a trailing NOS or SAI, also in brackets or after a comma",
    "capitalise": "make the first character upper-case",
    "brackets": "make [ ] and { } round, and no-break spaces plain",
    "lower": "make names lower-case",
    _CAPITALS: "drop a name in capitals beside the same letters in mixed case",
}
# What a published system does, as the rules that it consists of.
RECIPES: Mapping[str, tuple[str, ...]] = {
    "longbel": ("nos", "capitalise", "brackets", _CAPITALS),
    "belink": ("lower",),
}


def clean_names(
    kb: KnowledgeBase, rules: Sequence[str], report: NameReport | None = None
) -> tuple[KnowledgeBaseBuilder, NameReport]:
    """Apply rules, or recipes, to all names; they are applied in the given order.

    A name that becomes another of its concept is dropped ("duplicate").
    Returns a builder of the result and what was done. Raises KnowledgeBaseError for unknown rules.
    """
    report = NameReport() if report is None else report
    chosen = [rule for one in rules for rule in RECIPES.get(one, (one,))]
    if unknown := [rule for rule in chosen if rule not in RULES]:
        raise KnowledgeBaseError(
            f"There is no rule {', '.join(unknown)} for names: use {', '.join([*RULES, *RECIPES])}."
        )
    builder = builder_like(kb)
    for code in kb:
        concept = kb[code]
        names = list(concept.names)
        for rule in chosen:
            if rule == _CAPITALS:
                names = drop_capitals(code, names, report)
            else:
                names = _rewritten(code, names, rule, report)
        builder.add(replace(concept, names=tuple(names)))
    return builder, report


def drop_capitals(code: str, names: Iterable[str], report: NameReport) -> list[str]:
    """Names without those all in capitals that another has in mixed case."""
    names = list(names)
    mixed = {name.casefold() for name in names if not name.isupper()}
    kept = []
    for name in names:
        if name.isupper() and name.casefold() in mixed:
            report.note(_CAPITALS, code, name)
        else:
            kept.append(name)
    return kept


def _rewritten(code: str, names: list[str], rule: str, report: NameReport) -> list[str]:
    rewrite = _REWRITES[rule]
    kept: dict[str, None] = {}
    for before in names:
        after = rewrite(before)
        if after != before:
            report.note(rule, code, before, after)
        if after in kept:
            report.note("duplicate", code, before)
        kept[after] = None
    return list(kept)
