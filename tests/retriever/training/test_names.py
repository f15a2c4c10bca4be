from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import KnowledgeBaseError, UnknownGroupError
from spacy_bel.kb import Concept
from spacy_bel.kb.text import fold
from spacy_bel.retriever.training.names import TrainingNames

from .conftest import make_kb


def synonym_pairs(names):
    return [
        (names.codes[label], names.texts[a], names.texts[b])
        for label, a, b in names.synonyms.tolist()
    ]


def texts_of(names, code):
    label = list(names.codes).index(code)
    return [names.texts[text] for text in names.names_of(label).tolist()]


def shared(names, strings):
    texts = np.array([list(names.texts).index(string) for string in strings])
    return names.share_concept(texts).tolist()


ONTOLOGY = make_kb(
    [
        Concept("O:1", ("disease", "illness"), ("Root",)),
        Concept("O:2", ("heart disease", "cardiopathy"), ("Heart",), parents=("O:1",)),
        Concept("O:3", ("infarction",), ("Heart",), parents=("O:2", "O:404")),
        Concept("O:4", ("Stroke", "apoplexy"), ("Brain",), parents=("O:1",)),
    ]
)


def test_all_pairs_of_synonyms_below_the_limit():
    names = TrainingNames()
    names.add_kb(make_kb([Concept("C:1", ("A b", "a  B", "c", "d"), ("g",))]))
    names.pair(50, seed=0)
    assert synonym_pairs(names) == [("C:1", "a b", "c"), ("C:1", "a b", "d"), ("C:1", "c", "d")]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 80), st.integers(0, 5))
def test_no_more_pairs_than_wanted_all_different(count, limit, seed):
    strings = [f"name {i}" for i in range(count)]
    names = TrainingNames()
    names.add_kb(make_kb([Concept("C:1", tuple(strings), ("g",))]))
    names.pair(limit, seed)
    pairs = [pair[1:] for pair in synonym_pairs(names)]
    every = set(combinations(strings, 2))
    assert len(pairs) == len(set(pairs)) == min(limit, len(every)) and set(pairs) <= every


def test_chosen_pairs_depend_on_the_seed_only():
    kb = make_kb([Concept("C:1", tuple(f"name {i}" for i in range(40)), ("g",))])
    drawn = []
    for seed in (0, 0, 1):
        names = TrainingNames()
        names.add_kb(kb)
        names.pair(10, seed)
        drawn.append((synonym_pairs(names), names.fingerprint))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0] and drawn[0][1] != drawn[2][1]


def test_concepts_of_several_kbs_are_one_if_their_codes_are():
    names = TrainingNames()
    names.add_kb(
        make_kb([Concept("C:1", ("Heart", "cor"), ("g",)), Concept("C:2", ("x",), ("g",))])
    )
    names.add_kb(
        make_kb([Concept("C:1", ("kardia", "HEART"), ("g",)), Concept("D:1", ("cor",), ("g",))])
    )
    names.pair(50, 0)
    assert list(names.codes) == ["C:1", "C:2", "D:1"]
    assert texts_of(names, "C:1") == ["heart", "cor", "kardia"]
    assert len(set(names.texts)) == len(names.texts) == 4
    # "cor" names both C:1 and D:1, so that no name of C:1 may be a negative of it.
    assert shared(names, ["heart", "cor", "x"]) == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_groups_leave_concepts_out():
    names = TrainingNames()
    names.add_kb(ONTOLOGY, ["Brain"])
    names.pair(50, 0)
    assert synonym_pairs(names) == [("O:4", "stroke", "apoplexy")]
    with pytest.raises(UnknownGroupError, match="Liver"):
        TrainingNames().add_kb(ONTOLOGY, ["Liver"])


@pytest.mark.parametrize(
    ("ancestors", "further"),
    [
        (0, set()),
        (
            1,
            {
                ("O:2", "heart disease", "disease"),
                ("O:3", "infarction", "heart disease"),
                ("O:4", "stroke", "disease"),
            },
        ),
        (
            2,
            {
                ("O:2", "heart disease", "disease"),
                ("O:3", "infarction", "heart disease"),
                ("O:3", "infarction", "disease"),
                ("O:4", "stroke", "disease"),
            },
        ),
    ],
)
def test_preferred_names_of_ancestors_are_positives(ancestors, further):
    names = TrainingNames()
    names.add_kb(ONTOLOGY, ancestors=ancestors)
    names.pair(50, 0)
    own = {
        ("O:1", "disease", "illness"),
        ("O:2", "heart disease", "cardiopathy"),
        ("O:4", "stroke", "apoplexy"),
    }
    assert Counter(synonym_pairs(names)) == Counter(own | further)


def test_ancestors_are_no_negatives_but_siblings_are():
    names = TrainingNames()
    names.add_kb(ONTOLOGY, ["Heart", "Brain"], ancestors=1)
    names.pair(50, 0)
    # The root is in none of the groups: it is a positive and gives no names of its own.
    assert ("O:2", "heart disease", "disease") in synonym_pairs(names)
    assert texts_of(names, "O:1") == []
    strings = ["disease", "cardiopathy", "infarction", "apoplexy"]
    assert shared(names, strings) == [[1, 1, 0, 1], [1, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]]


def test_a_circle_of_parents_ends():
    names = TrainingNames()
    circle = [
        Concept("O:1", ("a",), ("g",), parents=("O:2",)),
        Concept("O:2", ("b",), ("g",), parents=("O:1",)),
    ]
    names.add_kb(make_kb(circle), ancestors=3)
    names.pair(50, 0)
    assert set(synonym_pairs(names)) == {("O:1", "a", "b"), ("O:2", "b", "a")}


def test_mentions():
    names = TrainingNames()
    names.add_kb(ONTOLOGY)
    uses = [("Big Infarct", "O:3"), ("big infarct", "O:3"), ("stroke", "O:4"), ("?", "O:9")]
    names.add_mentions([*uses, ("infarction", "O:3"), (" ", "O:3")])
    names.pair(50, 0)
    found = [(names.codes[label], names.texts[text]) for label, text in names.mentions.tolist()]
    # Each use counts; a mention that is the only name of its concept teaches nothing.
    assert found == [("O:3", "big infarct"), ("O:3", "big infarct"), ("O:4", "stroke")]
    assert texts_of(names, "O:3") == ["infarction"]
    assert shared(names, ["big infarct", "infarction"]) == [[1, 1], [1, 1]]


def test_nothing_to_learn_from():
    single = make_kb([Concept("C:1", ("a",), ("g",)), Concept("C:2", ("b",), ("g",))])
    names = TrainingNames()
    names.add_kb(single)
    with pytest.raises(KnowledgeBaseError, match="No concept has two names"):
        names.pair(50, 0)
    names.add_mentions([("c", "C:1")])
    names.pair(50, 0)
    assert len(names.synonyms) == 0 and len(names.mentions) == 1


SPELLINGS = st.sampled_from(["a", "A", "b", "c c", "C  c", "d", "e"])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["C1", "C2", "C3", "C4"]),
            st.lists(SPELLINGS, min_size=1, max_size=4),
            min_size=1,
        ),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.tuples(st.one_of(SPELLINGS, st.just("m")), st.sampled_from(["C1", "C4", "C9"]))),
)
def test_equals_plain_sets(kbs, mentions):
    names = TrainingNames()
    of_code: dict[str, dict[str, None]] = {}
    for concepts in kbs:
        names.add_kb(
            make_kb([Concept(c, tuple(strings), ("g",)) for c, strings in concepts.items()])
        )
        for code, strings in concepts.items():
            of_code.setdefault(code, {}).update(dict.fromkeys(map(fold, strings)))
    names.add_mentions(mentions)
    try:
        names.pair(1000, 0)
    except KnowledgeBaseError:
        assert all(len(strings) == 1 for strings in of_code.values())
        return
    pairs = [(c, a, b) for c, strings in of_code.items() for a, b in combinations(strings, 2)]
    assert Counter(synonym_pairs(names)) == Counter(pairs)
    codes_of: dict[str, set[str]] = {}
    for code, strings in of_code.items():
        for string in strings:
            codes_of.setdefault(string, set()).add(code)
    for mention, code in mentions:
        if code in of_code:
            codes_of.setdefault(fold(mention), set()).add(code)
    strings = sorted(codes_of)
    expected = [[bool(codes_of[a] & codes_of[b]) for b in strings] for a in strings]
    assert shared(names, strings) == expected
