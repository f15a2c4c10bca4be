"""From the results of several retrievers to one, and how much each of them should count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from spacy_bel.errors import SettingsError
from spacy_bel.fusion import RANK_CONSTANT, reciprocal_rank
from spacy_bel.retriever.index import DECIMALS, Hit

FusionName = Literal["rrf", "max", "weighted"]
FUSIONS: tuple[FusionName, ...] = ("rrf", "max", "weighted")
# Weights are rounded, so that a config shows all of them that counts.
_WEIGHT_DECIMALS = 4
_STEPS = (0.2, 0.1, 0.05, 0.025)
_LEAST_GAIN = 1e-6


Frequency = Callable[[str], float]
"""How often training documents mention the concept of a code, from 0 for never to 1."""


class Weights(NamedTuple):
    """What each member's score and each member's rank counts, by the names of the members."""

    weights: dict[str, float]
    rank_weights: dict[str, float]
    frequency_weight: float = 0.0


@dataclass(frozen=True)
class Fusion:
    """How the score of a concept follows from the results of the members.

    fusion: "rrf" is reciprocal rank fusion (Cormack, Clarke and Büttcher 2009, doi
        10.1145/1571941.1572114), which needs no comparable scores; "max" the best score, for
        members with scores on one scale; "weighted" the weighted mean of scores and of reciprocal
        ranks.
    weights, rank_weights: by member, at least 0, for "weighted"; only their proportions matter. A
        member that is in neither counts nothing; without both all scores count the same.
    frequency_weight: of how often training documents mention the concept, beside those; only where
        training mentions were added to the knowledge base.
    rank_constant: of `reciprocal_rank`, which is 1 at the top.

    A concept that a member did not find has from it the reciprocal rank 0, and as score the lowest
    that it found, or 0 if it found all it could, which are fewer than it was asked for.

    Scores are in (0, 1] with "rrf", where 1 means first everywhere; otherwise in the range of the
    members' scores.

    Raises SettingsError for an unknown fusion, or weights that cannot be used.
    """

    fusion: FusionName = "rrf"
    weights: Mapping[str, float] | None = None
    rank_weights: Mapping[str, float] | None = None
    rank_constant: int = RANK_CONSTANT
    frequency_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.fusion not in FUSIONS:
            raise SettingsError(f"fusion is {self.fusion!r}: use one of {FUSIONS}.")
        given = [*(self.weights or {}).values(), *(self.rank_weights or {}).values()]
        if self.fusion != "weighted" and (given or self.frequency_weight):
            raise SettingsError(f"Weights are for fusion='weighted', not for {self.fusion!r}.")
        if given and not (min(given) >= 0 and 0 < sum(given) < float("inf")):
            raise SettingsError("Weights are numbers of at least 0, and not all are 0.")
        if not 0 <= self.frequency_weight < float("inf"):
            raise SettingsError(f"frequency_weight is {self.frequency_weight}: give at least 0.")
        if self.rank_constant < 0:
            raise SettingsError(f"rank_constant is {self.rank_constant}: give at least 0.")

    def scores(
        self,
        results: Mapping[str, Sequence[Hit]],
        depth: int,
        frequency: Frequency | None = None,
    ) -> dict[str, float]:
        """The score of every concept in the results of the members for one mention.

        results: by member, best first. depth: how many concepts each member was asked for.
        """
        if self.fusion == "max":
            best: dict[str, float] = {}
            for hits in results.values():
                for code, _, score in hits:
                    best[code] = max(score, best.get(code, score))
            return best
        weights, rank_weights, frequency_weight = self._shares(results, frequency is not None)
        fused = dict.fromkeys((code for hits in results.values() for code, _, _ in hits), 0.0)
        if frequency is not None and frequency_weight:
            fused = {code: frequency_weight * frequency(code) for code in fused}
        for member, hits in results.items():
            weight, rank_weight = weights[member], rank_weights[member]
            lowest = weight * lowest_score(hits, depth)
            if lowest:
                for code in fused:
                    fused[code] += lowest
            for rank, (code, _, score) in enumerate(hits, 1):
                reciprocal = reciprocal_rank(rank, self.rank_constant)
                fused[code] += weight * score - lowest + rank_weight * reciprocal
        return fused

    def _shares(
        self, members: Collection[str], counted: bool
    ) -> tuple[dict[str, float], dict[str, float], float]:
        """Weights of scores, of ranks and of frequency, which sum to 1."""
        if self.fusion == "rrf":
            weights, rank_weights = dict.fromkeys(members, 0.0), dict.fromkeys(members, 1.0)
        elif self.weights or self.rank_weights:
            weights = {member: float((self.weights or {}).get(member, 0)) for member in members}
            rank_weights = {m: float((self.rank_weights or {}).get(m, 0)) for m in members}
        else:
            weights, rank_weights = dict.fromkeys(members, 1.0), dict.fromkeys(members, 0.0)
        frequency_weight = self.frequency_weight if counted else 0.0
        total = sum(weights.values()) + sum(rank_weights.values()) + frequency_weight
        return (
            {member: weight / total for member, weight in weights.items()},
            {member: weight / total for member, weight in rank_weights.items()},
            frequency_weight / total,
        )


def lowest_score(hits: Sequence[Hit], depth: int) -> float:
    """What a concept scores at most that a member was asked for and did not find."""
    return hits[-1][2] if len(hits) >= depth else min(0.0, hits[-1][2]) if hits else 0.0


def fit_weights(
    results: Mapping[str, Sequence[Sequence[Hit]]],
    gold: Sequence[Collection[str]],
    *,
    depth: int,
    k: int = 25,
    rank_constant: int = RANK_CONSTANT,
    ranks: bool = False,
    frequency: Frequency | None = None,
) -> Weights:
    """The weights under which right concepts are found and stand high.

    results: by member, the concepts found for each mention of a development corpus, best first;
        ``EnsembleIndex.fetch`` gives them.
    gold: the right codes of each mention; mentions of which no member found one are left out.
    depth: how many concepts each member was asked for; k: how many will be wanted.
    ranks: also weigh reciprocal ranks. frequency: also weigh it, where training mentions were
        added.

    Maximises mean reciprocal rank plus recall at k over proportions of the weights, from the best
    single member on, one weight after another in ever smaller steps. Nothing is drawn at random.

    Raises ValueError if no right concept was found, or members have results of other mentions.
    """
    members = list(results)
    if any(len(found) != len(gold) for found in results.values()):
        raise ValueError(f"{len(gold)} mentions have gold codes: give results for each of them.")
    lists = []
    for mention, codes in enumerate(gold):
        found = {member: results[member][mention] for member in members}
        concepts = list(dict.fromkeys(code for hits in found.values() for code, _, _ in hits))
        right = np.array([code in codes for code in concepts], bool)
        if right.any() and not right.all():
            features = _features(concepts, found, depth, rank_constant)
            if not ranks:
                features = features[:, : len(members)]
            of_concepts = np.array([frequency(c) if frequency else 0.0 for c in concepts])
            lists.append(_Found(features, of_concepts, right))
    if not lists:
        raise ValueError("No mention has right and wrong concepts: give a development corpus.")
    objective = _Objective(lists, k, weigh_frequency=frequency is not None)
    shares = max(np.eye(objective.values.shape[1])[: len(members)], key=objective)
    best = objective(shares)
    for step in _STEPS:
        improved = True
        while improved:
            improved = False
            for other in _neighbours(shares, step):
                value = objective(other)
                if value > best + _LEAST_GAIN:
                    shares, best, improved = other, value, True
    rounded = np.round(shares, _WEIGHT_DECIMALS).tolist()
    count = len(members)
    return Weights(
        dict(zip(members, rounded[:count], strict=True)),
        dict(zip(members, rounded[count : 2 * count], strict=True)) if ranks else {},
        rounded[-1] if frequency is not None else 0.0,
    )


class _Found(NamedTuple):
    """The concepts found for a mention: features of each, its frequency, whether it is right."""

    features: np.ndarray
    frequencies: np.ndarray
    right: np.ndarray


class _Objective:
    """Mean reciprocal rank of the first right concept plus recall at k, for given weights."""

    def __init__(self, lists: Sequence[_Found], k: int, *, weigh_frequency: bool) -> None:
        self.values = np.concatenate([found.features for found in lists])
        frequencies = np.concatenate([found.frequencies for found in lists])
        if weigh_frequency:
            self.values = np.column_stack([self.values, frequencies])
        # Equal scores are told apart by frequency, whatever its weight.
        self._ties = frequencies * 10.0 ** -(DECIMALS + 1)
        self._right = np.concatenate([found.right for found in lists])
        sizes = np.array([len(found.right) for found in lists])
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._of_list = np.repeat(np.arange(len(lists)), sizes)
        self._k = k

    def __call__(self, weights: np.ndarray) -> float:
        scores = np.round(self.values @ weights, DECIMALS) + self._ties
        of_right = np.where(self._right, scores, -np.inf)
        best = np.maximum.reduceat(of_right, self._starts)[self._of_list]
        # A wrong concept that is still equal stands before it half of the time.
        before = (scores > best) + 0.5 * ((scores == best) & ~self._right)
        ranks = 1 + np.add.reduceat(before, self._starts)
        return float(np.mean(1 / ranks) + np.mean(ranks <= self._k))


def _neighbours(shares: np.ndarray, step: float) -> Iterator[np.ndarray]:
    """Proportions in which one weight is a step higher or lower."""
    for place in range(len(shares)):
        for change in (step, -step):
            other = shares.copy()
            other[place] = max(0.0, other[place] + change)
            if other.sum() > 0:
                yield other / other.sum()


def _features(
    concepts: Sequence[str], found: Mapping[str, Sequence[Hit]], depth: int, rank_constant: int
) -> np.ndarray:
    """Score and reciprocal rank of every concept in every member: first the scores, then these."""
    place = {code: row for row, code in enumerate(concepts)}
    features: Any = np.zeros((len(concepts), 2 * len(found)))
    for column, hits in enumerate(found.values()):
        features[:, column] = lowest_score(hits, depth)
        for rank, (code, _, score) in enumerate(hits, 1):
            features[place[code], column] = score
            reciprocal = reciprocal_rank(rank, rank_constant)
            features[place[code], column + len(found)] = reciprocal
    return features
