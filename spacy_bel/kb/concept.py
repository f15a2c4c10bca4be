"""One entry of a terminology."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept of a terminology.

    code: its identifier.
    names: distinct names (aliases), the preferred one first.
    groups: semantic groups it belongs to, at least one.
    definition: free text, may be empty.
    cross_references: the same concept elsewhere, as ``"SYSTEM:identifier"``.
    parents: codes of the directly broader concepts, whether or not the knowledge base holds them.
    alternative_codes: other identifiers that stand for this concept.
    """

    code: str
    names: tuple[str, ...]
    groups: tuple[str, ...]
    definition: str = ""
    cross_references: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    alternative_codes: tuple[str, ...] = ()
