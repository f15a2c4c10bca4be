"""Batches of names: pairs of synonyms, beside them the names that are easily confused with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from spacy_bel.retriever.training.names import TrainingNames

_DRAWN_AT_ONCE = 1 << 16


class Batch(NamedTuple):
    """Names of a training step.

    texts: int64 ids. positive, negative: bool, shape (texts, texts): names of one concept, and of
    different ones; strings that name a concept together are never negatives.
    """

    texts: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def epoch_batches(
    names: TrainingNames,
    *,
    steps: int,
    batch_size: int,
    mention_share: float,
    neighbours: np.ndarray | None,
    hard_negatives: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """Batches of an epoch.

    batch_size: names in a batch, two of each concept where it has two.
    mention_share: share of the concepts, in [0, 1], that come with a training mention and a name
        instead of two names; all do where there are no synonyms.
    neighbours: int, shape (concepts, n), labels of the concepts most easily confused with each,
        -1 for none; ``hard_negatives`` of them follow each concept into its batch.
    """
    followers = hard_negatives if neighbours is not None else 0
    synonyms = _endless(len(names.synonyms), rng)
    mentions = _endless(len(names.mentions), rng)
    for _ in range(steps):
        labels: list[int] = []
        texts: list[int] = []
        while len(texts) < batch_size:
            if len(names.mentions) and (rng.random() < mention_share or not len(names.synonyms)):
                label, first = names.mentions[next(mentions)].tolist()
                second = _another(names, label, first, rng)
            else:
                label, first, second = names.synonyms[next(synonyms)].tolist()
            _append(labels, texts, label, first, second)
            if neighbours is not None and followers:
                near = neighbours[label]
                near = near[near >= 0]
                for other in rng.choice(near, min(followers, len(near)), replace=False).tolist():
                    first = int(rng.choice(names.names_of(other)))
                    _append(labels, texts, other, first, _another(names, other, first, rng))
        yield _batch(names, np.array(labels[:batch_size]), np.array(texts[:batch_size]))


def _batch(names: TrainingNames, labels: np.ndarray, texts: np.ndarray) -> Batch:
    same = labels[:, None] == labels
    positive = same & (texts[:, None] != texts)
    return Batch(texts, positive, ~same & ~names.share_concept(texts))


def _append(labels: list[int], texts: list[int], label: int, first: int, second: int) -> None:
    labels.append(label)
    texts.append(first)
    if second >= 0:
        labels.append(label)
        texts.append(second)


def _another(names: TrainingNames, label: int, text: int, rng: np.random.Generator) -> int:
    """A name of the concept other than this one, -1 if it has none."""
    others = names.names_of(label)
    others = others[others != text]
    return int(rng.choice(others)) if len(others) else -1


def _endless(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Indices below count in random order, each once before any comes again."""
    while count:
        order = rng.permutation(count)
        # Millions of Python numbers at once would take more memory than the pairs.
        for start in range(0, count, _DRAWN_AT_ONCE):
            yield from order[start : start + _DRAWN_AT_ONCE].tolist()
