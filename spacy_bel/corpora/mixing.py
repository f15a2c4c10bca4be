"""Several readers of examples as one stream."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from spacy_bel.errors import SettingsError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.training import Example

Reader = Callable[["Language"], Iterable["Example"]]


class MixedReader:
    """Reads corpora in turns; each call is an epoch.

    readers: corpora by name. weights: how often an epoch goes through the documents of a corpus,
        once where none is given: 2 is twice, 0.5 a half of them, drawn anew in each epoch. Corpora
        take turns in proportion to their weights until all are at their end. Documents are read as
        they are needed.
    shuffle: read all documents of an epoch and give them in an order drawn anew each time. spaCy
        shuffles by itself unless ``max_epochs`` is -1.
    seed: of everything that is drawn.

    Raises SettingsError without readers, and for weights that are not positive or of no reader.
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        weights: Mapping[str, float] | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        if not readers:
            raise SettingsError(
                "There is no corpus to read: add a block such as [corpora.train.readers.mine] with "
                '@readers = "spacy_bel.Corpus.v1".'
            )
        if unknown := sorted(set(weights or {}) - set(readers)):
            raise SettingsError(
                f"Weights are given for {', '.join(unknown)}, but the readers are "
                f"{', '.join(readers)}."
            )
        self.readers = dict(readers)
        self.weights = {name: float((weights or {}).get(name, 1.0)) for name in readers}
        for name, weight in self.weights.items():
            if not 0 < weight < float("inf"):
                raise SettingsError(
                    f"The weight of {name} is {weight}: give a positive number, or leave out the "
                    "reader."
                )
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """The examples of the next epoch."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        streams = {name: self._repeated(name, nlp, epoch) for name in self.readers}
        mixed = _in_turns(streams, self.weights)
        if not self.shuffle:
            return mixed
        examples = list(mixed)
        random.Random(f"{self.seed} {epoch}").shuffle(examples)
        return iter(examples)

    def _repeated(self, name: str, nlp: Language, epoch: int) -> Iterator[Example]:
        """The examples of one corpus as often as its weight says, one pass after the other."""
        whole, part = divmod(self.weights[name], 1)
        for _ in range(int(whole)):
            yield from self.readers[name](nlp)
        if part:
            draw = random.Random(f"{self.seed} {epoch} {name}")
            yield from (example for example in self.readers[name](nlp) if draw.random() < part)


def _in_turns(
    streams: Mapping[str, Iterator[Example]], weights: Mapping[str, float]
) -> Iterator[Example]:
    """Examples of all streams: the next is of the one that is furthest behind its weight."""
    taken = dict.fromkeys(streams, 0)
    left = dict(streams)
    while left:
        name = min(left, key=lambda name: (taken[name] + 1) / weights[name])
        try:
            example = next(left[name])
        except StopIteration:
            del left[name]
            continue
        taken[name] += 1
        yield example
