"""What every way of choosing a target name offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Choice(NamedTuple):
    """The chosen name, by its place among those offered, and how close it is to the mention.

    closeness: higher is closer; comparable between choices of one chooser for the same mention.
    """

    place: int
    closeness: float


class TargetChooser(Protocol):
    """Chooses which name of a concept a generator is to write for a mention.

    fingerprint: what choices depend on beside mentions and names.
    """

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def choose(self, mentions: Sequence[str], names: Sequence[Sequence[str]]) -> list[Choice]:
        """For each mention one of the names beside it, the first of equals.

        names: of each mention at least one, in the order of the knowledge base, preferred names
        first.
        """
        ...
