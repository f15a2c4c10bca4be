"""Scores of ranked links: recall at k, mean reciprocal rank, intervals, differences of two runs."""

from spacy_bel.evaluation.bootstrap import Estimate, mean_over_mentions
from spacy_bel.evaluation.evaluation import Evaluation, evaluate
from spacy_bel.evaluation.policies import EvaluationError, Policies
from spacy_bel.evaluation.recall import mean_reciprocal_rank, recall_at_k

__all__ = [
    "Estimate",
    "Evaluation",
    "EvaluationError",
    "Policies",
    "evaluate",
    "mean_over_mentions",
    "mean_reciprocal_rank",
    "recall_at_k",
]
