"""Several readers of examples as one stream."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from spacy_bel.errors import SettingsError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.training import Example

Reader = Callable[["Language"], Iterable["Example"]]
Unit = Literal["documents", "mentions"]
_NO_CODE = ("", "NIL")


class MixedReader:
    """Reads corpora in turns; each call is an epoch.

    readers: corpora by name. weights: how often an epoch goes through the documents of a corpus,
        once where none is given: 2 is twice, 0.5 a half of them, drawn anew in each epoch. Corpora
        take turns in proportion to their weights until all are at their end. Documents are read as
        they are needed.
    shuffle: read all documents of an epoch and give them in an order drawn anew each time. spaCy
        shuffles by itself unless ``max_epochs`` is -1.
    seed: of everything that is drawn.
    alternate: "documents" or "mentions" for as many of each corpus, however many it has. The next
        document is of the corpus of which fewest were read, and an epoch ends when all corpora have
        been at their end, the smaller ones as often as that takes. Mentions are those with a code:
        a page of one mention and an article of a hundred do not count the same. There is one more
        document read of each corpus than is needed, and at the end corpora differ by less than
        their largest document.

    Raises SettingsError without readers, for weights that are not positive or of no reader or given
    with alternate, for another alternate, and, when read, for a corpus that has nothing to
    alternate with.
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        weights: Mapping[str, float] | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        alternate: Unit | None = None,
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
        if alternate not in (None, "documents", "mentions"):
            raise SettingsError(
                f'alternate is {alternate!r}: choose "documents" or "mentions", or leave it out.'
            )
        if alternate and weights:
            raise SettingsError(
                "Corpora that alternate are read in equal parts: leave out the weights, or "
                "alternate."
            )
        self.alternate = alternate
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """The examples of the next epoch."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        mixed: Iterator[Example]
        if self.alternate:
            passes = {name: _Passes(name, reader, nlp) for name, reader in self.readers.items()}
            mixed = _alternating(passes, self.alternate)
        else:
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


class _Passes:
    """The examples of one corpus, again and again, and whether all have been given once."""

    def __init__(self, name: str, reader: Reader, nlp: Language) -> None:
        self.name, self.reader, self.nlp = name, reader, nlp
        self.ended = False
        self.counted = 0
        self._stream = iter(reader(nlp))
        self._next = next(self._stream, None)

    def take(self, unit: Unit) -> Example:
        """The next example; a pass is at its end with its last one, not after it."""
        if self._next is None:
            self._stream = iter(self.reader(self.nlp))
            self._next = next(self._stream, None)
        example = self._next
        if example is None:
            raise self._nothing(unit)
        self.counted += 1 if unit == "documents" else _linked_mentions(example)
        self._next = next(self._stream, None)
        if self._next is None:
            self.ended = True
            if not self.counted:
                raise self._nothing(unit)
        return example

    def _nothing(self, unit: Unit) -> SettingsError:
        what = "documents" if unit == "documents" else "mentions with a code"
        return SettingsError(
            f"The corpus {self.name} has no {what} to alternate with: give another, or leave out "
            "its reader."
        )


def _alternating(corpora: Mapping[str, _Passes], unit: Unit) -> Iterator[Example]:
    """Examples of the corpus that is furthest behind, until all have ended and caught up."""
    most = None
    while True:
        corpus = min(corpora.values(), key=lambda corpus: corpus.counted)
        if most is not None and corpus.counted >= most:
            return
        yield corpus.take(unit)
        if most is None and all(corpus.ended for corpus in corpora.values()):
            most = max(corpus.counted for corpus in corpora.values())


def _linked_mentions(example: Example) -> int:
    return sum(entity.kb_id_ not in _NO_CODE for entity in example.reference.ents)
