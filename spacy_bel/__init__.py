"""Biomedical entity linking for spaCy: ranked concept codes from your own terminology."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .candidates import Candidate
    from .default import load_default_pipeline
    from .kb import Concept, KnowledgeBase, KnowledgeBaseBuilder, load_default_kb

__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "Concept",
    "KnowledgeBase",
    "KnowledgeBaseBuilder",
    "load_default_kb",
    "load_default_pipeline",
]

# Loaded on first use: spaCy imports this package with every `nlp`.
_HOMES = {
    "Candidate": "candidates",
    "Concept": "kb",
    "KnowledgeBase": "kb",
    "KnowledgeBaseBuilder": "kb",
    "load_default_kb": "kb",
    "load_default_pipeline": "default",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
