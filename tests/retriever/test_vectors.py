from __future__ import annotations

import builtins

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import KnowledgeBaseError, MissingExtraError, ModelError, SettingsError
from spacy_bel.retriever.vectors import HalfMatrix, index_vectors
from spacy_bel.retriever.vectors import exact as exact_module
from spacy_bel.retriever.vectors import scan as scan_module

EXACT = ["exact", "int8", "faiss-flat"]
KINDS = [*EXACT, "faiss-hnsw", "faiss-ivfpq"]


@pytest.fixture
def kind(request):
    if request.param.startswith("faiss"):
        pytest.importorskip("faiss")
    return request.param


def make_matrix(rows=3000, width=24, *, seed=0, dtype="float16", offset=0.0, norm=True):
    """Random rows, a tenth of them twice."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, width)).astype(np.float32) + np.float32(offset)
    vectors[rows // 2 : rows // 2 + rows // 10] = vectors[: rows // 10]
    if norm:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return HalfMatrix.from_vectors(vectors, dtype)


def make_queries(n=9, width=24, seed=1):
    queries = np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)


def stored_values(matrix):
    """The float32 values of 16-bit floats, from their bits."""
    if matrix.dtype == "float16":
        return matrix.array.astype(np.float64)
    return (matrix.array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def brute_force(matrix, queries, wanted, filters=None):
    values = stored_values(matrix)
    found = []
    for i, query in enumerate(queries.astype(np.float64)):
        scores = np.round(np.einsum("rw,w->r", values, query), 6)
        rows = np.arange(len(values))
        if filters is not None and filters[i] is not None:
            rows = rows[filters[i]]
        order = sorted(rows.tolist(), key=lambda row: -scores[row])
        if len(order) > wanted:
            last = scores[order[wanted - 1]]
            order = [row for row in order if scores[row] >= last]
        found.append({row: scores[row] for row in order})
    return found


def as_dicts(found):
    return [dict(zip(rows.tolist(), scores.tolist(), strict=True)) for rows, scores in found]


def assert_same(found, expected):
    for mine, reference in zip(as_dicts(found), expected, strict=True):
        assert mine.keys() == reference.keys()
        assert list(mine.values()) == pytest.approx([reference[row] for row in mine], abs=1.1e-6)


@pytest.mark.parametrize("kind", EXACT, indirect=True)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("wanted", [1, 10, 5000])
def test_equals_brute_force(kind, dtype, wanted):
    matrix, queries = make_matrix(dtype=dtype), make_queries()
    found = index_vectors(matrix, kind).search(queries, wanted)
    assert_same(found, brute_force(matrix, queries, wanted))


@pytest.mark.parametrize("kind", EXACT, indirect=True)
def test_vectors_that_are_not_normalised_and_far_from_the_origin(kind):
    matrix, queries = make_matrix(offset=4.0, norm=False), make_queries() * 7
    found = index_vectors(matrix, kind).search(queries, 8)
    assert_same(found, brute_force(matrix, queries, 8))


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_arithmetic_of_the_first_pass_does_not_matter(bfloat16, dtype):
    matrix, queries = make_matrix(dtype=dtype), make_queries()
    index = exact_module.ExactVectors(matrix)
    index.bfloat16 = bfloat16
    assert_same(index.search(queries, 5), brute_force(matrix, queries, 5))


@pytest.mark.parametrize("kind", EXACT, indirect=True)
def test_filters(kind):
    matrix, queries = make_matrix(), make_queries()
    random = np.random.default_rng(2)
    half, few, none = (random.random(len(matrix)) < share for share in (0.5, 0.01, 0.0))
    index = index_vectors(matrix, kind)
    for filters in (
        *([half] * 9, [few] * 9, [none] * 9, [few, none, few] * 3),
        [half, few, None, none, half, few, None, none, half],
    ):
        found = index.search(queries, 6, filters)
        assert_same(found, brute_force(matrix, queries, 6, filters))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(1, 70),
    st.sampled_from(["exact", "int8"]),
    st.integers(0, 5),
    st.sampled_from([1e-3, 1.0, 300.0]),
)
def test_any_shape_with_many_ties(rows, width, wanted, kind, seed, scale):
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, (rows, width)).astype(np.float32) * np.float32(scale)
    matrix = HalfMatrix.from_vectors(vectors, "float16")
    queries = random.integers(-2, 3, (4, width)).astype(np.float32)
    filters = [None, *(random.random((3, rows)) < 0.5)]
    found = index_vectors(matrix, kind).search(queries, wanted, filters)
    assert_same(found, brute_force(matrix, queries, wanted, filters))


def test_many_blocks(monkeypatch):
    """Rows that get better towards the end, so that the threshold rises in every block."""
    monkeypatch.setattr(scan_module, "BLOCK", 16)
    vectors = np.stack([np.linspace(-1, 1, 1000), np.linspace(0, 1e-3, 1000)], 1)
    matrix = HalfMatrix.from_vectors(vectors.astype(np.float32), "bfloat16")
    queries = np.array([[1, 0], [-1, 0], [0.01, 1], [0, 0]], np.float32)
    for kind in ("exact", "int8"):
        found = index_vectors(matrix, kind).search(queries, 5)
        assert_same(found, brute_force(matrix, queries, 5))
        assert len(found[3].rows) == 1000  # everything ties


@pytest.mark.parametrize("kind", ["faiss-hnsw", "faiss-ivfpq"], indirect=True)
def test_approximate_indexes(kind):
    random = np.random.default_rng(3)
    centers = random.standard_normal((300, 24)).astype(np.float32)
    vectors = np.repeat(centers, 10, 0) + 0.1 * random.standard_normal((3000, 24))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    matrix = HalfMatrix.from_vectors(vectors)
    queries = vectors[::100] * 0.98
    half = random.random(3000) < 0.5
    index = index_vectors(matrix, kind)
    for filters in (None, [half] * 30):
        found = as_dicts(index.search(queries, 5, filters))
        expected = brute_force(matrix, queries, 5, filters)
        hits = [len(a.keys() & b.keys()) / len(b) for a, b in zip(found, expected, strict=True)]
        assert np.mean(hits) > 0.8
        for mine, query in zip(found, queries.astype(np.float64), strict=True):
            for row, score in mine.items():  # scores are those of the stored vectors
                assert score == pytest.approx(stored_values(matrix)[row] @ query, abs=2e-6)
                assert filters is None or half[row]
    assert all(not found for found in as_dicts(index.search(queries, 5, [half & False] * 30)))


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_stored_arrays_give_the_same_index(kind):
    matrix, queries = make_matrix(), make_queries()
    index = index_vectors(matrix, kind)
    arrays = {name: array.copy() for name, array in index.arrays().items()}
    again = index_vectors(matrix, kind, arrays)
    assert as_dicts(again.search(queries, 9)) == as_dicts(index.search(queries, 9))


def test_mapped_vectors(tmp_path):
    matrix, queries = make_matrix(), make_queries()
    np.save(tmp_path / "vectors.npy", matrix.array)
    mapped = HalfMatrix(np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    for kind in ("exact", "int8"):
        found = index_vectors(mapped, kind).search(queries, 9)
        assert as_dicts(found) == as_dicts(index_vectors(matrix, kind).search(queries, 9))


def test_rounding_to_16_bits():
    values = np.array([[1.0, -2.5, 3.0078125, 1e-3]], np.float32)
    fine, wide = (HalfMatrix.from_vectors(values, d) for d in ("float16", "bfloat16"))
    assert fine.float32(slice(0, 1)).tolist() == values.astype(np.float16).astype(float).tolist()
    assert np.abs(wide.float32(slice(0, 1)) / values - 1).max() < 2**-8
    assert stored_values(wide).tolist() == wide.float32(slice(0, 1)).tolist()
    with pytest.raises(ModelError, match="too large for float16"):
        HalfMatrix.from_vectors(np.array([[1e6]], np.float32))
    with pytest.raises(ModelError, match="not finite"):
        HalfMatrix.from_vectors(np.array([[np.nan]], np.float32), "bfloat16")
    with pytest.raises(SettingsError, match="int4"):
        HalfMatrix.from_vectors(values, "int4")


def test_unknown_kinds_and_foreign_arrays():
    matrix = make_matrix()
    with pytest.raises(SettingsError, match="There is no index 'annoy'"):
        index_vectors(matrix, "annoy")
    with pytest.raises(KnowledgeBaseError, match="lacks 'int8_codes'"):
        index_vectors(matrix, "int8", {})


def test_faiss_is_optional(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'spacy-bel\[faiss\]'"):
        index_vectors(make_matrix(), "faiss-flat")


def test_a_damaged_index_of_faiss():
    pytest.importorskip("faiss")
    matrix = make_matrix()
    arrays = index_vectors(matrix, "faiss-flat").arrays()
    with pytest.raises(KnowledgeBaseError, match="cannot be read"):
        index_vectors(matrix, "faiss-flat", {"faiss_index": arrays["faiss_index"][:100]})
    with pytest.raises(KnowledgeBaseError, match="instead of"):
        index_vectors(make_matrix(rows=20), "faiss-flat", arrays)
