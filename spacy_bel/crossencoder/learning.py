"""What inputs teach: which candidates are right, the loss of their logits, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..calibration import Objective
from .inputs import Batch, PackedInput

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LearningInput:
    """Inputs that have mentions in common.

    right: by indices of document and mention, which of its candidates are right, shape
    (candidates,); at least one is, if the loss is list-wise.
    """

    inputs: tuple[PackedInput, ...]
    right: dict[tuple[int, int], BoolArray]

    @property
    def tokens(self) -> int:
        """How many a model reads for it."""
        return sum(map(len, self.inputs))

    @property
    def weight(self) -> int:
        """How many mentions it teaches about."""
        return len(self.right)


def learning_inputs(
    inputs: Sequence[PackedInput], right: Sequence[Sequence[BoolArray]]
) -> list[LearningInput]:
    """Put inputs together that have mentions in common, so that each mention is learned whole.

    right: by document and mention, which candidates are right, shape (candidates,).
    """
    groups: list[tuple[list[PackedInput], set[tuple[int, int]]]] = []
    group_of: dict[tuple[int, int], int] = {}
    for packed in inputs:
        mentions = {(int(document), int(mention)) for document, mention, _ in packed.pairs}
        known = sorted({group_of[m] for m in mentions if m in group_of})
        if known:
            target, *others = known
            for other in others:
                groups[target][0].extend(groups[other][0])
                groups[target][1].update(groups[other][1])
                group_of.update(dict.fromkeys(groups[other][1], target))
                groups[other] = ([], set())
        else:
            target = len(groups)
            groups.append(([], set()))
        groups[target][0].append(packed)
        groups[target][1].update(mentions)
        group_of.update(dict.fromkeys(mentions, target))
    return [
        LearningInput(tuple(packed), {(d, m): right[d][m] for d, m in sorted(mentions)})
        for packed, mentions in groups
        if packed
    ]


def loss_and_gradients(
    items: Sequence[LearningInput],
    batches: Sequence[Batch],
    logits: Sequence[FloatArray],
    objective: Objective,
) -> tuple[float, list[FloatArray]]:
    """The loss, added up over mentions, and its gradient.

    logits, gradients: of each batch, shape (pairs, 2). The logit of a candidate is that of label 1
    less that of label 0. With "listwise", the loss of a mention is the
    negative logarithm of what a softmax over its candidates gives to the right ones; with
    "pairwise", the mean over its candidates of the cross-entropy of the two labels.
    """
    right = {key: array for item in items for key, array in item.right.items()}
    number = {key: i for i, key in enumerate(right)}
    sizes = np.array([len(array) for array in right.values()])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    pairs = np.concatenate([batch.pairs for batch in batches])
    place = starts[[number[d, m] for d, m, _ in pairs.tolist()]] + pairs[:, 2]
    scores = np.empty(starts[-1])
    difference = np.concatenate(logits).astype(np.float64)
    scores[place] = difference[:, 1] - difference[:, 0]
    wanted = np.concatenate(list(right.values()))
    owner = np.repeat(np.arange(len(right)), sizes)
    if objective == "pairwise":
        signed = np.where(wanted, scores, -scores)
        share = 1 / sizes[owner]
        loss = float(np.sum(np.logaddexp(0, -signed) * share))
        slope = np.where(wanted, -1.0, 1.0) * share / (1 + np.exp(np.clip(signed, -700, 700)))
    else:
        everything, all_shares = _softmax(scores, owner, len(right))
        right_only, right_shares = _softmax(np.where(wanted, scores, -np.inf), owner, len(right))
        loss = float(np.sum(everything - right_only))
        slope = all_shares - right_shares
    gradient = np.stack([-slope, slope], axis=1)[place].astype(np.float32)
    borders = np.cumsum([len(array) for array in logits])[:-1]
    return loss, np.split(gradient, borders)


def _softmax(
    scores: npt.NDArray[np.float64], owner: npt.NDArray[np.int64], groups: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The log-sum-exp of each group of scores, and the share of each score in it."""
    highest = np.full(groups, -np.inf)
    np.maximum.at(highest, owner, scores)
    weights = np.exp(scores - highest[owner])
    sums = np.bincount(owner, weights, minlength=groups)
    return highest + np.log(sums), weights / sums[owner]
