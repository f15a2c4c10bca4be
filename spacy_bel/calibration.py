"""From logits to probabilities: what is fitted on development mentions so that a score is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar

from .errors import SettingsError

FloatArray = npt.NDArray[np.floating]
Objective = Literal["listwise", "pairwise"]

#: Natural logarithms of the lowest and highest temperature that is tried.
_LOG_TEMPERATURES = (-4.0, 4.0)
_HIGHEST_WEIGHT, _HIGHEST_BIAS = 20.0, 15.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become probabilities.

    The logit of a candidate is divided by `temperature`, and `retriever_weight` times the score
    that the retriever gave it and `bias` are added; the logit of "none of them" is only divided.
    """

    temperature: float = 1.0
    retriever_weight: float = 0.0
    bias: float = 0.0

    def probabilities(
        self,
        logits: FloatArray,
        retriever_scores: FloatArray,
        nil: float | None,
        objective: Objective,
    ) -> tuple[FloatArray, float]:
        """The probability of each candidate, and that of none of them.

        logits, retriever_scores: shape (candidates,). nil: the logit of "none of them", if there is
        one. objective: "listwise" for probabilities that sum to one with that of none, "pairwise"
        for one of each candidate by itself; then that of none is 1 less the highest.
        """
        z = (
            logits.astype(np.float64) / self.temperature
            + self.retriever_weight * retriever_scores.astype(np.float64)
            + self.bias
        )
        if objective == "pairwise":
            each = 1 / (1 + np.exp(-np.clip(z, -700, 700)))
            return each, float(1 - each.max(initial=0.0))
        everything = z if nil is None else np.append(z, nil / self.temperature)
        weights = np.exp(everything - everything.max())
        shares = weights / weights.sum()
        return shares[: len(z)], 0.0 if nil is None else float(shares[-1])


@dataclass(frozen=True, slots=True)
class JudgedMention:
    """A development mention: logits and retriever scores of its candidates, and which are right.

    logits, retriever_scores, right: shape (candidates,). nil: the logit of "none of them", or None
    where there is none.
    """

    logits: FloatArray
    retriever_scores: FloatArray
    right: npt.NDArray[np.bool_]
    nil: float | None = None


def fit_calibration(
    mentions: Sequence[JudgedMention], objective: Objective, *, use_retriever: bool = True
) -> Calibration:
    """The calibration under which what is right is most likely (least negative log-likelihood).

    Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017) with two
    more numbers. use_retriever: whether retriever scores may count. Without a logit for "none of
    them", list-wise fitting leaves out mentions of which no candidate is right.
    Raises SettingsError if no mention is left.
    """
    if objective == "listwise":
        mentions = [m for m in mentions if m.nil is not None or m.right.any()]
    mentions = [m for m in mentions if len(m.logits)]
    if not mentions:
        raise SettingsError(
            "No mention to calibrate with: give development documents with gold codes whose "
            "mentions have candidates."
        )
    width = max(len(m.logits) for m in mentions)
    with_nil = any(m.nil is not None for m in mentions)

    def table(rows: Sequence[npt.NDArray[Any]], fill: float) -> FloatArray:
        result = np.full((len(rows), width), fill)
        for row, values in zip(result, rows, strict=True):
            row[: len(values)] = values
        return result

    logits = table([m.logits for m in mentions], 0.0)
    scores = table([m.retriever_scores for m in mentions], 0.0)
    right = table([m.right for m in mentions], 0.0) > 0
    there = table([np.ones(len(m.logits)) for m in mentions], 0.0) > 0
    nil = np.array([-np.inf if m.nil is None else m.nil for m in mentions])
    # In units of their spread all numbers are of the same size, which the search needs.
    spread = float(scores[there].std()) or 1.0

    def loss(values: npt.NDArray[np.float64]) -> float:
        temperature = np.exp(values[0])
        z = logits / temperature + values[1] * scores / spread + values[2]
        if objective == "pairwise":
            signed = np.where(right, z, -z)[there]
            return float(np.logaddexp(0, -signed).mean())
        everything = np.column_stack([np.where(there, z, -np.inf), nil / temperature])
        chosen = np.column_stack([right, ~right.any(axis=1)])
        wanted = np.where(chosen, everything, -np.inf)
        return float(np.mean(_logsumexp(everything) - _logsumexp(wanted)))

    bias = (-_HIGHEST_BIAS, _HIGHEST_BIAS) if with_nil or objective == "pairwise" else (0.0, 0.0)
    weight = (0.0, _HIGHEST_WEIGHT if use_retriever else 0.0)
    found = minimize(
        loss, np.zeros(3), method="L-BFGS-B", bounds=[_LOG_TEMPERATURES, weight, bias]
    ).x
    return Calibration(float(np.exp(found[0])), float(found[1] / spread), float(found[2]))


def fit_temperature(logits: Sequence[FloatArray], right: Sequence[int]) -> float:
    """The temperature under which the right entries are most likely.

    logits: of each mention, shape (entries,). right: the index of the right entry of each.
    Raises SettingsError without mentions. Method: see `fit_calibration`.
    """
    if not logits:
        raise SettingsError("No mention to calibrate with: give development documents with codes.")

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        return float(
            np.mean(
                [
                    _logsumexp(row[None] / temperature)[0] - row[index] / temperature
                    for row, index in zip(logits, right, strict=True)
                ]
            )
        )

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded").x))


def expected_calibration_error(
    confidences: Sequence[float] | FloatArray,
    right: Sequence[bool] | npt.NDArray[np.bool_],
    *,
    bins: int = 10,
) -> float:
    """How far probabilities are from how often they come true, on average, from 0 to 1.

    Predictions fall into bins of equal width; the difference of a bin's mean probability and share
    of right ones is weighted by its size (Naeini et al., "Obtaining Well Calibrated Probabilities
    Using Bayesian Binning", AAAI 2015).

    confidences: the probability given to each prediction, shape (predictions,). right: whether it
    came true. Raises SettingsError without predictions.
    """
    said, true = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    if not len(said):
        raise SettingsError("No mention to judge probabilities by: give documents with gold codes.")
    place = np.minimum((said * bins).astype(int), bins - 1)
    # Sums in place of means: the sizes of bins cancel out.
    gaps = np.bincount(place, true - said, minlength=bins)
    return float(np.abs(gaps).sum() / len(said))


def _logsumexp(rows: FloatArray) -> FloatArray:
    highest = rows.max(axis=1, keepdims=True)
    return (highest + np.log(np.exp(rows - highest).sum(axis=1, keepdims=True)))[:, 0]
