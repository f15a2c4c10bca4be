"""Sums of strings as queries, by each way of finding names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_bel.expansion import Query
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.kb.text import clean, fold
from spacy_bel.retriever.dense import DenseRetriever
from spacy_bel.retriever.ensemble import EnsembleRetriever
from spacy_bel.retriever.exact import ExactRetriever
from spacy_bel.retriever.index import Mixture
from spacy_bel.retriever.ngrams import NgramRetriever
from tests.retriever.tiny_encoders import TEXTS, write_encoder

WORDS = sorted({word for text in TEXTS for word in text.split() if len(word) < 20})


@pytest.fixture(scope="module")
def kb():
    random = np.random.default_rng(0)
    builder = KnowledgeBaseBuilder("toy")
    for i in range(60):
        names = [
            " ".join(random.choice(WORDS, size=random.integers(1, 4)))
            for _ in range(random.integers(1, 5))
        ]
        builder.add(Concept(f"C{i:03}", tuple(names), (str(random.choice(["A", "B"])),)))
    return builder.build()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPACY_BEL_CACHE", str(root / "cache"))
        yield {kind: str(write_encoder(root / kind, kind)) for kind in ("bert", "roberta")}


MIXED = [
    (("heart attack", 0.6), ("Myocardial infarction", 0.4)),
    (("Heart  Attack", 0.5), ("heart attack", 0.5)),
    (("renal", 0.25), ("chronic disease of the heart", 0.75)),
    (("xyz", 0.6), ("renal failure", 0.3), ("MI", 0.1)),
    (("acute", 1.0),),
]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", {"preset": "minilm"}),
        ("bert", {"preset": "sapbert", "index": "int8"}),  # vectors of any length
        ("roberta", {}),  # tells cases apart
    ],
)
def test_dense_mixtures_equal_sums_of_vectors(kb, models, kind, options):
    retriever = DenseRetriever(models[kind], **options)
    index, encoder = retriever.build(kb), retriever.load_encoder()
    form = fold if encoder.ignores_case else clean
    names = sorted({form(name) for code in kb for name in kb[code].names})
    rows = torch.from_numpy(encoder.encode(names)).half().double().numpy()
    masks = np.stack([kb.group_mask([group]) for group in "ABABA"])
    for given_masks in (None, masks):
        found = index.search_mixtures([Mixture(parts) for parts in MIXED], given_masks, 7)
        for row, (parts, hits) in enumerate(zip(MIXED, found, strict=True)):
            vectors = encoder.encode([form(text) for text, _ in parts]).astype(np.float64)
            query = np.array([share for _, share in parts]) @ vectors
            scores = dict(zip(names, rows @ query, strict=True))
            allowed = [c for c in kb if given_masks is None or "ABABA"[row] in kb[c].groups]
            best = {c: max(scores[form(name)] for name in kb[c].names) for c in allowed}
            expected = sorted(best.values(), reverse=True)[:7]
            assert [score for *_, score in hits] == pytest.approx(expected, abs=3e-5, rel=1e-5)
            for code, name, score in hits:
                assert score == pytest.approx(best[code], abs=3e-5, rel=1e-5)
                assert score == pytest.approx(scores[form(name)], abs=3e-5, rel=1e-5)


@pytest.mark.parametrize("char_side", ["none", "separate", "together"])
def test_ngram_mixtures_equal_sums_of_scores(kb, char_side):
    index = NgramRetriever(char_side=char_side).build(kb)
    masks = np.stack([kb.group_mask([group]) for group in "ABABA"])
    vectors = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, lowercase=False
    )
    names = sorted({fold(name) for code in kb for name in kb[code].names})
    vectors.fit(names)
    for given_masks in (None, masks):
        found = index.search_mixtures([Mixture(parts) for parts in MIXED], given_masks, 7)
        for row, (parts, hits) in enumerate(zip(MIXED, found, strict=True)):
            scores = dict.fromkeys(names, 0.0)
            for text, share in parts:
                if char_side == "none":
                    products = (
                        vectors.transform(names) @ vectors.transform([fold(text)]).T
                    ).toarray()
                    alone = dict(zip(names, products[:, 0], strict=True))
                else:
                    alone = name_scores(kb, index, text)
                for name in names:
                    scores[name] += share * alone.get(name, 0.0)
            allowed = [c for c in kb if given_masks is None or "ABABA"[row] in kb[c].groups]
            best = {c: max(scores[fold(name)] for name in kb[c].names) for c in allowed}
            expected = sorted((s for s in best.values() if s > 1e-6), reverse=True)[:7]
            assert [score for *_, score in hits] == pytest.approx(expected, abs=3e-6)
            for code, name, score in hits:
                assert score == pytest.approx(best[code], abs=3e-6)
                assert score == pytest.approx(scores[fold(name)], abs=3e-6)


def name_scores(kb, index, text):
    """The score of every name with a string, by the vectors of the index alone."""
    strings = kb.folded_names()
    products = (index._vectors(strings) @ index._vectors([fold(text)]).T).toarray()[:, 0]
    return dict(zip(strings, products, strict=True))


@pytest.mark.parametrize("retriever", ["dense", "n-grams"])
def test_a_mixture_of_one_is_that_string(kb, models, retriever):
    made = DenseRetriever(models["bert"], preset="minilm")
    index = (NgramRetriever() if retriever == "n-grams" else made).build(kb)
    mentions = ["heart attack", "renal", " "]
    alone = index.search(mentions, k=5)
    assert index.search_mixtures([Mixture(((m, 1.0),)) for m in mentions], k=5) == alone
    assert alone[2] == []
    assert index.search_mixtures([], k=5) == []
    # What is empty adds nothing, and takes nothing away.
    (found,) = index.search_mixtures([Mixture((("", 0.5), ("renal", 0.5)))], k=5)
    assert [hit[:2] for hit in found] == [hit[:2] for hit in alone[1]]
    assert [s for *_, s in found] == pytest.approx([s / 2 for *_, s in alone[1]], abs=2e-6)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(WORDS), st.sampled_from(WORDS), st.floats(0, 1), st.data())
def test_exact_mixtures_equal_sums_of_matches(kb, first, second, share, data):
    if data.draw(st.booleans()):
        second = first.upper()
    index = ExactRetriever().build(kb)
    mixture = Mixture.of(Query(first, 0.5), second, share)
    assert (mixture.text, mixture.weight) == (second if share == 1 else first, 0.5)
    (found,) = index.search_mixtures([mixture], k=60)
    best = {}
    for code in kb:
        for name in kb[code].names:
            score = (1 - share) * (fold(name) == fold(first)) + share * (fold(name) == fold(second))
            best[code] = max(score, best.get(code, 0))
    expected = {code: score for code, score in best.items() if score > 1e-6}
    found = {code: score for code, _, score in found if score > 1e-6}
    assert found == pytest.approx(expected, abs=2e-6)


def test_mixtures_beside_strings(kb, models):
    """Weights count once; a mention's result does not depend on what others are searched by."""
    index = DenseRetriever(models["bert"], preset="minilm").build(kb)
    mixture = Mixture.of(Query("heart attack", 0.5), "renal failure", 0.4)
    queries = [[Query("renal")], [mixture, Query("acute", 0.3)], [Query("mi"), Query("x", 0.1)]]
    masks = np.stack([kb.group_mask([group]) for group in "ABA"])
    found = index.search_queries(queries, masks, 4)
    for row in (0, 2):
        (alone,) = index.search_queries([queries[row]], masks[[row]], 4)
        assert found[row] == alone
    (mixed,) = index.search_mixtures([mixture], masks[[1]], 60)
    (plain,) = index.search(["acute"], masks[[1]], 60)
    scores = {code: 0.5 * score for code, _, score in mixed}
    for code, _, score in plain:
        scores[code] = max(scores.get(code, -1), 0.3 * score)
    expected = sorted(scores.values(), reverse=True)[:4]
    assert [score for *_, score in found[1]] == pytest.approx(expected, abs=2e-6)


def test_an_ensemble_lets_its_members_mix(kb, models):
    members = {
        "exact": ExactRetriever(),
        "dense": DenseRetriever(models["bert"], preset="minilm"),
    }
    index = EnsembleRetriever(members, fusion="max").build(kb)
    mixture = Mixture.of(Query(kb.preferred_name("C003"), 0.5), kb.preferred_name("C009"), 0.4)
    (found,) = index.search_mixtures([mixture], k=60)
    best = {}
    for member in index.members.values():
        for code, _, score in member.search_mixtures([mixture], k=200)[0]:
            best[code] = max(score, best.get(code, score))
    assert {code: score for code, _, score in found} == pytest.approx(best, abs=2e-6)
    (weighted,) = index.search_queries([[mixture]], k=60)
    halves = {code: score / 2 for code, score in best.items()}
    assert {code: score for code, _, score in weighted} == pytest.approx(halves, abs=2e-6)
