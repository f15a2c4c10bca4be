from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from spacy_bel.errors import (
    FingerprintMismatchError,
    KnowledgeBaseError,
    MissingExtraError,
    SettingsError,
)
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.kb.text import fold
from spacy_bel.retriever.scispacy import ScispacyRetriever
from tests.retriever.test_ngrams import MENTIONS, WORDS, make_kb

needs_scispacy = pytest.mark.skipif(
    importlib.util.find_spec("scispacy") is None
    or tuple(map(int, importlib.import_module("scipy").__version__.split(".")[:2])) >= (1, 11),
    reason="scispaCy builds an index only with the extra 'scispacy' and scipy < 1.11",
)


@pytest.fixture(scope="module")
def kb():
    """Enough names that 3-grams stand in ten of them; names tie."""
    random = np.random.default_rng(0)
    rows = []
    for i in range(200):
        names = [" ".join(random.choice(WORDS, size=random.integers(1, 4))) for _ in range(2)]
        rows.append((f"C{i:03}", names, [random.choice(["A", "B"])]))
    return make_kb(rows)


def test_a_missing_package_is_named(kb, monkeypatch):
    for module in ("scispacy", "scispacy.candidate_generation", "scispacy.linking_utils"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'spacy-bel\[scispacy\]'"):
        ScispacyRetriever().build(kb)


def test_settings():
    retriever = ScispacyRetriever(neighbours=50, directory="index")
    assert pickle.loads(pickle.dumps(retriever)) == retriever
    for settings in ({"neighbours": 0}, {"ef_search": 0}):
        with pytest.raises(SettingsError, match="at least 1"):
            ScispacyRetriever(**settings)


class Neighbours:
    """Stands in for nmslib: the nearest vectors, exactly."""

    def __init__(self, vectors):
        self.vectors = vectors

    def knnQueryBatch(self, vectors, k):
        distances = 1 - (vectors @ self.vectors.T).toarray()
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return list(zip(order, np.take_along_axis(distances, order, axis=1), strict=True))

    def saveIndex(self, path):
        Path(path).write_bytes(b"neighbours")


@pytest.fixture
def stand_in(monkeypatch):
    """The four functions of scispaCy that are called, answered without nmslib.

    What they give is what scispaCy documents; how they find it is not tested here.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    generation, linking = ModuleType("candidate_generation"), ModuleType("linking_utils")

    def entity(code, name, aliases):
        return SimpleNamespace(code=code, names={name, *aliases})

    def knowledge_base(entities):
        by_name = {}
        for concept in entities:
            for name in concept.names:
                by_name.setdefault(name, set()).add(concept.code)
        return by_name

    def create(path, kb):
        assert path is None
        vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(3, 3), min_df=10, dtype=np.float32
        )
        names = sorted(kb)
        vectors = vectorizer.fit_transform(names)
        kept = np.flatnonzero(np.diff(vectors.indptr))
        return [names[i] for i in kept], vectorizer, Neighbours(vectors[kept])

    def paths(directory):
        return directory

    def load(directory, ef_search):
        assert (Path(directory) / "nmslib_index.bin").read_bytes() == b"neighbours"
        return Neighbours(sparse.load_npz(Path(directory) / "tfidf_vectors_sparse.npz"))

    class Generator:
        def __init__(self, index, vectorizer, names, kb):
            self.index, self.vectorizer, self.names, self.kb = index, vectorizer, names, kb

        def __call__(self, mentions, k):
            vectors = self.vectorizer.transform(mentions)
            found = []
            for row, (near, far) in enumerate(self.index.knnQueryBatch(vectors, k=k)):
                concepts = {}
                for name, distance in zip(near, far, strict=True):
                    for code in self.kb[self.names[name]]:
                        pair = self.names[name], 1 - distance
                        concepts.setdefault(code, []).append(pair)
                found.append(
                    [
                        SimpleNamespace(
                            concept_id=code,
                            aliases=[name for name, _ in pairs],
                            similarities=[similarity for _, similarity in pairs],
                        )
                        for code, pairs in sorted(concepts.items())
                    ]
                    if vectors[row].nnz
                    else []
                )
            return found

    generation.create_tfidf_ann_index = create
    generation.load_approximate_nearest_neighbours_index = load
    generation.LinkerPaths = SimpleNamespace(from_directory=paths)
    generation.CandidateGenerator = Generator
    linking.Entity, linking.KnowledgeBase = entity, knowledge_base
    monkeypatch.setitem(sys.modules, "scispacy.candidate_generation", generation)
    monkeypatch.setitem(sys.modules, "scispacy.linking_utils", linking)
    return generation


def brute_force(kb, mention, group=None):
    """All concepts by the cosine of 3-grams that ten names have, and the rules for ties."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    names = sorted({name for code in kb for name in kb[code].names})
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), min_df=10)
    cosines = vectorizer.fit_transform(names) @ vectorizer.transform([fold(mention)]).toarray()[0]
    score = dict(zip(names, cosines.round(6), strict=True))
    rows = []
    for code in kb:
        concept = kb[code]
        if group is None or group in concept.groups:
            rows += [
                (-score[n], fold(n) != fold(mention), n != concept.names[0], code, n)
                for n in concept.names
            ]
    best = {}
    for negative, *_, code, name in sorted(rows):
        best.setdefault(code, (code, name, -negative))
    return list(best.values())


def test_ranks_and_ties(kb, stand_in):
    index = ScispacyRetriever(neighbours=kb.n_names).build(kb)
    for mention, found in zip(MENTIONS, index.search(MENTIONS, k=7), strict=True):
        expected = [hit for hit in brute_force(kb, mention) if hit[2] > 0][:7]
        found = [hit for hit in found if hit[2] > 0]
        assert [s for *_, s in found] == pytest.approx([s for *_, s in expected], abs=2e-6)
        assert [hit[:2] for hit in found] == [hit[:2] for hit in expected]


def test_groups_are_found_beyond_the_first_neighbours(kb, stand_in):
    few = ScispacyRetriever(neighbours=5).build(kb)
    mention = "chronic heart disease"
    (all_groups,) = few.search([mention], k=25)
    assert 0 < len(all_groups) <= 25
    masks = np.stack([kb.group_mask([group]) for group in ("A", "B")])
    for group, found in zip("AB", few.search([mention] * 2, masks, k=10), strict=True):
        assert len(found) == 10
        assert [hit[0] for hit in found] == [h[0] for h in brute_force(kb, mention, group)[:10]]
    assert few.search([mention], kb.group_mask([])[None]) == [[]]


def test_bad_input(kb, stand_in):
    index = ScispacyRetriever(neighbours=5).build(kb)
    assert index.search([]) == []
    assert index.search(["", "心" * 5000, " \t"]) == [[], [], []]
    with pytest.raises(ValueError, match="at least one"):
        index.search(["a"], k=0)
    with pytest.raises(ValueError, match="2 mentions"):
        index.search(["a", "b"], kb.group_mask(["A"])[None])
    small = make_kb([("C1", ["heart"], ["g"])])
    with pytest.raises(KnowledgeBaseError, match="ten names"):
        ScispacyRetriever().build(small)

    def refuse(path, kb):
        raise RuntimeError("This function requires scipy<1.11")

    stand_in.create_tfidf_ann_index = refuse
    with pytest.raises(MissingExtraError, match="directory of an index"):
        ScispacyRetriever().build(kb)


def check_saving(kb, tmp_path):
    retriever = ScispacyRetriever(neighbours=30)
    index = retriever.build(kb)
    found = index.search(MENTIONS)
    assert any(found)
    index.to_disk(tmp_path / "index")
    assert {f.suffix for f in (tmp_path / "index").iterdir()} == {".json", ".npy"}
    assert retriever.from_disk(tmp_path / "index", kb).search(MENTIONS) == found
    assert retriever.from_bytes(index.to_bytes(), kb).search(MENTIONS) == found
    other = make_kb([("C1", ["heart"], ["A"])])
    with pytest.raises(FingerprintMismatchError, match="another knowledge base"):
        retriever.from_disk(tmp_path / "index", other)
    kb.to_disk(tmp_path / "kb")
    with pytest.raises(KnowledgeBaseError, match="no scispaCy index"):
        retriever.from_disk(tmp_path / "kb", kb)


def test_saving(kb, tmp_path, stand_in):
    check_saving(kb, tmp_path)


def test_directories_of_other_things(kb, tmp_path, stand_in):
    with pytest.raises(KnowledgeBaseError, match="no index of scispaCy"):
        ScispacyRetriever(directory=str(tmp_path)).build(kb)


@needs_scispacy
def test_saving_the_real_one(kb, tmp_path):
    check_saving(kb, tmp_path)


@needs_scispacy
def test_equals_scispacy_without_reading_its_pickle(kb, tmp_path):
    """The files of its own build, searched by itself and by us."""
    from scispacy.candidate_generation import CandidateGenerator, create_tfidf_ann_index
    from scispacy.linking_utils import Entity
    from scispacy.linking_utils import KnowledgeBase as ScispacyKnowledgeBase

    entities = [Entity(c, kb[c].names[0], list(kb[c].names[1:])) for c in kb]
    theirs = ScispacyKnowledgeBase(entities)
    create_tfidf_ann_index(str(tmp_path), theirs)
    names, vectorizer, ann = create_tfidf_ann_index(str(tmp_path), theirs)  # reads what it wrote
    (tmp_path / "tfidf_vectorizer.joblib").write_bytes(b"never read")
    index = ScispacyRetriever(neighbours=20, directory=str(tmp_path)).build(kb)
    mentions = list(dict.fromkeys(map(fold, MENTIONS)))
    expected = CandidateGenerator(ann, vectorizer, names, theirs)(mentions, 20)
    for found, candidates in zip(index.search(mentions, k=1000), expected, strict=True):
        scores = {c.concept_id: max(c.similarities) for c in candidates}
        assert {code: s for code, _, s in found} == pytest.approx(scores, abs=2e-6)
    builder = KnowledgeBaseBuilder("more")
    for code in kb:
        builder.add(Concept(code, (*kb[code].names, f"{code} heart"), ("A",)))
    with pytest.raises(FingerprintMismatchError, match="all names"):
        ScispacyRetriever(directory=str(tmp_path)).build(builder.build())
