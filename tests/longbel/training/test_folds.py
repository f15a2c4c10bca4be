"""Folds over documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.errors import SettingsError
from spacy_bel.longbel.training.folds import draw_folds


def documents(pairs):
    return [CorpusDocument(identifier, f"text {text}") for identifier, text in pairs]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), min_size=6, max_size=20),
    st.integers(0, 3),
)
def test_every_document_is_held_out_once_and_never_known_to_its_model(pairs, seed):
    corpus = documents(pairs)
    try:
        folds = draw_folds(corpus, 3, seed)
    except SettingsError:
        return  # too many copies; `assign_folds` has tests of its own
    assert sorted(i for fold in folds for i in fold.held_out) == list(range(len(corpus)))
    for number, fold in enumerate(folds):
        assert fold.number == number
        assert sorted([*fold.training, *fold.held_out]) == list(range(len(corpus)))
        known = [corpus[i] for i in fold.training]
        for document in (corpus[i] for i in fold.held_out):
            assert document.id not in {each.id for each in known}
            assert document.text not in {each.text for each in known}
    assert draw_folds(corpus, 3, seed) == folds


def test_seeds_draw_differently():
    corpus = documents(zip("abcdefgh", range(8), strict=True))
    assert len({tuple(draw_folds(corpus, 2, seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("number", "folds", "fix"),
    [
        (1, 5, "1 different document cannot be drawn into 5 folds: give two documents at least"),
        (0, 2, "0 different documents"),
        (3, 5, "3 different documents cannot be drawn into 5 folds: use from 2 to 3 folds"),
        (3, 1, "use from 2 to 3 folds"),
    ],
)
def test_too_few_documents_are_named_with_the_fix(number, folds, fix):
    with pytest.raises(SettingsError, match=fix):
        draw_folds(documents(zip("abc"[:number], range(number), strict=True)), folds)
