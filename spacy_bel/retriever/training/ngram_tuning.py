"""Options of character n-grams, chosen on development mentions.

The published grid is that of J. Sanz-Cruzado and J. Lever, BioNLP 2025,
doi 10.18653/v1/2025.bionlp-1.13: parts of a string of so many characters, by trigrams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import product
from typing import Any, Literal, TypeVar

from confection import Config

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.retriever.ngram_vectors import NgramOptions
from spacy_bel.retriever.ngrams import NgramIndex

Measured = TypeVar("Measured")

PUBLISHED = tuple(
    NgramOptions(
        ngram_range=(3, 3),
        analyzer="char",
        min_df=50,
        max_features=50_000,
        sublinear=False,
        char_side=side,
        char_count=count,
    )
    for side in ("front", "back", "separate", "together")
    for count in range(4, 33, 4)
)
_ANALYZERS: tuple[Literal["char_wb", "char"], ...] = ("char_wb", "char")
DEFAULT = tuple(
    NgramOptions(ngram_range=ngrams, analyzer=analyzer, min_df=min_df, sublinear=sublinear)
    for analyzer, ngrams, min_df, sublinear in product(
        _ANALYZERS, ((2, 3), (3, 3), (2, 4), (3, 5)), (1, 2), (True, False)
    )
)
GRIDS: Mapping[str, tuple[NgramOptions, ...]] = {"default": DEFAULT, "published": PUBLISHED}


def try_options(
    kb: KnowledgeBase,
    grid: Iterable[NgramOptions],
    measure: Callable[[NgramIndex], Measured],
) -> Iterator[tuple[NgramOptions, Measured | None]]:
    """Index a knowledge base with each of some options, and measure the index.

    Gives the options with what ``measure`` returns; None where they leave no n-gram of any name,
    as with a min_df higher than the number of names.
    """
    for options in grid:
        try:
            index = NgramIndex(kb, **asdict(options))
        except KnowledgeBaseError:
            yield options, None
            continue
        yield options, measure(index)


def config_block(options: NgramOptions) -> str:
    """Options as a config block ``[retriever]``."""
    values: dict[str, Any] = asdict(options)
    values["ngram_range"] = list(options.ngram_range)
    if options.char_side == "none":
        del values["char_count"]
    block = {"@misc": "spacy_bel.NgramRetriever.v1", **values}
    return Config({"retriever": block}).to_str()
