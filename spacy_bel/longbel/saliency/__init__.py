"""Which tokens of a prompt a generated name rests on."""

from .attribution import BASELINES, METHODS, Baseline, Method, saliency
from .parts import Part, memory_lines, sections, words
from .result import Saliency

__all__ = [
    "BASELINES",
    "METHODS",
    "Baseline",
    "Method",
    "Part",
    "Saliency",
    "memory_lines",
    "saliency",
    "sections",
    "words",
]
