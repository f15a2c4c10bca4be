"""Terminologies: concepts, the on-disk knowledge base, its builder and its readers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spacy_bel.kb.concept import Concept

if TYPE_CHECKING:
    from spacy_bel.kb.builder import KnowledgeBaseBuilder
    from spacy_bel.kb.default import load_default_kb
    from spacy_bel.kb.knowledge_base import KnowledgeBase, KnowledgeBaseMeta

__all__ = [
    "Concept",
    "KnowledgeBase",
    "KnowledgeBaseBuilder",
    "KnowledgeBaseMeta",
    "load_default_kb",
]

_HOMES = {
    "KnowledgeBase": "spacy_bel.kb.knowledge_base",
    "KnowledgeBaseBuilder": "spacy_bel.kb.builder",
    "KnowledgeBaseMeta": "spacy_bel.kb.knowledge_base",
    "load_default_kb": "spacy_bel.kb.default",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
