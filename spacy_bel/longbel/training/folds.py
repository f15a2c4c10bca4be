"""Which documents a fold model learns from, and for which it then stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...corpora.document import CorpusDocument
from ...corpora.folds import assign_folds


@dataclass(frozen=True, slots=True)
class Fold:
    """One part of a corpus, held out from the training of a model.

    number: from 0. training, held_out: places of documents in the corpus, ascending; together they
    are all of it.
    """

    number: int
    training: tuple[int, ...]
    held_out: tuple[int, ...]


def draw_folds(documents: Sequence[CorpusDocument], folds: int, seed: int = 0) -> list[Fold]:
    """Draw documents into parts of about equal size; copies of a document stay together.

    Raises SettingsError for less than two parts, or more than there are different documents.
    """
    part_of = assign_folds(documents, folds, seed)
    return [
        Fold(
            number,
            tuple(i for i, part in enumerate(part_of) if part != number),
            tuple(i for i, part in enumerate(part_of) if part == number),
        )
        for number in range(folds)
    ]
