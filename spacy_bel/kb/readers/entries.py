"""Concepts whose rows are scattered over a file."""

from __future__ import annotations

from dataclasses import dataclass, field

from spacy_bel.kb.concept import Concept
from spacy_bel.kb.readers.damage import Intake


@dataclass(slots=True)
class Entry:
    """What has been read of a concept; ``names`` holds (rank, name), the lowest rank first."""

    line: int
    names: list[tuple[int, str]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    definition: str = ""
    cross_references: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    alternatives: list[str] = field(default_factory=list)


class Entries(dict[str, Entry]):
    """Entries by code, in the order of their first rows."""

    def at(self, code: str, line: int) -> Entry:
        """The entry of a code, which begins at this line if it is new."""
        entry = self.get(code)
        if entry is None:
            entry = self[code] = Entry(line)
        return entry

    def add_to(self, intake: Intake, *, group: str | None, fallback: str) -> None:
        """Add all to a builder, in one group if given; entries without any are in ``fallback``."""
        for code, entry in self.items():
            # Sorting is stable: names of equal rank stay in the order of the file.
            names = sorted(entry.names, key=lambda name: name[0])
            intake.add(
                Concept(
                    code=code,
                    names=tuple(name for _, name in names),
                    groups=(group,) if group else tuple(entry.groups) or (fallback,),
                    definition=entry.definition,
                    cross_references=tuple(entry.cross_references),
                    parents=tuple(dict.fromkeys(entry.parents)),
                    alternative_codes=tuple(entry.alternatives),
                ),
                entry.line,
            )
