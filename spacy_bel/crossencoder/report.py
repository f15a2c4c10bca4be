"""What packing had to do to make everything fit."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class PackingReport:
    """Counts over documents; `a + b` adds them up.

    documents, mentions, pairs: what was packed. without_candidates: mentions that have no pair.
    inputs, tokens: what a model reads, padding not counted. windowed: contexts cut into windows.
    shrunk: mentions (pairs in the layout "base") with less context than the others of their
    context. split: mentions whose candidates are in several inputs though the layout would have
    them in one. cut_candidates, cut_mentions: pairs whose candidate text, and mentions whose own
    text, lost tokens at the end.
    """

    documents: int = 0
    mentions: int = 0
    pairs: int = 0
    without_candidates: int = 0
    inputs: int = 0
    tokens: int = 0
    windowed: int = 0
    shrunk: int = 0
    split: int = 0
    cut_candidates: int = 0
    cut_mentions: int = 0

    def __add__(self, other: PackingReport) -> PackingReport:
        return PackingReport(
            *(getattr(self, field.name) + getattr(other, field.name) for field in fields(self))
        )

    @property
    def tokens_per_mention(self) -> float:
        """Tokens read for each mention that has candidates; 0 if there is none."""
        linked = self.mentions - self.without_candidates
        return self.tokens / linked if linked else 0.0
