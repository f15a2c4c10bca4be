"""Target names of the mentions of a document."""

from __future__ import annotations

from typing import NamedTuple

from ....corpora.flags import main_code
from ....corpora.gold import Codes
from ....errors import UnknownGroupError
from ...calibrating import GoldDocument
from ...document import Mention
from ..report import Reason
from .base import Choice, TargetChooser
from .pool import NamePool

_CHOICES_KEPT = 100_000

#: A mention, and the names of one concept among which to choose for it.
_Offer = tuple[str, tuple[str, ...]]


class _Part(NamedTuple):
    """One concept of a mention: alternatives, each as a main code and the names it may have."""

    offers: list[tuple[str, tuple[str, ...]]]


class GoldNames:
    """Chooses the names that a generator is to write for gold codes.

    pool: names that can be generated. chooser: see `TargetChooser`. consistent: the name with which
    a document first says a concept is used for it from there on, where the group allows it.
    composites: whether mentions of several concepts are wanted.
    """

    def __init__(
        self, pool: NamePool, chooser: TargetChooser, *, consistent: bool, composites: bool
    ) -> None:
        self._pool = pool
        self._chooser = chooser
        self._consistent = consistent
        self._composites = composites
        self._choices: dict[_Offer, Choice] = {}

    def of(self, document: GoldDocument) -> list[tuple[str, ...] | Reason]:
        """The names of every mention, several for a mention of several concepts; or why none.

        Of alternatives that one counts which the document has named already, then that whose name
        is closest to the mention.
        """
        mentions = document.document.mentions
        parts = [self._parts(m, document.gold.get(i)) for i, m in enumerate(mentions)]
        self._choose(mentions, parts)
        said: dict[str, str] = {}
        names: list[tuple[str, ...] | Reason] = []
        for mention, found in zip(mentions, parts, strict=True):
            if isinstance(found, Reason):
                names.append(found)
            else:
                chosen = [self._named(mention.text, part, said) for part in found]
                names.append(tuple(dict(chosen).values()))
        return names

    def _parts(self, mention: Mention, codes: Codes | None) -> list[_Part] | Reason:
        if not codes:
            return Reason.no_gold
        if len(codes) > 1 and not self._composites:
            return Reason.composite
        try:
            self._pool.kb.group_mask(mention.groups)
        except UnknownGroupError:
            return Reason.unknown_group
        if not mention.groups:
            return Reason.unknown_group
        parts: list[_Part] = []
        for alternatives in codes:
            part = self._part(mention, alternatives)
            if isinstance(part, Reason):
                return part if len(codes) == 1 else Reason.composite_part
            parts.append(part)
        return parts

    def _part(self, mention: Mention, alternatives: list[str]) -> _Part | Reason:
        kb = self._pool.kb
        known = dict.fromkeys(filter(None, (main_code(kb, code) for code in alternatives)))
        if not known:
            return Reason.unknown_code
        named = [
            (code, names) for code in known if (names := self._pool.names(code, mention.groups))
        ]
        if not named:
            return Reason.no_name
        offers = [(code, kept) for code, names in named if (kept := self._pool.writable(names))]
        return _Part(offers) if offers else Reason.altered_name

    def _choose(self, mentions: tuple[Mention, ...], parts: list[list[_Part] | Reason]) -> None:
        """Have names chosen for all mentions at once, which is faster than one by one."""
        if len(self._choices) > _CHOICES_KEPT:
            self._choices.clear()
        new: dict[_Offer, None] = {}
        for mention, found in zip(mentions, parts, strict=True):
            for part in [] if isinstance(found, Reason) else found:
                offers = ((mention.text, names) for _, names in part.offers)
                new.update((offer, None) for offer in offers if offer not in self._choices)
        texts, offered = [text for text, _ in new], [names for _, names in new]
        self._choices.update(zip(new, self._chooser.choose(texts, offered), strict=True))

    def _named(self, text: str, part: _Part, said: dict[str, str]) -> tuple[str, str]:
        """The concept that stands for a part, and its name. said: names that are in use."""
        if self._consistent:
            for code, names in part.offers:
                if said.get(code) in names:
                    return code, said[code]
        choices = [self._choices[text, names] for _, names in part.offers]
        best = max(range(len(choices)), key=lambda i: (choices[i].closeness, -i))
        code, names = part.offers[best]
        name = names[choices[best].place]
        said.setdefault(code, name)
        return code, name
