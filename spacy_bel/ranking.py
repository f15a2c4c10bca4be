"""From scored names to ranked concepts, with ties broken the same way everywhere."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import NamedTuple, Protocol

from .candidates import Candidate
from .kb.text import fold

#: Scores closer than this count as equal, so that rounding cannot change an order.
TIE = 1e-9


class Concepts(Protocol):
    """What is asked about concepts; a `KnowledgeBase` answers it."""

    def code(self, concept_id: int) -> str: ...  # noqa: D102

    def preferred_name(self, code: str) -> str: ...  # noqa: D102


class ScoredName(NamedTuple):
    """A name of a concept with the score that a method gave it."""

    concept_id: int
    name: str
    score: float


def rank(
    kb: Concepts,
    mention: str,
    scored: Iterable[ScoredName],
    linked: Container[str] = frozenset(),
) -> list[Candidate]:
    """Candidates best first, one per code with its best name.

    Ties are broken by exact surface match, then preferred name, then code, so that a result does
    not depend on the order in which names were found. linked: codes that win ties before all that;
    those of the document's earlier links, which tell concepts of one name apart.
    """
    surface = fold(mention)

    def key(row: ScoredName) -> tuple[float, bool, bool, bool, str, str]:
        code = kb.code(row.concept_id)
        preferred = kb.preferred_name(code)
        return (
            -round(row.score / TIE) * TIE,
            code not in linked,
            fold(row.name) != surface,
            row.name != preferred,
            code,
            row.name,
        )

    best: dict[int, ScoredName] = {}
    ordered = sorted(scored, key=key)
    for row in ordered:
        best.setdefault(row.concept_id, row)
    candidates = [Candidate(kb.code(r.concept_id), r.name, r.score) for r in best.values()]
    # Within a tie a later entry may be higher by less than TIE: level it.
    level = float("inf")
    for i, candidate in enumerate(candidates):
        level = min(level, candidate.score)
        candidates[i] = candidate._replace(score=level)
    return candidates
