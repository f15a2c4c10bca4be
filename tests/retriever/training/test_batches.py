from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.kb import Concept
from spacy_bel.kb.text import fold
from spacy_bel.retriever.training.batches import epoch_batches
from spacy_bel.retriever.training.mining import confusable_concepts
from spacy_bel.retriever.training.names import TrainingNames

from .conftest import make_kb

CONCEPTS = {f"C{i}": tuple(f"n{(i * j) % 23}" for j in range(1, 2 + i % 4)) for i in range(30)}
MENTIONS = [(f"mention {i}", f"C{i}") for i in range(10)]


def make_names(mentions=()):
    names = TrainingNames()
    names.add_kb(make_kb([Concept(code, strings, ("g",)) for code, strings in CONCEPTS.items()]))
    names.add_mentions(mentions)
    names.pair(50, 0)
    return names


def make_batches(names, seed=0, **settings):
    options = {
        "steps": 4,
        "batch_size": 16,
        "mention_share": 0.5,
        "neighbours": None,
        "hard_negatives": 0,
        **settings,
    }
    return list(epoch_batches(names, rng=np.random.default_rng(seed), **options))


def codes_of():
    """Every string with the codes that it names, mentions included."""
    found: dict[str, set[str]] = {}
    for code, strings in CONCEPTS.items():
        for string in strings:
            found.setdefault(fold(string), set()).add(code)
    for mention, code in MENTIONS:
        found.setdefault(mention, set()).add(code)
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 0.4, 1.0]))
def test_masks_say_what_the_names_mean(seed, hard_negatives, mined, share):
    names = make_names(MENTIONS)
    random = np.random.default_rng(seed)
    neighbours = random.integers(-1, len(names.codes), (len(names.codes), 5)) if mined else None
    codes = codes_of()
    for batch in make_batches(
        names, seed, neighbours=neighbours, hard_negatives=hard_negatives, mention_share=share
    ):
        strings = [names.texts[text] for text in batch.texts.tolist()]
        assert len(strings) == 16
        for i, one in enumerate(strings):
            for j, other in enumerate(strings):
                together = codes[one] & codes[other]
                assert not (batch.positive[i, j] and (one == other or not together))
                assert not (batch.negative[i, j] and together)
                # What shares no concept is always told apart.
                assert batch.negative[i, j] or together
        assert (batch.positive == batch.positive.T).all()


def test_the_same_seed_gives_the_same_batches():
    names = make_names(MENTIONS)
    first, again, other = (make_batches(names, seed) for seed in (1, 1, 2))
    assert [b.texts.tolist() for b in first] == [b.texts.tolist() for b in again]
    assert [b.texts.tolist() for b in first] != [b.texts.tolist() for b in other]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 0.25), (1.0, 1.0)])
def test_share_of_concepts_that_come_with_a_mention(share, expected):
    names = make_names(MENTIONS)
    batches = make_batches(names, mention_share=share, steps=400)
    texts = [names.texts[text] for batch in batches for text in batch.texts.tolist()]
    # A concept of one name comes with two names, a mention and a name, so half are mentions.
    found = sum(text.startswith("mention") for text in texts) / (len(texts) / 2)
    assert found == pytest.approx(expected, abs=0.03)


def test_every_pair_comes_before_any_comes_again():
    names = make_names()
    pairs = {(a, b) for _, a, b in names.synonyms.tolist()}
    steps = -(-len(names.synonyms) // 8)
    texts = np.concatenate([batch.texts for batch in make_batches(names, steps=steps)])
    assert {tuple(pair) for pair in texts.reshape(-1, 2).tolist()} == pairs


def test_mentions_alone_are_enough():
    names = TrainingNames()
    names.add_kb(make_kb([Concept("C1", ("a",), ("g",)), Concept("C2", ("b",), ("g",))]))
    names.add_mentions([("x", "C1"), ("y", "C2")])
    names.pair(50, 0)
    (batch,) = make_batches(names, steps=1, batch_size=4, mention_share=0.0)
    strings = [names.texts[text] for text in batch.texts.tolist()]
    assert sorted(zip(strings[::2], strings[1::2], strict=True)) == [("x", "a"), ("y", "b")]


def test_confusable_concepts_follow_into_the_batch():
    names = make_names()
    neighbours = np.full((len(names.codes), 3), -1)
    neighbours[:, 0] = (np.arange(len(names.codes)) + 1) % len(names.codes)
    followed = 0
    for batch in make_batches(names, neighbours=neighbours, hard_negatives=2, steps=10):
        strings = {names.texts[text] for text in batch.texts.tolist()}
        first = names.texts[int(batch.texts[0])], names.texts[int(batch.texts[1])]
        owners = [i for i in range(30) if set(first) <= set(CONCEPTS[f"C{i}"])]
        followed += any(strings & set(CONCEPTS[f"C{(i + 1) % 30}"]) for i in owners)
    assert followed == 10


class FakeEncoder:
    """Vectors from a table, as an encoder would give them."""

    def __init__(self, seed):
        self.seed = seed

    def encode(self, texts, *, progress=False):
        return np.stack([self.vector(text) for text in texts])

    def vector(self, text):
        return np.random.default_rng([self.seed, *map(ord, text)]).normal(size=4).astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 60))
def test_mined_neighbours_by_brute_force(seed, concepts):
    """Distinct names, so that each concept's compared name can be told from the draws."""
    names = TrainingNames()
    names.add_kb(make_kb([Concept(f"C{i}", (f"n{i}", f"n{i}"), ("g",)) for i in range(40)]))
    names.add_mentions([("m", "C0")])
    names.pair(50, 0)
    encoder = FakeEncoder(seed)
    found = confusable_concepts(encoder, names, concepts, np.random.default_rng(seed), nearest=5)
    drawn = np.flatnonzero((found >= 0).any(axis=1)).tolist()
    assert len(drawn) == min(concepts, 40)
    unit = {}
    for label in drawn:
        vector = encoder.vector(names.codes[label].replace("C", "n"))
        unit[label] = vector / np.linalg.norm(vector)
    for label in drawn:
        others = sorted(
            (other for other in drawn if other != label), key=lambda o: -(unit[label] @ unit[o])
        )
        expected = set(others[:5])
        assert set(found[label][found[label] >= 0].tolist()) == expected


def test_concepts_that_share_the_compared_name_are_not_confused():
    names = TrainingNames()
    same = [Concept(f"C{i}", ("same",), ("g",)) for i in range(3)]
    names.add_kb(make_kb([*same, Concept("D", ("other",), ("g",))]))
    names.add_mentions([("m", "D")])
    names.pair(50, 0)
    found = confusable_concepts(FakeEncoder(0), names, 10, np.random.default_rng(0))
    label = list(names.codes).index("D")
    for row in range(3):
        row += row >= label
        assert [code for code in found[row].tolist() if code >= 0] == [label]
