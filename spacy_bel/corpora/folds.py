"""Documents drawn into folds, so that no part of a corpus knows itself."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.errors import SettingsError


def without_copies(
    others: Iterable[CorpusDocument], documents: Iterable[CorpusDocument]
) -> list[CorpusDocument]:
    """The documents of ``others`` whose text is not that of one of ``documents``."""
    texts = {document.text for document in documents}
    return [other for other in others if other.text not in texts]


def assign_folds(documents: Sequence[CorpusDocument], folds: int, seed: int = 0) -> list[int]:
    """The part of each document, from 0; parts are drawn, and as equal as can be.

    Documents of equal text or id go together. Raises SettingsError for less than two parts, or more
    than there are different documents.
    """
    group_of: dict[tuple[str, str], int] = {}
    groups: list[list[int]] = []
    for i, document in enumerate(documents):
        keys = [("text", document.text), *([("id", document.id)] if document.id else [])]
        known = sorted({group_of[key] for key in keys if key in group_of})
        group = known[0] if known else len(groups)
        if not known:
            groups.append([])
        groups[group].append(i)
        for other in known[1:]:  # equal in text to one, in id to another
            groups[group] += groups[other]
            groups[other] = []
            group_of = {key: group if g == other else g for key, g in group_of.items()}
        group_of.update(dict.fromkeys(keys, group))
    different = [members for members in groups if members]
    if not 2 <= folds <= len(different):
        raise SettingsError(_too_few(len(different), folds))
    random.Random(seed).shuffle(different)
    # The next group to the smallest part, so that parts stay equal with groups of several.
    sizes = [0] * folds
    parts = [0] * len(documents)
    for members in different:
        smallest = sizes.index(min(sizes))
        sizes[smallest] += len(members)
        for i in members:
            parts[i] = smallest
    return parts


def _too_few(different: int, folds: int) -> str:
    what = f"{different} different document{'s' * (different != 1)}"
    if different < 2:
        return f"{what} cannot be drawn into {folds} folds: give two documents at least."
    return f"{what} cannot be drawn into {folds} folds: use from 2 to {different} folds."
