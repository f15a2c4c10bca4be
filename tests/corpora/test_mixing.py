"""Several corpora as one stream of examples."""

from collections import Counter

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
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


class Linked(Corpus):
    """A reader of documents with so many mentions each, of which those with a code count."""

    def __init__(self, name, mentions):
        super().__init__(name, len(mentions))
        self.mentions = mentions

    def __call__(self, nlp):
        for number, count in enumerate(self.mentions):
            self.read += 1
            doc = Doc(nlp.vocab, words=[f"{self.name}{number}", *["m"] * count, "nil"])
            ents = [Span(doc, i, i + 1, label="L", kb_id="C") for i in range(1, count + 1)]
            doc.set_ents([*ents, Span(doc, count + 1, count + 2, label="L", kb_id="NIL")])
            yield Example(doc, doc.copy())


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
    st.integers(0, 2),
)
def test_alternating_documents_repeats_the_smaller_corpora(sizes, epochs):
    reader = MixedReader({n: Corpus(n, s) for n, s in sizes.items()}, alternate="documents")
    # The reference: each corpus as a cycle, taken in turns as often as the largest is long.
    expected = [f"{n}{i % s}" for i in range(max(sizes.values())) for n, s in sizes.items()]
    for _ in range(epochs + 1):
        assert texts(reader) == expected


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any), st.integers(1, 30))
def test_alternating_mentions_gives_as_many_of_both(human, synthetic):
    corpora = {"human": Linked("h", human), "synthetic": Linked("s", [1] * synthetic)}
    reader = MixedReader(corpora, alternate="mentions")
    counts = Counter()
    seen = {"h": set(), "s": set()}
    for example in reader(NLP):
        name = example.reference.text[0]
        counts[name] += len(example.reference.ents) - 1
        seen[name].add(example.reference[0].text)
        assert abs(counts["h"] - counts["s"]) <= max(human)
    assert {name: len(documents) for name, documents in seen.items()} == {
        "h": len(human),
        "s": synthetic,
    }
    assert 0 <= abs(counts["h"] - counts["s"]) < max(human)
    assert max(counts.values()) < max(sum(human), synthetic) + max(human)


def test_alternating_reads_documents_as_they_are_needed():
    corpora = {"a": Corpus("a", 1000), "b": Corpus("b", 1000)}
    stream = MixedReader(corpora, alternate="documents")(NLP)
    for _ in range(4):
        next(stream)
    assert max(corpora["a"].read, corpora["b"].read) <= 3


@pytest.mark.parametrize(("unit", "what"), [("documents", "documents"), ("mentions", "mentions")])
def test_a_corpus_without_anything_cannot_alternate(unit, what):
    empty = Corpus("b", 0) if unit == "documents" else Linked("b", [0, 0])
    reader = MixedReader({"a": Linked("a", [1, 1]), "b": empty}, alternate=unit)
    with pytest.raises(SettingsError, match=f"corpus b has no {what}"):
        texts(reader)


def test_settings_of_alternation():
    readers = {"a": Corpus("a", 1)}
    with pytest.raises(SettingsError, match="leave out the weights"):
        MixedReader(readers, {"a": 2.0}, alternate="documents")
    with pytest.raises(SettingsError, match="alternate is 'sentences'"):
        MixedReader(readers, alternate="sentences")
