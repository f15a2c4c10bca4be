from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.retriever import postings
from spacy_bel.retriever.postings import Postings


def random_rows(seed, rows, ngrams, density):
    random = np.random.default_rng(seed)
    return sp.random(
        rows, ngrams, density, "csr", np.float32, random, data_rvs=random.standard_normal
    )


def copied(scores):
    return [row.copy() for row in scores]


@pytest.fixture(params=["into one array", "public product"])
def way(request, monkeypatch):
    """Both ways to add up; the second is for a scipy without the function the first one calls."""
    if request.param == "public product":
        monkeypatch.setattr(postings, "csc_matvec", None)
    else:
        assert postings.csc_matvec is not None
    return request.param


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 40),
    st.integers(0, 6),
    st.integers(1, 30),
    st.sampled_from([0.0, 0.1, 0.6, 1.0]),
)
def test_dot_products_with_every_name(seed, names, mentions, ngrams, density):
    names = random_rows(seed, names, ngrams, density)
    mentions = random_rows(seed + 1, mentions, ngrams, density)
    found = copied(Postings.from_vectors(names).scores(mentions))
    expected = mentions.toarray().astype(np.float64) @ names.toarray().astype(np.float64).T
    assert len(found) == mentions.shape[0]
    for row, reference in zip(found, expected, strict=True):
        assert row.dtype == np.float32 and row == pytest.approx(reference, abs=1e-5)


def test_both_ways_give_the_same_bits(monkeypatch):
    table = Postings.from_vectors(random_rows(0, 500, 200, 0.2))
    mentions = random_rows(1, 20, 200, 0.3)
    first = copied(table.scores(mentions))
    monkeypatch.setattr(postings, "csc_matvec", None)
    assert all(map(np.array_equal, copied(table.scores(mentions)), first))


def test_a_mention_without_ngrams_scores_zero_after_another(way):
    names = random_rows(0, 50, 20, 0.5)
    mentions = sp.vstack([names[:1], sp.csr_matrix((1, 20), dtype=np.float32)], format="csr")
    first, second = copied(Postings.from_vectors(names).scores(mentions))
    assert first.any() and not second.any() and second.shape == (50,)


def test_stored_arrays_may_be_read_only(way):
    names, mentions = random_rows(0, 30, 20, 0.5), random_rows(1, 3, 20, 0.5)
    arrays = Postings.from_vectors(names).arrays
    for array in arrays.values():
        array.flags.writeable = False
    found = copied(Postings(arrays, 30).scores(mentions))
    assert np.allclose(found, (mentions @ names.T).toarray(), atol=1e-5)


def test_searches_at_the_same_time_do_not_mix(way):
    """Two searches take turns, in one thread and in several."""
    table = Postings.from_vectors(random_rows(0, 300, 100, 0.3))
    one, two = random_rows(1, 40, 100, 0.3), random_rows(2, 40, 100, 0.3)
    expected = copied(table.scores(one)), copied(table.scores(two))
    for first, second, *references in zip(
        table.scores(one), table.scores(two), *expected, strict=True
    ):
        assert np.array_equal(first, references[0]) and np.array_equal(second, references[1])

    start, found = threading.Barrier(2), {}

    def work(name, mentions):
        start.wait()
        found[name] = copied(table.scores(mentions))

    threads = [threading.Thread(target=work, args=a) for a in ((0, one), (1, two))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in (0, 1):
        assert all(map(np.array_equal, found[name], expected[name]))
