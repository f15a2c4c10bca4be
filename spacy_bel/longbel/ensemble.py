"""Several input formats or models that link the same documents: their rankings become one.

Every member reads a document with the memory of its own links; only finished rankings are fused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import tee
from math import fsum
from typing import TYPE_CHECKING, Any, Protocol

from ..candidates import Candidate
from ..errors import SettingsError
from ..fusion import RANK_CONSTANT, reciprocal_rank
from .document import Document

if TYPE_CHECKING:
    from .engine import Report
    from .rows import Links

_SETTINGS = ("prompt", "model")


class Member(Protocol):
    """What an ensemble asks of its members; `Engine` is one."""

    @property
    def report(self) -> Report: ...  # noqa: D102

    @property
    def budget(self) -> int: ...  # noqa: D102

    def link(self, documents: Iterable[Document]) -> Iterator[Links | Exception]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """A member as a config describes it.

    prompt: name of a prompt format, model: directory or hub id; None for that of the component.
    """

    prompt: str | None = None
    model: str | None = None

    @classmethod
    def from_config(cls, members: Sequence[Mapping[str, Any]]) -> list[MemberSettings]:
        """Read a list such as ``[{"prompt": "short"}, {"prompt": "long", "model": "DIR"}]``.

        Raises SettingsError for an empty list, unknown settings, and members that are the same.
        """
        if not members:
            raise SettingsError("An ensemble needs members: give at least one, or no ensemble.")
        found: list[MemberSettings] = []
        for settings in members:
            if unknown := sorted(set(settings) - set(_SETTINGS)):
                raise SettingsError(
                    f"A member of the ensemble has the setting {unknown[0]!r}: use "
                    f"{' and '.join(_SETTINGS)}."
                )
            member = cls(**settings)
            if member in found:
                raise SettingsError(
                    f"The ensemble has {dict(settings)} twice, which changes nothing but the time "
                    "it takes: leave one out."
                )
            found.append(member)
        return found


class EnsembleEngine:
    """Links documents with every member and fuses what they find; a drop-in for `Engine`.

    members: at least one; their order matters for ties only. They may share a model and names.
    rank_constant: see `fuse_rankings`. k: candidates kept per mention; all if None.

    Method: reciprocal rank fusion of runs, as LongBEL's ensembles (arXiv 2605.13451).
    Raises SettingsError without members.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        rank_constant: int = RANK_CONSTANT,
        k: int | None = None,
    ) -> None:
        if not members:
            raise SettingsError("An ensemble needs members: give at least one engine.")
        self.members = list(members)
        self.rank_constant = rank_constant
        self.k = k

    @property
    def report(self) -> Report:
        """Counts of all members so far, added up: a mention counts once for each member."""
        first, *others = (member.report for member in self.members)
        sums = {
            name: getattr(first, name) + sum(getattr(other, name) for other in others)
            for name in (field.name for field in fields(first))
        }
        return type(first)(**sums)

    @property
    def budget(self) -> int:
        """Tokens of a prompt that every member can read."""
        return min(member.budget for member in self.members)

    def link(self, documents: Iterable[Document]) -> Iterator[Links | Exception]:
        """Ranked candidates of every mention, document by document, in the order they came.

        Reads `documents` as far as the member that reads furthest ahead. A document that a member
        cannot link yields that member's exception, the first one's if several fail; an error of a
        model itself is raised.
        """
        # Results are taken from all members in step, so that no more documents wait between them
        # than the members read ahead.
        streams = tee(documents, len(self.members))
        runs = [member.link(own) for member, own in zip(self.members, streams, strict=True)]
        for answers in zip(*runs, strict=True):
            links: list[Links] = []
            for answer in answers:
                if isinstance(answer, Exception):
                    yield answer
                    break
                links.append(answer)
            else:
                yield [
                    fuse_rankings(rankings, self.rank_constant)[: self.k]
                    for rankings in zip(*links, strict=True)
                ]


def fuse_rankings(
    rankings: Sequence[Sequence[Candidate]], rank_constant: int = RANK_CONSTANT
) -> list[Candidate]:
    """One ranking of all candidates by reciprocal rank fusion.

    rankings: of each member, best first, one entry per code. rank_constant: the higher, the less
    do first ranks stand out.

    The score is the mean over members of `reciprocal_rank`, 0 where a member lacks the code: 1 if
    it is first everywhere, and above 1 - 1/members only if no member lacks it. It says how far
    members agree, nothing about how likely any of them found the code. Ties are broken by the
    scores in the first ranking, then the second and so on, then by code. The name is that of the
    member that ranks the code best, the first of several.
    """
    shares: dict[str, list[float]] = {}
    scores: dict[str, list[float]] = {}
    names: dict[str, tuple[int, str]] = {}
    for member, ranking in enumerate(rankings):
        for rank, (code, name, score) in enumerate(ranking, 1):
            shares.setdefault(code, []).append(reciprocal_rank(rank, rank_constant))
            raw = scores.setdefault(code, [float("-inf")] * len(rankings))
            raw[member] = score
            if code not in names or rank < names[code][0]:
                names[code] = (rank, name)
    # Exact sums: equal ranks make equal scores, whichever members gave them.
    fused = {code: fsum(ranks) / len(rankings) for code, ranks in shares.items()}
    order = sorted(fused, key=lambda code: (-fused[code], [-raw for raw in scores[code]], code))
    return [Candidate(code, names[code][1], fused[code]) for code in order]
