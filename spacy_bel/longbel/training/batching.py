"""Which sequences make up each step of the optimizer, whoever reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .sequence import TokenSequence

Places = npt.NDArray[np.int64]


class Plan:
    """The steps of a run, epoch by epoch.

    Each epoch is a permutation of all sequences, cut where a step would have more than its budget.
    It depends on nothing but seed and epoch, so that a run can be taken up at any step, by any
    number of processes.

    tokens: of each sequence. budget: tokens of one step; a longer sequence is a step of its own.
    """

    def __init__(self, tokens: Sequence[int], budget: int, seed: int) -> None:
        self.tokens = np.asarray(tokens, np.int64)
        self.budget = budget
        self.seed = seed
        self._epoch: tuple[int, list[Places]] = (-1, [])

    def epoch(self, epoch: int) -> list[Places]:
        """The places of the sequences of every step of an epoch, which are counted from 0."""
        if self._epoch[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.tokens))
            ends = np.cumsum(self.tokens[order])
            bounds = [0]
            while bounds[-1] < len(order):
                read = ends[bounds[-1] - 1] if bounds[-1] else 0
                fits = int(np.searchsorted(ends, read + self.budget, side="right"))
                bounds.append(max(fits, bounds[-1] + 1))
            self._epoch = epoch, np.split(order, bounds[1:-1])
        return self._epoch[1]


def shares(places: Places, tokens: Places, count: int) -> list[Places]:
    """The sequences of a step split among so many processes, about as many tokens for each.

    tokens: of all sequences. A process may be left without any.
    """
    given: list[list[int]] = [[] for _ in range(count)]
    load = [0] * count
    for place in sorted(places.tolist(), key=lambda place: (-tokens[place], place)):
        least = load.index(min(load))
        given[least].append(place)
        load[least] += int(tokens[place])
    return [np.array(each, np.int64) for each in given]


def micro_batches(sequences: Sequence[TokenSequence], budget: int) -> list[list[TokenSequence]]:
    """Sequences in groups that are read at once, those of similar length together."""
    groups: list[list[TokenSequence]] = []
    read = 0
    for each in sorted(sequences, key=lambda each: -each.tokens):
        if not groups or read + each.tokens > budget:
            groups.append([])
            read = 0
        groups[-1].append(each)
        read += each.tokens
    return groups
