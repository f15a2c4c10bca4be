from __future__ import annotations

import numpy as np
import pytest

from spacy_bel.errors import ReadError
from spacy_bel.expansion import Query
from spacy_bel.kb import Concept
from spacy_bel.retriever.training.selection import DevelopmentMention, DevelopmentSet

from .conftest import make_kb

KB = make_kb(
    [
        Concept("A:1", ("heart attack", "infarct"), ("A",)),
        Concept("A:2", ("heart failure",), ("A",)),
        Concept("A:3", ("heart block",), ("A",)),
        Concept("B:1", ("heart",), ("B",)),
        Concept("A:9", ("kidney stone",), ("A",)),
    ]
)
VECTORS = {
    "heart attack": [1.0, 0.0, 0.0],
    "infarct": [0.0, 1.0, 0.0],
    "heart failure": [0.6, 0.8, 0.0],
    "heart block": [0.6, 0.8, 0.0],
    "heart": [0.0, 0.0, 1.0],
    "x": [0.0, 0.9, 0.1],
    "y": [0.0, 0.0, 1.0],
}


def mention(queries, gold, groups=("A", "B")):
    return DevelopmentMention(queries, frozenset(gold), KB.group_mask(groups))


def scores(*mentions):
    found = DevelopmentSet("dev", KB, mentions, confusable=10)
    arrays = [
        np.array([VECTORS.get(s, [0.0, 0.0, 0.0]) for s in strings], np.float32)
        for strings in (found.names, found.queries)
    ]
    return found, found.scores(*arrays)


def test_the_pool_is_gold_and_what_ngrams_confuse():
    found, _ = scores(mention([Query("Heart")], ["A:1"]))
    assert found.names == ["heart", "heart attack", "heart block", "heart failure", "infarct"]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("queries", "gold", "groups", "rank"),
    [
        # A concept counts by its best name.
        ([Query("x")], ["A:1"], ("A", "B"), 1),
        # Those that score the same stand before it.
        ([Query("x")], ["A:2"], ("A", "B"), 3),
        ([Query("x")], ["A:2", "A:1"], ("A", "B"), 1),
        ([Query("y")], ["B:1"], ("A", "B"), 1),
        # Another group is not searched, so its concepts are neither found nor in the way.
        ([Query("y")], ["B:1"], ("A",), None),
        # Weights decide between queries.
        ([Query("y", 1.0), Query("x", 0.5)], ["A:1"], ("A", "B"), 2),
    ],
)
def test_ranks(queries, gold, groups, rank):
    _, found = scores(mention([*queries, Query("heart", 0.0)], gold, groups))
    expected = {f"recall@{k}": float(rank is not None and rank <= k) for k in (1, 5, 25)}
    assert found == {**expected, "mrr": pytest.approx(1 / rank if rank else 0.0)}


def test_figures_are_means_over_mentions():
    first, second = (
        mention([Query("x")], ["A:1"]),
        mention([Query("x"), Query("heart", 0)], ["A:2"]),
    )
    _, found = scores(first, second)
    assert found["recall@1"] == 0.5 and found["mrr"] == pytest.approx((1 + 1 / 3) / 2)


def test_no_mention():
    with pytest.raises(ReadError, match="development corpus 'dev' has no mention"):
        DevelopmentSet("dev", KB, [])


def test_fingerprints_tell_sets_apart():
    sets = [
        DevelopmentSet("dev", KB, [m])
        for m in (
            mention([Query("x")], ["A:1"]),
            mention([Query("x")], ["A:1"]),
            mention([Query("x", 0.5)], ["A:1"]),
            mention([Query("y")], ["A:1"]),
            mention([Query("x")], ["A:2"]),
            mention([Query("x")], ["A:1"], ("A",)),
        )
    ]
    first, again, *others = (of.fingerprint for of in sets)
    assert first == again and len({first, *others}) == 5
