"""Which name of a concept is learned, against plain computations."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_bel.errors import SettingsError
from spacy_bel.longbel.training.targets import (
    EmbeddingTargets,
    LevenshteinTargets,
    TfidfTargets,
    TitleTargets,
    make_targets,
)

from ..conftest import make_kb

NAMES = ["heart attack", "Heart failure", "myocardial infarction", "MI", "asthma", "head pain"]
KB = make_kb([(f"D{i}", "Disorders", [name]) for i, name in enumerate(NAMES)])

strings = st.text(alphabet="heart Mipß", min_size=1, max_size=8)
queries = st.lists(st.tuples(strings, st.lists(strings, min_size=1, max_size=5)), max_size=4)


def chosen(targets, mention, names):
    (choice,) = targets.choose([mention], [names])
    return names[choice.place]


def plainly(text):
    return " ".join(text.casefold().split())


@cache
def distance(a: str, b: str) -> int:
    """Levenshtein distance by its definition."""
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return distance(a[:-1], b[:-1])
    return 1 + min(distance(a[:-1], b), distance(a, b[:-1]), distance(a[:-1], b[:-1]))


TFIDF = TfidfTargets(KB)


@settings(max_examples=40)
@given(queries)
def test_tfidf_is_the_cosine_over_the_names_of_the_knowledge_base(asked):
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    vectorizer.fit([plainly(name) for name in NAMES])
    choices = TFIDF.choose([m for m, _ in asked], [names for _, names in asked])
    assert len(choices) == len(asked)
    for (mention, names), choice in zip(asked, choices, strict=True):
        vector = vectorizer.transform([plainly(mention)])
        scores = [
            float((vector @ vectorizer.transform([plainly(name)]).T).toarray()[0, 0])
            for name in names
        ]
        assert choice.closeness == pytest.approx(max(scores), abs=1e-5)
        assert scores[choice.place] == pytest.approx(max(scores), abs=1e-5)


@given(queries)
def test_levenshtein_is_the_fewest_edits(asked):
    choices = LevenshteinTargets().choose([m for m, _ in asked], [names for _, names in asked])
    for (mention, names), choice in zip(asked, choices, strict=True):
        distances = [distance(plainly(mention), plainly(name)) for name in names]
        assert choice == (distances.index(min(distances)), -min(distances))


@pytest.mark.parametrize("targets", [TfidfTargets(KB), LevenshteinTargets(), TitleTargets()])
def test_the_first_of_equals_is_chosen(targets):
    assert chosen(targets, "zzz", ["MI", "XY", "QW"]) == "MI"
    assert chosen(targets, "asthma", ["Asthma", "asthma", "ASTHMA"]) == "Asthma"
    assert targets.choose([], []) == []


def test_ways_differ():
    names = ["myocardial infarction", "heart attack", "MI"]
    assert chosen(TitleTargets(), "hart attak", names) == "myocardial infarction"
    assert chosen(TfidfTargets(KB), "hart attak", names) == "heart attack"
    assert chosen(LevenshteinTargets(), "hart", names) == "MI"  # four edits; the others are longer
    assert chosen(TfidfTargets(KB), "hart", names) == "heart attack"


class Letters:
    """Counts the letters a to z; notes what it was asked."""

    fingerprint = "letters"

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        vectors = [[text.count(chr(97 + i)) for i in range(26)] for text in texts]
        return np.array(vectors, np.float32)


@given(queries)
def test_embeddings_are_compared_by_inner_product(asked):
    encoder = Letters()
    choices = EmbeddingTargets(encoder).choose([m for m, _ in asked], [n for _, n in asked])
    for (mention, names), choice in zip(asked, choices, strict=True):
        vector = Letters().encode([mention])[0]
        scores = [float(Letters().encode([name])[0] @ vector) for name in names]
        assert choice == (scores.index(max(scores)), max(scores))


def test_strings_are_embedded_once():
    encoder = Letters()
    targets = EmbeddingTargets(encoder)
    targets.choose(["ab", "ab"], [["abc", "b"], ["b"]])
    targets.choose(["abc"], [["ab", "d"]])
    assert sorted(encoder.asked) == ["ab", "abc", "b", "d"]
    assert targets.fingerprint == "embedding letters"


def test_ways_by_name():
    assert isinstance(make_targets("tfidf", KB), TfidfTargets)
    assert isinstance(make_targets("levenshtein", KB), LevenshteinTargets)
    assert isinstance(make_targets("title", KB), TitleTargets)
    assert isinstance(make_targets("embedding", KB, Letters()), EmbeddingTargets)
    with pytest.raises(SettingsError, match="needs an encoder"):
        make_targets("embedding", KB)
    with pytest.raises(SettingsError, match="'tfidf', 'embedding'"):
        make_targets("bm25", KB)
    # What is stored with one way must not pass for that of another.
    names = ("tfidf", "levenshtein", "title", "embedding")
    assert len({make_targets(name, KB, Letters()).fingerprint for name in names}) == 4
    assert TfidfTargets(KB, (1, 3)).fingerprint != TfidfTargets(KB).fingerprint
