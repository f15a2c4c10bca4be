"""Query reformulation: a language model says how a terminology may name what a mention means.

Method: the optional first step of BeLink (Shlyk et al. 2026, doi 10.1145/3805712.3809918). Knows
nothing of spaCy, and of torch only in ``causal_lm``.
"""

from spacy_bel.retriever.reformulation.base import QueryReformulator, Request
from spacy_bel.retriever.reformulation.prompt import PromptedReformulator

__all__ = ["PromptedReformulator", "QueryReformulator", "Request"]
