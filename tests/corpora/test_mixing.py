"""Several corpora as one stream of examples."""

from collections import Counter

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry

from spacy_bel.corpora.mixing import MixedReader
from spacy_bel.errors import SettingsError

NLP = spacy.blank("en")


class Corpus:
    """A reader of so many documents, that counts what has been read."""

    def __init__(self, name, size):
        self.name, self.size, self.read = name, size, 0

    def __call__(self, nlp):
        for number in range(self.size):
            self.read += 1
            doc = Doc(nlp.vocab, words=[f"{self.name}{number}"])
            yield Example(doc, doc.copy())


def texts(reader):
    return [example.reference.text.strip() for example in reader(NLP)]


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 7), min_size=1),
    st.booleans(),
    st.integers(0, 5),
)
def test_an_epoch_has_every_document_once(sizes, shuffle, seed):
    corpora = {name: Corpus(name, size) for name, size in sizes.items()}
    reader = MixedReader(corpora, shuffle=shuffle, seed=seed)
    expected = Counter(f"{name}{i}" for name, size in sizes.items() for i in range(size))
    assert Counter(texts(reader)) == Counter(texts(reader)) == expected


def test_corpora_take_turns_by_weight():
    mixed = texts(MixedReader({"a": Corpus("a", 4), "b": Corpus("b", 3)}))
    assert mixed == ["a0", "b0", "a1", "b1", "a2", "b2", "a3"]
    mixed = texts(MixedReader({"a": Corpus("a", 6), "b": Corpus("b", 2)}, {"a": 1, "b": 2}))
    assert Counter(mixed) == Counter([f"a{i}" for i in range(6)] + ["b0", "b1"] * 2)
    # Twice as many of b as of a, until b is at its end.
    assert Counter(text[0] for text in mixed[:6]) == {"b": 4, "a": 2}


def test_a_part_of_a_corpus_is_drawn_anew_in_each_epoch():
    reader = MixedReader({"a": Corpus("a", 400)}, {"a": 1.5}, seed=3)
    epochs = [Counter(texts(reader)) for _ in range(3)]
    for epoch in epochs:
        assert set(epoch.values()) == {1, 2} and len(epoch) == 400
        assert 540 < epoch.total() < 660
    assert len({frozenset(epoch.items()) for epoch in epochs}) == 3
    again = MixedReader({"a": Corpus("a", 400)}, {"a": 1.5}, seed=3)
    assert [Counter(texts(again)) for _ in range(3)] == epochs


def test_shuffling_differs_by_epoch_and_seed():
    def epochs(seed):
        reader = MixedReader({"a": Corpus("a", 9), "b": Corpus("b", 9)}, shuffle=True, seed=seed)
        return [texts(reader), texts(reader)]

    first, second = epochs(1)
    assert first != second and sorted(first) == sorted(second)
    assert epochs(1) == [first, second] != epochs(2)


def test_documents_are_read_as_they_are_needed():
    corpora = {"a": Corpus("a", 1000), "b": Corpus("b", 1000)}
    stream = MixedReader(corpora)(NLP)
    for _ in range(4):
        next(stream)
    assert (corpora["a"].read, corpora["b"].read) == (2, 2)


@pytest.mark.parametrize(
    ("readers", "weights", "match"),
    [
        ({}, None, "no corpus to read"),
        ({"a": Corpus("a", 1)}, {"b": 1.0}, "given for b, but the readers are a"),
        ({"a": Corpus("a", 1)}, {"a": 0.0}, "weight of a is 0"),
        ({"a": Corpus("a", 1)}, {"a": float("nan")}, "weight of a is nan"),
    ],
)
def test_settings_that_cannot_be_used(readers, weights, match):
    with pytest.raises(SettingsError, match=match):
        MixedReader(readers, weights)


CONFIG = """
[corpora]

[corpora.train]
@readers = "spacy_bel.Corpora.v1"
seed = 1

[corpora.train.weights]
two = 2.0

[corpora.train.readers]

[corpora.train.readers.one]
@readers = "spacy_bel.Corpus.v1"
path = "{folder}/one.jsonl"

[corpora.train.readers.two]
@readers = "spacy_bel.Corpus.v1"
path = "{folder}/two.jsonl"
gold_mentions = false
"""


def test_a_config_mixes_corpora(tmp_path):
    for name in ("one", "two"):
        entity = '{"start": 0, "end": 3, "label": "L", "code": "C"}'
        line = f'{{"id": "{name}", "text": "{name}", "entities": [{entity}]}}\n'
        (tmp_path / f"{name}.jsonl").write_text(line, encoding="utf-8")
    config = spacy.util.load_config_from_str(CONFIG.format(folder=tmp_path))
    mixed = list(registry.resolve(config)["corpora"]["train"](NLP))
    assert sorted(e.reference.text for e in mixed) == ["one", "two", "two"]
    assert {e.reference.text: len(e.predicted.ents) for e in mixed} == {"one": 1, "two": 0}
