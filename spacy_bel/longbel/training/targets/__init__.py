"""Which name of a concept is to be generated for a mention. A new way is one file here."""

from __future__ import annotations

from typing import Literal

from ....errors import SettingsError
from ....kb import KnowledgeBase
from .base import Choice, TargetChooser
from .embedding import EmbeddingTargets, StringEncoder
from .levenshtein import LevenshteinTargets
from .tfidf import TfidfTargets
from .title import TitleTargets

TargetName = Literal["tfidf", "embedding", "levenshtein", "title"]


def make_targets(
    name: TargetName, kb: KnowledgeBase, encoder: StringEncoder | None = None
) -> TargetChooser:
    """A way of choosing target names by its name; `TargetChooser` objects need none.

    kb: the knowledge base whose names are targets. encoder: for "embedding". Raises SettingsError
    if there is no such way, or no encoder for it.
    """
    if name == "tfidf":
        return TfidfTargets(kb)
    if name == "levenshtein":
        return LevenshteinTargets()
    if name == "title":
        return TitleTargets()
    if name != "embedding":
        raise SettingsError(
            f"target is {name!r}: use 'tfidf', 'embedding', 'levenshtein' or 'title'."
        )
    if encoder is None:
        raise SettingsError("target='embedding' needs an encoder: give the directory of one.")
    return EmbeddingTargets(encoder)


__all__ = [
    "Choice",
    "EmbeddingTargets",
    "LevenshteinTargets",
    "StringEncoder",
    "TargetChooser",
    "TargetName",
    "TfidfTargets",
    "TitleTargets",
    "make_targets",
]
