"""What a cross-encoder reads of a candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spacy_bel.errors import SettingsError
from spacy_bel.kb import Concept

Names = Literal["preferred", "matched", "both"]


@dataclass(frozen=True, slots=True)
class CandidateText:
    """Which parts of a concept are read, in this order: names, synonyms, group, definition.

    name: "preferred" is the concept's first name, "matched" the one that the retriever found,
        "both" the matched one followed by the preferred one if they differ.
    synonyms: how many further names, those of the concept in its order.
    group: whether its semantic groups are named.
    definition: whether its definition follows.
    Raises SettingsError for anything else.
    """

    name: Names = "preferred"
    synonyms: int = 0
    group: bool = False
    definition: bool = False

    def __post_init__(self) -> None:
        if self.name not in ("preferred", "matched", "both"):
            raise SettingsError(f"name is {self.name!r}: use 'preferred', 'matched' or 'both'.")
        if self.synonyms < 0:
            raise SettingsError(f"synonyms is {self.synonyms}: give 0 or more.")


def candidate_text(concept: Concept, matched: str, settings: CandidateText) -> str:
    """The text of a candidate; a part that the concept does not have is left out.

    matched: the name that the retriever found; it is read as the preferred name if empty.
    """
    preferred = concept.names[0]
    matched = matched or preferred
    names = {
        "preferred": [preferred],
        "matched": [matched],
        "both": list(dict.fromkeys((matched, preferred))),
    }[settings.name]
    others = [name for name in concept.names if name not in names]
    text = "; ".join([*names, *others[: settings.synonyms]])
    if settings.group:
        text = f"{text} ({', '.join(concept.groups)})"
    if settings.definition and concept.definition:
        text = f"{text}: {concept.definition}"
    return text
