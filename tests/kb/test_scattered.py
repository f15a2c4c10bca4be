"""Rows read from a file equal those of the array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.kb.scattered import ScatteredRows


@pytest.fixture(scope="module", params=[(50,), (50, 3)])
def arrays(request, tmp_path_factory):
    array = np.arange(np.prod(request.param), dtype=np.uint64).reshape(request.param)
    path = tmp_path_factory.mktemp("rows") / "array.npy"
    np.save(path, array)
    return array, path


@given(start=st.integers(0, 50), length=st.integers(0, 50))
def test_rows_equal_the_array(arrays, start, length):
    array, path = arrays
    end = min(50, start + length)
    opened = ScatteredRows(np.load(path, mmap_mode="r"))
    np.testing.assert_array_equal(opened.rows(start, end), array[start:end])
    np.testing.assert_array_equal(ScatteredRows(array).rows(start, end), array[start:end])


def test_a_row_and_numpy_indices(arrays):
    array, path = arrays
    opened = ScatteredRows(np.load(path, mmap_mode="r"))
    np.testing.assert_array_equal(opened.row(np.int32(49)), array[49])
    assert opened.rows(np.int32(3), np.int64(5)).dtype == array.dtype


def test_a_replaced_file_still_gives_its_old_content(tmp_path):
    path = tmp_path / "array.npy"
    np.save(path, np.arange(10))
    opened = ScatteredRows(np.load(path, mmap_mode="r"))
    np.save(tmp_path / "new.npy", np.zeros(10, int))
    (tmp_path / "new.npy").replace(path)
    assert opened.rows(0, 10).tolist() == list(range(10))


def test_an_empty_array(tmp_path):
    np.save(tmp_path / "array.npy", np.empty(0, np.int32))
    opened = ScatteredRows(np.load(tmp_path / "array.npy", mmap_mode="r"))
    assert opened.rows(0, 0).tolist() == []
