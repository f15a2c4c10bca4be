"""From generated names to candidates: what several names of a concept count, what scores say."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..calibration import Calibration, JudgedMention
from ..candidates import Candidate
from ..errors import SettingsError
from ..kb import KnowledgeBase
from .answers import Answer, Answers, GeneratedName, gather

MergeRule = Literal["max", "logsumexp"]
ScoreKind = Literal["likelihood", "probability"]
FloatArray = npt.NDArray[np.float64]

#: In place of the logarithm of zero, which no temperature can scale.
_IMPOSSIBLE = -1e6


@dataclass(frozen=True, slots=True)
class Merging:
    """How the names that were generated for a mention become its candidates.

    merge: what counts of a concept of which several names were found: "max", the best of them, or
        "logsumexp", the sum of their probabilities, since the model writes one name or the other.
    score: what candidates are ranked by and show as their score.
        "likelihood": length-normalised, the name's probability to the power of
        1 / length ** length_penalty; with "logsumexp" the probability of all its names, normalised
        as the best of them. In [0, 1]; it does not sum to one, and depends on no other candidate.
        "probability": the share of the candidate in the probability of all candidates that were
        found. Sums to one over them, thus says nothing about a concept that was not found, and a
        single candidate always has 1. Names count by their whole probability, so that short ones
        gain against "likelihood", whose order may differ; several concepts that bear a name share
        its probability equally.
    calibration: with "probability", temperature and weight of the scores of candidates that a
        retriever had put on the mention; see `Calibration`.

    Links that score below a component's threshold are NIL. With a calibrated probability a
    threshold of 0.8 keeps links of which at least 80 % are right where the right concept is among
    the candidates. A likelihood promises no such share; but it is low where no name fits, which a
    probability is not.

    Raises SettingsError for unknown choices.
    """

    merge: MergeRule = "max"
    score: ScoreKind = "likelihood"
    calibration: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        if self.merge not in ("max", "logsumexp"):
            raise SettingsError(f"merge is {self.merge!r}: use 'max' or 'logsumexp'.")
        if self.score not in ("likelihood", "probability"):
            raise SettingsError(f"score is {self.score!r}: use 'likelihood' or 'probability'.")

    def candidates(
        self,
        kb: KnowledgeBase,
        mention: str,
        generated: Iterable[GeneratedName],
        linked: Container[str] = frozenset(),
        retrieved: Sequence[Candidate] = (),
    ) -> list[Candidate]:
        """Candidates best first, one per code, with the best of its names.

        linked: codes of the document's earlier links, which win ties. retrieved: the candidates
        that were on the mention, all of them; it is an error to give them with "likelihood", which
        cannot be compared with their scores. A candidate that was not generated, nor scored beside
        what was generated, is none. For ties see `rank`.
        """
        if retrieved and self.score != "probability":
            raise SettingsError(
                "Candidates of a retriever can be fused with probabilities only: set "
                "score='probability', or candidates=0."
            )
        answers = gather(kb, mention, generated, linked)
        if not answers:
            return []
        if self.score == "likelihood":
            return _likely_first(
                answers.ranked(mention, [*map(self._log_likelihood, answers)], "log_score", linked)
            )
        shares, _ = self.calibration.probabilities(
            self._logits(answers), _retriever_scores(answers, retrieved), None, "listwise"
        )
        logs = np.log(np.maximum(shares, np.finfo(np.float64).tiny))
        return _likely_first(answers.ranked(mention, logs.tolist(), "log_probability", linked))

    def judged(
        self,
        kb: KnowledgeBase,
        mention: str,
        generated: Iterable[GeneratedName],
        is_right: Callable[[str], bool],
        retrieved: Sequence[Candidate] = (),
    ) -> JudgedMention | None:
        """A development mention for `fit_calibration`, list-wise; None if nothing was generated.

        is_right: whether a code is that of the mention. The rest as for `candidates`.
        """
        answers = gather(kb, mention, generated, frozenset())
        if not answers:
            return None
        right = np.array([is_right(each.code) for each in answers])
        return JudgedMention(self._logits(answers), _retriever_scores(answers, retrieved), right)

    def _log_likelihood(self, answer: Answer) -> float:
        best = max(answer.forms, key=lambda form: form.log_score)
        if self.merge == "max" or best.log_score in (0.0, -math.inf):
            return max(best.log_score, _IMPOSSIBLE)
        total = min(np.logaddexp.reduce([form.log_probability for form in answer.forms]), 0.0)
        return max(float(total * best.log_score / best.log_probability), _IMPOSSIBLE)

    def _logits(self, answers: Answers) -> FloatArray:
        pool = np.max if self.merge == "max" else np.logaddexp.reduce
        shares = ([f.log_probability - np.log(f.concepts) for f in each.forms] for each in answers)
        return np.maximum([pool(share) for share in shares], _IMPOSSIBLE)


def _likely_first(ranked: list[Candidate]) -> list[Candidate]:
    """Scores of candidates that were ranked by logarithms, since small ones would be ties."""
    return [each._replace(score=math.exp(each.score)) for each in ranked]


def _retriever_scores(answers: Answers, retrieved: Sequence[Candidate]) -> FloatArray:
    """The retriever's score of each answer; 0 if it did not find it, unless it goes below that."""
    scores = {candidate.code: candidate.score for candidate in retrieved}
    lowest = min(0.0, *scores.values()) if scores else 0.0
    return np.array([scores.get(answer.code, lowest) for answer in answers])
