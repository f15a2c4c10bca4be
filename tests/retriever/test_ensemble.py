from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError, SettingsError
from spacy_bel.expansion import Query
from spacy_bel.kb.text import fold
from spacy_bel.retriever.ensemble import EnsembleIndex, EnsembleRetriever
from spacy_bel.retriever.exact import ExactRetriever
from spacy_bel.retriever.fusion import Fusion, fit_weights
from spacy_bel.retriever.index import CandidateIndex
from spacy_bel.retriever.ngrams import NgramRetriever
from tests.retriever.test_ngrams import MENTIONS, WORDS, make_kb

MEMBERS = {
    "ngrams": NgramRetriever(ngram_range=(2, 3)),
    "exact": ExactRetriever(),
    "ends": NgramRetriever(ngram_range=(1, 2), char_side="separate", char_count=6),
}


@pytest.fixture(scope="module")
def kb():
    random = np.random.default_rng(1)
    rows = []
    for i in range(120):
        names = [
            " ".join(random.choice(WORDS, size=random.integers(1, 4)))
            for _ in range(random.integers(1, 4))
        ]
        rows.append((f"C{i:03}", names, [random.choice(["A", "B"])]))
    return make_kb(rows)


class Listed(CandidateIndex):
    """Finds what it is told to, and notes what it was asked for."""

    def __init__(self, kb, hits):
        self.kb, self.hits, self.asked = kb, hits, []

    def search(self, mentions, group_masks=None, k=25):
        self.asked.append((list(mentions), k))
        return [self.hits.get(mention, [])[:k] for mention in mentions]

    def to_disk(self, path, *, force=False):
        raise NotImplementedError

    def to_bytes(self):
        raise NotImplementedError


LETTERS = [("C1", ["a"], ["g"]), ("C2", ["b", "x"], ["g"]), ("C3", ["c"], ["g"])]
FIRST = [("C1", "a", 0.9), ("C2", "b", 0.5)]
SECOND = [("C3", "c", 0.8), ("C2", "x", 0.6)]


@pytest.mark.parametrize(
    ("fusion", "depth", "expected"),
    [
        # 61 / 62 from each of two members; 1 from one of two.
        (Fusion(), 2, {"C2": 61 / 62, "C1": 1 / 2, "C3": 1 / 2}),
        (Fusion(rank_constant=0), 2, {"C2": 1 / 2, "C1": 1 / 2, "C3": 1 / 2}),
        (Fusion("max"), 2, {"C1": 0.9, "C3": 0.8, "C2": 0.6}),
        # Asked for two, found two: what is missing scores no more than the last.
        (Fusion("weighted"), 2, {"C1": 0.75, "C3": 0.65, "C2": 0.55}),
        # Asked for three, found two: what is missing scores 0.
        (Fusion("weighted"), 3, {"C2": 0.55, "C1": 0.45, "C3": 0.4}),
        (
            Fusion("weighted", {"first": 3, "second": 1}),
            3,
            {"C1": 0.675, "C2": 0.525, "C3": 0.2},
        ),
        (
            Fusion("weighted", {"first": 1}, {"second": 1}, 1),
            3,
            {"C2": (0.5 + 2 / 3) / 2, "C3": 0.5, "C1": 0.45},
        ),
    ],
)
def test_scores_by_hand(fusion, depth, expected):
    kb = make_kb(LETTERS)
    members = {"first": Listed(kb, {"m": FIRST}), "second": Listed(kb, {"m": SECOND})}
    (found,) = EnsembleIndex(members, fusion, depth=depth).search(["m"], k=2)
    assert len(found) == 2
    (found,) = EnsembleIndex(members, fusion, depth=depth).search(["m"], k=depth)
    assert {code: score for code, _, score in found} == pytest.approx(
        dict(list(expected.items())[:depth]), abs=1e-6
    )
    # In the order of scores; equal ones by preferred name, then code: "x" is C2's second name.
    order = sorted(found, key=lambda hit: (-hit[2], hit[1] == "x", hit[0]))
    assert found == order


def test_the_name_is_the_exact_one_or_that_of_the_better_rank():
    kb = make_kb(LETTERS)
    members = {"first": Listed(kb, {"x": FIRST, "m": FIRST}), "second": Listed(kb, {"x": SECOND})}
    index = EnsembleIndex(members, Fusion())
    (exact, other) = index.search(["x", "m"])
    assert dict(hit[:2] for hit in exact)["C2"] == "x"
    assert dict(hit[:2] for hit in other)["C2"] == "b"


def test_exact_matches_win_ties():
    kb = make_kb([("C1", ["a"], ["g"]), ("C2", ["z", "b"], ["g"])])
    members = {
        "first": Listed(kb, {"B": [("C1", "a", 0.5)]}),
        "second": Listed(kb, {"B": [("C2", "b", 0.5)]}),
    }
    for fusion in (Fusion(), Fusion("max"), Fusion("weighted")):
        (found,) = EnsembleIndex(members, fusion).search(["B"], k=1)
        assert found[0][0] == "C2"


@pytest.mark.parametrize(("k", "depth", "asked"), [(5, None, 100), (50, None, 200), (9, 3, 9)])
def test_members_are_asked_for_more(k, depth, asked):
    kb = make_kb(LETTERS)
    member = Listed(kb, {})
    EnsembleIndex({"only": member}, Fusion(), depth=depth).search(["m", "m", "n"], k=k)
    assert member.asked == [(["m", "n"], asked)]


def reference(index, queries, mask, k):
    """Fusion written the long way: a table of every concept in every member."""
    depth = index.depth_for(k)
    results = {}
    for name, member in index.members.items():
        best = {}
        for order, query in enumerate(queries):
            masks = None if mask is None else mask[None]
            (found,) = member.search([query.text], masks, depth)
            for place, (code, alias, score) in enumerate(found):
                row = (-round(query.weight * score, 6), order, place, alias)
                best[code] = min(best.get(code, row), row)
        ranked = sorted((row[:3], code, row[3]) for code, row in best.items())[:depth]
        results[name] = [(code, alias, -row[0]) for row, code, alias in ranked]
    fusion = index.fusion
    table = []
    for code in {code for hits in results.values() for code, *_ in hits}:
        scores, ranks, names = {}, {}, []
        for number, (member, hits) in enumerate(results.items()):
            place = [c for c, *_ in hits].index(code) if code in [c for c, *_ in hits] else None
            floor = hits[-1][2] if len(hits) == depth else 0
            scores[member] = floor if place is None else hits[place][2]
            ranks[member] = 0 if place is None else 61 / (61 + place)
            if place is not None:
                exact = fold(hits[place][1]) in {fold(q.text) for q in queries}
                names.append((not exact, place, number, hits[place][1]))
        if fusion.fusion == "rrf":
            score = sum(ranks.values()) / len(ranks)
        elif fusion.fusion == "max":
            score = max(s for m, s in scores.items() if ranks[m])
        else:
            pairs = [((fusion.weights or {}).get(m, 0), scores[m]) for m in scores]
            pairs += [((fusion.rank_weights or {}).get(m, 0), ranks[m]) for m in scores]
            score = sum(w * s for w, s in pairs) / sum(w for w, _ in pairs)
        inexact, _, _, name = min(names)
        table.append((-round(score, 6), inexact, name != index.kb[code].names[0], code, name))
    return [(code, name, -score) for score, _, _, code, name in sorted(table)[:k]]


FUSIONS = [
    {},
    {"fusion": "max"},
    {"fusion": "weighted", "weights": {"ngrams": 0.7, "exact": 0.2, "ends": 0.1}},
    {"fusion": "weighted", "weights": {"ngrams": 1}, "rank_weights": {"ends": 2, "exact": 1}},
]


@pytest.fixture(scope="module")
def indexes(kb):
    return [EnsembleRetriever(MEMBERS, depth=20, **options).build(kb) for options in FUSIONS]


QUERIES = st.lists(
    st.builds(Query, st.sampled_from([*MENTIONS, *WORDS]), st.sampled_from([1.0, 0.9, 0.5])),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), QUERIES, st.sampled_from([None, "A", "B"]), st.sampled_from([1, 4, 30]))
def test_equals_a_table_of_all_members(kb, indexes, number, queries, group, k):
    mask = None if group is None else kb.group_mask([group])
    masks = None if mask is None else mask[None]
    (found,) = indexes[number].search_queries([queries], masks, k)
    expected = reference(indexes[number], queries, mask, k)
    # Sums in another order may differ in the last of six decimals, and so may ties.
    assert [s for *_, s in found] == pytest.approx([s for *_, s in expected], abs=2e-6)
    scores = [score for *_, score in found]
    assert scores == sorted(scores, reverse=True) and len({c for c, *_ in found}) == len(found)
    if len(set(scores)) == len(scores):
        assert [hit[:2] for hit in found[:-1]] == [hit[:2] for hit in expected[:-1]]
    assert group is None or all(group in kb[code].groups for code, *_ in found)


def test_a_result_depends_on_no_other_mention(indexes):
    for index in indexes:
        assert index.search(MENTIONS, k=9) == [index.search([m], k=9)[0] for m in MENTIONS]


def test_bad_input(kb, indexes):
    index = indexes[0]
    assert index.search([]) == []
    assert index.search(["", "心" * 5000], np.stack([kb.group_mask([])] * 2)) == [[], []]
    with pytest.raises(ValueError, match="at least one"):
        index.search(["a"], k=0)
    with pytest.raises(ValueError, match="2 mentions"):
        index.search(["a", "b"], kb.group_mask(["A"])[None])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": {}}, "needs members"),
        ({"members": {"a/b": ExactRetriever()}}, "no name of a member"),
        ({"fusion": "mean"}, "use one of"),
        ({"weights": {"ngrams": 1.0}}, "fusion='weighted'"),
        ({"fusion": "weighted", "weights": {"dense": 1.0}}, "for dense, but the members are"),
        ({"fusion": "weighted", "weights": {"ngrams": -1.0}}, "at least 0"),
        ({"fusion": "weighted", "weights": {"ngrams": 0.0}}, "not all are 0"),
        ({"fusion": "weighted", "weights": {"ngrams": float("nan")}}, "at least 0"),
        ({"depth": 0}, "depth is 0"),
        ({"rank_constant": -1}, "rank_constant is -1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(SettingsError, match=message):
        EnsembleRetriever(**{"members": MEMBERS, **settings})


@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_saving(kb, indexes, tmp_path, way):
    retriever = pickle.loads(pickle.dumps(EnsembleRetriever(MEMBERS, depth=20, **FUSIONS[2])))
    assert retriever == EnsembleRetriever(MEMBERS, depth=20, **FUSIONS[2])
    path = tmp_path / "index"
    indexes[0].to_disk(path)

    def read(retriever, kb):
        if way == "disk":
            return retriever.from_disk(path, kb)
        return retriever.from_bytes(indexes[0].to_bytes(), kb)

    # The same members serve whatever fusion the settings have.
    assert read(retriever, kb).search(MENTIONS) == indexes[2].search(MENTIONS)
    with pytest.raises(FingerprintMismatchError, match="another knowledge base"):
        read(retriever, make_kb(LETTERS))
    with pytest.raises(FingerprintMismatchError, match="has the members ngrams, exact, ends"):
        read(EnsembleRetriever({"exact": ExactRetriever()}), kb)
    changed = {**MEMBERS, "ngrams": NgramRetriever()}
    with pytest.raises(FingerprintMismatchError, match="ngram_range"):
        read(EnsembleRetriever(changed), kb)


def test_directories(kb, indexes, tmp_path):
    path = tmp_path / "index"
    retriever = EnsembleRetriever(MEMBERS)
    indexes[0].to_disk(path)
    assert {p.name for p in path.iterdir()} == {"ensemble.json", *MEMBERS}
    with pytest.raises(KnowledgeBaseError, match="force=True"):
        indexes[0].to_disk(path)
    indexes[0].to_disk(path, force=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(KnowledgeBaseError, match="not replaced"):
        indexes[0].to_disk(tmp_path / "mine", force=True)
    with pytest.raises(KnowledgeBaseError, match="no ensemble index"):
        retriever.from_disk(tmp_path / "mine", kb)
    for content in ("[]", "{", json.dumps({"kind": "ensemble index", "members": 3}), "{}"):
        (path / "ensemble.json").write_text(content)
        with pytest.raises(KnowledgeBaseError, match=r"ensemble\.json"):
            retriever.from_disk(path, kb)
    for damaged in (b"", b"abc", indexes[0].to_bytes()[:-9]):
        with pytest.raises(KnowledgeBaseError):
            retriever.from_bytes(damaged, kb)


def made_up_results(seed, mentions=200, concepts=12):
    """A member that mostly ranks right, one that knows little, one that is noise."""
    random = np.random.default_rng(seed)
    results, gold = {"good": [], "weak": [], "noise": []}, []
    codes = [f"C{i}" for i in range(concepts)]
    for _ in range(mentions):
        right = random.integers(concepts)
        gold.append({codes[right]})
        for member, bonus in (("good", 0.4), ("weak", 0.1), ("noise", 0.0)):
            scores = random.uniform(0, 0.6, concepts)
            scores[right] += bonus
            found = sorted(zip(scores, codes, strict=True), reverse=True)[:8]
            results[member].append([(code, code, float(score)) for score, code in found])
    return results, gold


def top(results, gold, fusion, depth=8):
    right = 0
    for mention, codes in enumerate(gold):
        scores = fusion.scores({m: found[mention] for m, found in results.items()}, depth)
        right += max(scores, key=scores.get) in codes
    return right


def test_fitted_weights_rank_better_on_other_mentions():
    results, gold = made_up_results(0)
    fitted = fit_weights(results, gold, depth=8)
    assert fitted == fit_weights(results, gold, depth=8)
    shares = fitted.weights
    assert shares["good"] > max(shares["weak"], shares["noise"])
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert set(fit_weights(results, gold, depth=8, ranks=True).rank_weights) == set(results)
    others, other_gold = made_up_results(1)
    learned = top(others, other_gold, Fusion("weighted", *fitted))
    assert learned > top(others, other_gold, Fusion("weighted"))
    assert learned > top(others, other_gold, Fusion())


def test_fitted_weights_are_no_worse_than_a_grid():
    """By brute force over proportions of three members."""
    results, gold = made_up_results(2)
    fitted = fit_weights(results, gold, depth=8)
    assert fitted.rank_weights == {}
    grid = [
        {"good": a / 10, "weak": b / 10, "noise": (10 - a - b) / 10}
        for a in range(11)
        for b in range(11 - a)
    ]
    best = max(mean_reciprocal_rank(results, gold, weights) for weights in grid)
    assert mean_reciprocal_rank(results, gold, fitted.weights) > best - 0.01
    single = max(
        mean_reciprocal_rank(results, gold, {member: 1.0}) for member in ("good", "weak", "noise")
    )
    assert mean_reciprocal_rank(results, gold, fitted.weights) >= single


def mean_reciprocal_rank(results, gold, weights):
    total = 0.0
    for mention, codes in enumerate(gold):
        found = {member: hits[mention] for member, hits in results.items()}
        scores = Fusion("weighted", weights).scores(found, 8)
        right = max((s for code, s in scores.items() if code in codes), default=None)
        if right is not None:
            total += 1 / (1 + sum(score > right + 1e-9 for score in scores.values()))
    return total / len(gold)


def test_fitting_an_ensemble(kb):
    retriever = EnsembleRetriever(MEMBERS, depth=20)
    index = retriever.build(kb)
    codes = list(kb)[:60]
    # Gold by the ends of names only: what the other members say is of no use.
    queries = [[Query(kb[code].names[-1][:4] + "zzz" + kb[code].names[-1][-4:])] for code in codes]
    fitted = retriever.fitted(index, queries, [{code} for code in codes], k=5)
    assert fitted.fusion == "weighted" and fitted.members == MEMBERS and fitted.depth == 20
    assert fitted.weights["ends"] > 0.5
    masks = np.stack([kb.group_mask(kb[code].groups) for code in codes])
    assert retriever.fitted(index, queries, [{c} for c in codes], masks).fusion == "weighted"


def test_frequency_in_training_decides_between_concepts_that_are_nearly_equal():
    results = {"a": [("C1", "x", 0.8), ("C2", "x", 0.79), ("C3", "y", 0.1)]}
    frequency = {"C1": 0.0, "C2": 1.0, "C3": 1.0}.get
    fusion = Fusion("weighted", {"a": 1.0}, frequency_weight=0.25)
    scores = fusion.scores(results, 5, frequency)
    assert scores == pytest.approx({"C1": 0.64, "C2": 0.832, "C3": 0.28})
    # Without training mentions the scores are as they were.
    assert fusion.scores(results, 5) == pytest.approx({"C1": 0.8, "C2": 0.79, "C3": 0.1})
    fitted = fit_weights({"a": [results["a"]] * 3}, [{"C2"}] * 3, depth=5, frequency=frequency)
    assert fitted.frequency_weight > 0.01
    with pytest.raises(SettingsError, match="frequency_weight is -1"):
        Fusion("weighted", frequency_weight=-1)


def test_nothing_to_fit():
    with pytest.raises(ValueError, match="No mention has right and wrong"):
        fit_weights({"only": [[("C1", "a", 1.0)]]}, [{"C2"}], depth=5)
    with pytest.raises(ValueError, match="2 mentions have gold"):
        fit_weights({"only": [[]]}, [{"C2"}, {"C1"}], depth=5)
