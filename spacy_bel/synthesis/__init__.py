"""Annotated sentences for concepts, written by language models (SynCABEL, arXiv 2601.19667)."""

from spacy_bel.synthesis.acceptance import REASONS, Rules
from spacy_bel.synthesis.asking import Asking, Patience
from spacy_bel.synthesis.base import Answer, Failure, GenerationError, Generator, Request
from spacy_bel.synthesis.concepts import annotated_codes, choose_concepts
from spacy_bel.synthesis.cost import Budget, Prices
from spacy_bel.synthesis.openai_client import OpenAIGenerator
from spacy_bel.synthesis.report import SynthesisReport
from spacy_bel.synthesis.run import Synthesis
from spacy_bel.synthesis.store import AnswerStore
from spacy_bel.synthesis.style import StyleSentences

__all__ = [
    "REASONS",
    "Answer",
    "AnswerStore",
    "Asking",
    "Budget",
    "Failure",
    "GenerationError",
    "Generator",
    "OpenAIGenerator",
    "Patience",
    "Prices",
    "Request",
    "Rules",
    "StyleSentences",
    "Synthesis",
    "SynthesisReport",
    "annotated_codes",
    "choose_concepts",
]
