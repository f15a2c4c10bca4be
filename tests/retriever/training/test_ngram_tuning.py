from __future__ import annotations

from confection import Config

from spacy_bel.kb import Concept
from spacy_bel.registry import ngram_retriever
from spacy_bel.retriever.ngram_vectors import NgramOptions
from spacy_bel.retriever.ngrams import NgramIndex
from spacy_bel.retriever.training.ngram_tuning import (
    DEFAULT,
    GRIDS,
    PUBLISHED,
    config_block,
    try_options,
)

from .conftest import make_kb

KB = make_kb([Concept("C:1", ("infarct",), ("g",)), Concept("C:2", ("stone",), ("g",))])


def test_the_published_grid():
    """Trigrams, the 50,000 most frequent of those in 50 names, of both ends, by 4 characters."""
    cells = {(options.char_side, options.char_count) for options in PUBLISHED}
    sides = ("front", "back", "separate", "together")
    assert cells == {(side, 4 * i) for side in sides for i in range(1, 9)}
    assert len(PUBLISHED) == len(cells)
    rest = {(o.ngram_range, o.max_features, o.min_df, o.analyzer, o.sublinear) for o in PUBLISHED}
    assert rest == {((3, 3), 50_000, 50, "char", False)}


def test_the_default_grid_has_the_default_options():
    assert NgramOptions() in DEFAULT
    assert len(set(DEFAULT)) == len(DEFAULT)
    assert GRIDS == {"default": DEFAULT, "published": PUBLISHED}


def test_every_option_is_measured_on_its_own_index():
    grid = [NgramOptions(), NgramOptions(min_df=50), NgramOptions(ngram_range=(3, 3))]
    found = list(try_options(KB, grid, lambda index: index.search(["infarct"])[0][0][0]))
    # No n-gram is in 50 names.
    assert found == [(grid[0], "C:1"), (grid[1], None), (grid[2], "C:1")]


def test_the_block_makes_the_same_retriever():
    options = NgramOptions(ngram_range=(3, 3), char_side="together", char_count=12, min_df=1)
    for chosen in (options, NgramOptions()):
        block = Config().from_str(config_block(chosen))["retriever"]
        assert block.pop("@misc") == "spacy_bel.NgramRetriever.v1"
        index = ngram_retriever(**block).build(KB)
        assert isinstance(index, NgramIndex) and index.options == chosen
