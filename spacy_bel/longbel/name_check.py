"""Names that a tokenizer cannot write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from .tokenization import PromptTokenizer

_BATCH = 10_000


class AlteredName(NamedTuple):
    """A name, and what a model that generates its tokens would have written."""

    name: str
    written: str


def altered_names(names: Iterable[str], tokenizer: PromptTokenizer) -> Iterator[AlteredName]:
    """Names whose tokens read otherwise than the name, for want of characters in the vocabulary.

    They can be generated all the same, but several of them may look alike to the model, and memory
    shows the model what it would not write.
    """
    iterator = iter(names)
    while batch := list(islice(iterator, _BATCH)):
        # The last token of each ends the name.
        pieces = [sequence[:-1] for sequence in tokenizer.split_sequences(batch)]
        written = tokenizer.tokenizer.batch_decode(pieces, clean_up_tokenization_spaces=False)
        for name, text in zip(batch, written, strict=True):
            if text.strip() != tokenizer.prompt.name_text(name).strip():
                yield AlteredName(name, text.strip())
