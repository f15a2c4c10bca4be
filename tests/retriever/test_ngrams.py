from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError, SettingsError
from spacy_bel.kb import Concept, KnowledgeBase, KnowledgeBaseBuilder
from spacy_bel.kb.text import fold
from spacy_bel.retriever import ngrams, postings
from spacy_bel.retriever.ngrams import NgramIndex, NgramRetriever

WORDS = [
    *("heart", "attack", "failure", "renal", "cardiac", "acute", "chronic"),
    *("disease", "syndrome", "of", "the", "breast", "Cancer"),
]


def make_kb(rows) -> KnowledgeBase:
    builder = KnowledgeBaseBuilder("toy")
    for code, names, groups in rows:
        builder.add(Concept(code, tuple(names), tuple(groups)))
    return builder.build()


@pytest.fixture(scope="module")
def kb() -> KnowledgeBase:
    """300 concepts of one to four names made of a few words, so that many names tie."""
    random = np.random.default_rng(0)
    rows = []
    for i in range(300):
        names = [
            " ".join(random.choice(WORDS, size=random.integers(1, 5)))
            for _ in range(random.integers(1, 5))
        ]
        rows.append((f"C{i:03}", names, random.choice(["A", "B", "C"], size=2)))
    return make_kb(rows)


@pytest.fixture(scope="module")
def index(kb) -> NgramIndex:
    return NgramIndex(kb)


def brute_force(kb, mentions, k, groups=None, **options):
    """Score every name of every concept densely, then sort by the documented rules."""
    names = [(code, name) for code in kb for name in kb[code].names]
    forms = sorted({fold(name) for _, name in names})
    vectorizer = TfidfVectorizer(
        **{"analyzer": "char_wb", "ngram_range": (2, 4), "sublinear_tf": True, **options}
    )
    matrix = vectorizer.fit_transform(forms).toarray()
    found = []
    for mention in mentions:
        cosines = matrix @ vectorizer.transform([fold(mention)]).toarray()[0]
        scores = dict(zip(forms, cosines, strict=True))
        rows = []
        for code, name in names:
            score = round(scores[fold(name)], 6)
            if score > 0 and (groups is None or set(groups) & set(kb[code].groups)):
                position = kb[code].names.index(name)
                exact = fold(name) == fold(mention)
                rows.append((-score, not exact, position > 0, code, position, name))
        best = {}
        for negative, *_, code, _, name in sorted(rows):
            best.setdefault(code, (code, name, -negative))
        found.append(list(best.values())[:k])
    return found


def assert_same(found, expected):
    assert [(code, name) for code, name, _ in found] == [(code, name) for code, name, _ in expected]
    assert [s for *_, s in found] == pytest.approx([s for *_, s in expected], abs=2e-6)


MENTIONS = [
    *("heart attack", "HEART  Attack", "renal", "chronic disease of the heart", "hart atack"),
    *("cancer breast", "xyz", "a", "", " \t", "é", "心", "syndrome" * 30, "of the", "\ud800"),
]


@pytest.mark.parametrize("k", [1, 5, 25, 1000])
def test_equals_brute_force(kb, index, k):
    expected = brute_force(kb, MENTIONS, k)
    for found, reference in zip(index.search(MENTIONS, k=k), expected, strict=True):
        assert_same(found, reference)


@pytest.mark.parametrize(
    "options",
    [
        {"ngram_range": (3, 3)},
        {"analyzer": "char", "ngram_range": (1, 3)},
        {"min_df": 5},
        {"max_features": 40},
        {"sublinear": False},
    ],
)
def test_options_mean_what_they_mean_in_sklearn(kb, options):
    found = NgramIndex(kb, **options).search(MENTIONS, k=7)
    if "sublinear" in options:
        options = {"sublinear_tf": options["sublinear"]}
    expected = brute_force(kb, MENTIONS, 7, **options)
    for candidates, reference in zip(found, expected, strict=True):
        assert_same(candidates, reference)


@pytest.mark.parametrize("groups", [["A"], ["B", "C"], ["A", "B", "C"], []])
def test_groups_filter_before_the_best_are_chosen(kb, index, groups):
    masks = np.tile(kb.group_mask(groups), (len(MENTIONS), 1))
    expected = brute_force(kb, MENTIONS, 10, groups)
    for found, reference in zip(index.search(MENTIONS, masks, k=10), expected, strict=True):
        assert_same(found, reference)
        assert all(set(kb[code].groups) & set(groups) for code, *_ in found)


def test_each_mention_has_its_own_groups(kb, index):
    masks = np.stack([kb.group_mask([group]) for group in ("A", "B", "A")])
    found = index.search(["heart", "heart", "renal"], masks, k=5)
    for mention, group, candidates in zip(["heart", "heart", "renal"], "ABA", found, strict=True):
        assert_same(candidates, brute_force(kb, [mention], 5, [group])[0])
    with pytest.raises(ValueError, match="3 mentions"):
        index.search(["a", "b", "c"], masks[:2])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(MENTIONS)), max_size=8))
def test_a_result_depends_on_no_other_mention(index, mentions):
    assert index.search(mentions, k=9) == [index.search([m], k=9)[0] for m in mentions]


def test_many_mentions_are_searched_in_portions(kb, index, monkeypatch):
    masks = np.stack([kb.group_mask(["A", "B", "C"][i % 3 :]) for i in range(len(MENTIONS))])
    expected = index.search(MENTIONS, masks)
    monkeypatch.setattr(ngrams, "_AT_ONCE", 2)
    assert index.search(MENTIONS, masks) == expected


def test_another_scipy_gives_the_same(kb, index, monkeypatch):
    masks = np.tile(kb.group_mask(["B"]), (len(MENTIONS), 1))
    expected = index.search(MENTIONS), index.search(MENTIONS, masks, k=3)
    monkeypatch.setattr(postings, "csc_matvec", None)
    assert (index.search(MENTIONS), index.search(MENTIONS, masks, k=3)) == expected


def test_threads_may_search_one_index(index):
    parts = [MENTIONS[i:] + MENTIONS[:i] for i in range(len(MENTIONS))] * 3
    expected = [index.search(part) for part in parts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(index.search, parts)) == expected


def test_the_order_of_building_does_not_matter(kb):
    rows = [(code, kb[code].names, kb[code].groups) for code in kb]
    again = NgramIndex(make_kb(rows[::-1]))
    assert again.search(MENTIONS) == NgramIndex(kb).search(MENTIONS)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=3), min_size=1, max_size=6
    ),
    st.text(max_size=6),
)
def test_any_unicode(names, mention):
    try:
        kb = make_kb([(f"C{i}", group, ["g"]) for i, group in enumerate(names)])
    except KnowledgeBaseError:  # nothing but whitespace and control characters
        return
    index = NgramIndex(kb)
    assert_same(index.search([mention], k=3)[0], brute_force(kb, [mention], 3)[0])
    for code in kb:
        name = kb.preferred_name(code)
        first = index.search([f" {name} "], k=1)[0][0]
        assert fold(first[1]) == fold(name) and first[2] == pytest.approx(1)


def test_ties():
    kb = make_kb(
        [
            ("C4", ["b a"], ["g"]),  # the same n-grams as "a b"
            ("C3", ["x", "A  b"], ["g"]),  # exact surface
            ("C2", ["y", "a b"], ["g"]),  # exact surface, smaller code
            ("C5", ["A B"], ["g"]),  # exact surface and preferred
            ("C1", ["z", "b a"], ["g"]),
        ]
    )
    (found,) = NgramIndex(kb).search(["a b"])
    assert found == [
        *(("C5", "A B", 1.0), ("C2", "a b", 1.0), ("C3", "A  b", 1.0)),
        *(("C4", "b a", 1.0), ("C1", "b a", 1.0)),
    ]
    assert NgramIndex(kb).search(["a b"], k=2) == [found[:2]]


def test_one_entry_per_concept_with_its_best_name():
    kb = make_kb([("C1", ["heart", "heart attack", "attack"], ["g"]), ("C2", ["hurt"], ["g"])])
    (found,) = NgramIndex(kb).search(["heart attack"])
    assert [code for code, *_ in found] == ["C1", "C2"]
    assert found[0][1:] == ("heart attack", 1.0)


def test_results_can_be_changed_without_changing_others(index):
    first, second = index.search(["renal", "renal"])
    first.clear()
    assert second


@pytest.mark.parametrize("k", [0, -1])
def test_k_is_positive(index, k):
    with pytest.raises(ValueError, match="at least one"):
        index.search(["a"], k=k)


def test_no_ngrams_left(kb):
    with pytest.raises(KnowledgeBaseError, match="lower min_df"):
        NgramIndex(kb, min_df=10_000)


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_saved_indexes_give_the_same_results(kb, tmp_path, way):
    index = NgramIndex(kb, ngram_range=(2, 3), min_df=2, max_features=100, sublinear=False)
    if way == "disk":
        index.to_disk(tmp_path / "index")
        again = NgramIndex.from_disk(tmp_path / "index", kb)
        assert {f.suffix for f in (tmp_path / "index").iterdir()} == {".json", ".npy"}
    else:
        again = NgramIndex.from_bytes(index.to_bytes(), kb)
    assert again.search(MENTIONS) == index.search(MENTIONS)
    assert again.options == index.options and len(again) == len(index)
    assert again.to_bytes() == index.to_bytes()


def test_an_index_belongs_to_one_knowledge_base(kb, tmp_path):
    index = NgramIndex(kb)
    other = make_kb([("C1", ["heart"], ["g"])])
    index.to_disk(tmp_path / "index")
    with pytest.raises(FingerprintMismatchError, match=r"another knowledge base.*build it again"):
        NgramIndex.from_disk(tmp_path / "index", other)
    with pytest.raises(FingerprintMismatchError):
        NgramIndex.from_bytes(index.to_bytes(), other)


def test_damaged_and_foreign_directories(kb, tmp_path):
    NgramIndex(kb).to_disk(tmp_path / "index")
    kb.to_disk(tmp_path / "kb")
    with pytest.raises(KnowledgeBaseError, match="no n-gram index"):
        NgramIndex.from_disk(tmp_path / "kb", kb)
    with pytest.raises(KnowledgeBaseError):
        KnowledgeBase.from_disk(tmp_path / "index")
    meta = json.loads((tmp_path / "index" / "meta.json").read_text())
    assert meta["kb_fingerprint"] == kb.fingerprint
    (tmp_path / "index" / "weights.npy").write_bytes(b"")
    with pytest.raises(KnowledgeBaseError, match=r"weights\.npy"):
        NgramIndex.from_disk(tmp_path / "index", kb)


def ends_reference(kb, mention, char_side, char_count, ngram_range):
    """Vectors of the ends of names as published, multiplied out; scores brought to 0 to 1."""
    half = char_count // 2
    cut = {
        "none": [lambda s: s],
        "front": [lambda s: s[:char_count]],
        "back": [lambda s: s[-char_count:]],
        "separate": [lambda s: s[:half], lambda s: s[-half:]],
        "together": [lambda s: s[:half], lambda s: s[-half:]],
    }[char_side]
    rows = [(code, name) for code in kb for name in kb[code].names]
    forms = sorted({fold(name) for _, name in rows})

    def fitted(strings):
        return TfidfVectorizer(analyzer="char", ngram_range=ngram_range).fit(strings)

    if char_side == "together":
        shared = fitted([part(form) for part in cut for form in forms])
        names = sum(shared.transform(map(part, forms)).toarray() for part in cut)
        query = sum(shared.transform([part(fold(mention))]).toarray()[0] for part in cut)
        cosines = names @ query / 4
    else:
        cosines = np.zeros(len(forms))
        for part in cut:
            one = fitted([part(form) for form in forms])
            names = one.transform(map(part, forms)).toarray()
            cosines += names @ one.transform([part(fold(mention))]).toarray()[0] / len(cut)
    scores = dict(zip(forms, cosines, strict=True))
    best = {}
    for code, name in rows:
        score = round(scores[fold(name)], 6)
        if score > 0:
            best[code] = max(score, best.get(code, 0))
    return best


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.text("abc d", min_size=3, max_size=9), min_size=1, max_size=3),
        min_size=2,
        max_size=7,
    ),
    st.text("abc d", max_size=12),
    st.sampled_from(["none", "front", "back", "separate", "together"]),
    st.integers(4, 8),
    st.sampled_from([(1, 1), (1, 2), (2, 2)]),
)
def test_ends_of_names_are_compared_as_published(names, mention, side, count, ngram_range):
    options = {"ngram_range": ngram_range, "analyzer": "char", "sublinear": False}
    try:
        kb = make_kb([(f"C{i}", of_concept, ["g"]) for i, of_concept in enumerate(names)])
        index = NgramIndex(kb, char_side=side, char_count=count, **options)
    except KnowledgeBaseError:  # nothing but whitespace, or no n-gram left
        return
    expected = ends_reference(kb, mention, side, count, ngram_range)
    (found,) = index.search([mention], k=len(kb))
    # A score of half a millionth may be rounded to nothing.
    missing = expected.keys() - {code for code, *_ in found}
    assert all(expected[code] <= 2e-6 for code in missing)
    for code, _, score in found:
        assert 0 < score <= 1 and score == pytest.approx(expected[code], abs=2e-6)
    assert [s for *_, s in found] == sorted((s for *_, s in found), reverse=True)


def test_the_published_settings():
    assert NgramRetriever.published("separate", 12) == NgramRetriever(
        ngram_range=(3, 3),
        analyzer="char",
        min_df=50,
        max_features=50_000,
        sublinear=False,
        char_side="separate",
        char_count=12,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ngram_range": (3, 2)}, "ngram_range"),
        ({"ngram_range": (0, 2)}, "ngram_range"),
        ({"analyzer": "word"}, "analyzer"),
        ({"min_df": 0}, "at least 1"),
        ({"max_features": 0}, "at least 1"),
        ({"char_side": "middle"}, "char_side"),
        ({"char_side": "front", "char_count": 0}, "char_count"),
        ({"char_side": "separate", "char_count": 1}, "char_count"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(SettingsError, match=message):
        NgramRetriever(**settings)


@pytest.mark.parametrize("side", ["none", "separate", "together"])
def test_retrievers(kb, tmp_path, side):
    retriever = NgramRetriever(ngram_range=[2, 3], char_side=side, char_count=8)
    assert pickle.loads(pickle.dumps(retriever)) == retriever
    index = retriever.build(kb)
    found = index.search(MENTIONS)
    index.to_disk(tmp_path / "index")
    assert retriever.from_disk(tmp_path / "index", kb).search(MENTIONS) == found
    assert retriever.from_bytes(index.to_bytes(), kb).search(MENTIONS) == found
    with pytest.raises(FingerprintMismatchError, match="char_count 8, not 16"):
        NgramRetriever(ngram_range=(2, 3), char_side=side).from_disk(tmp_path / "index", kb)


def test_indexes_of_other_versions(kb):
    from spacy_bel.kb import storage

    index = NgramIndex(kb)
    meta, columns = storage.from_bytes(index.to_bytes())
    del columns.arrays["row_ranks"]
    meta["files"] = storage.describe(columns)
    meta["fingerprint"] = storage.fingerprint(meta["files"], [])
    with pytest.raises(KnowledgeBaseError, match="another version"):
        NgramIndex.from_bytes(storage.to_bytes(meta, columns), kb)


def test_many_names_of_few_concepts():
    """The best names all belong to one concept; others follow far behind."""
    rows = [(f"C{i}", [f"cell {i}"], ["gh"[i % 2]]) for i in range(9)]
    rows.append(("MANY", [f"blood cell count {i:03}" for i in range(400)], ["g"]))
    kb = make_kb(rows)
    for k in (1, 2, 5, 10):
        (found,) = NgramIndex(kb).search(["blood cell count"], k=k)
        assert_same(found, brute_force(kb, ["blood cell count"], k)[0])
        assert len(found) == k and found[0][0] == "MANY"
    for groups in (["g"], ["h"]):
        (found,) = NgramIndex(kb).search(["blood cell count"], kb.group_mask(groups)[None], k=4)
        assert_same(found, brute_force(kb, ["blood cell count"], 4, groups)[0])
        assert len(found) == 4
