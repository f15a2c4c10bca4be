"""Names that differ from the mention by the fewest edits; the distance is spaCy's own."""

from __future__ import annotations

from collections.abc import Sequence

from ....kb.text import fold
from .base import Choice


class LevenshteinTargets:
    """Edit distance in characters; case and runs of white space do not matter."""

    fingerprint = "levenshtein"

    def choose(self, mentions: Sequence[str], names: Sequence[Sequence[str]]) -> list[Choice]:
        """As in `TargetChooser`; closeness is the distance, negative."""
        from spacy.matcher import levenshtein  # here alone, since the engines know no spaCy

        choices = []
        for mention, offered in zip(mentions, names, strict=True):
            folded = fold(mention)
            distances = [levenshtein(folded, fold(name)) for name in offered]
            least = min(distances)
            choices.append(Choice(distances.index(least), -float(least)))
        return choices
