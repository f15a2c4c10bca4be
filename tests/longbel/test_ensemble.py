"""Rankings of several members as one, over streams of documents."""

from __future__ import annotations

from itertools import count, islice, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.candidates import Candidate
from spacy_bel.errors import SettingsError
from spacy_bel.fusion import reciprocal_rank
from spacy_bel.longbel.engine import Report
from spacy_bel.longbel.ensemble import EnsembleEngine, MemberSettings, fuse_rankings

from .helpers import make_document, make_engine

scores = st.floats(0, 1).map(lambda x: round(x, 2))


@st.composite
def rankings(draw, least=1, most=4):
    found = []
    for _ in range(draw(st.integers(least, most))):
        codes = draw(st.lists(st.sampled_from("ABCDE"), unique=True, max_size=5))
        values = sorted(draw(st.lists(scores, min_size=len(codes), max_size=len(codes))))[::-1]
        found.append([Candidate(c, f"name of {c}", s) for c, s in zip(codes, values, strict=True)])
    return found


def ranked(*codes):
    return [Candidate(code, code.lower(), 1 - i / 10) for i, code in enumerate(codes)]


def test_reciprocal_ranks_are_added_up():
    fused = fuse_rankings([ranked("A", "B", "C"), ranked("B", "D"), ranked("B", "A")])
    assert [each.code for each in fused] == ["B", "A", "D", "C"]
    first = 3 / 61  # first everywhere
    expected = [1 / 62 + 1 / 61 + 1 / 61, 1 / 61 + 1 / 62, 1 / 62, 1 / 63]
    assert [each.score for each in fused] == pytest.approx([x / first for x in expected])


def test_another_rank_constant():
    fused = fuse_rankings([ranked("A", "B"), ranked("B")], rank_constant=0)
    assert fused == [Candidate("B", "b", pytest.approx((1 / 2 + 1) / 2)), Candidate("A", "a", 0.5)]


def test_ties_go_to_the_first_member_that_tells_them_apart_then_to_the_code():
    ab, ba = ranked("A", "B"), ranked("B", "A")
    assert [each.code for each in fuse_rankings([ab, ba])] == ["A", "B"]
    assert [each.code for each in fuse_rankings([ba, ab])] == ["B", "A"]
    level = [Candidate("B", "b", 0.5), Candidate("A", "a", 0.5)]
    assert [each.code for each in fuse_rankings([level, level[::-1]])] == ["A", "B"]
    # A member that lacks a code comes after one that has it at any score.
    alone = [Candidate("A", "a", 0.0)], [Candidate("B", "b", 1.0)]
    assert [each.code for each in fuse_rankings(alone)] == ["A", "B"]


def test_the_name_is_that_of_the_member_that_ranks_the_code_best():
    first = [Candidate("A", "a", 0.9), Candidate("B", "of the first", 0.8)]
    second = [Candidate("B", "of the second", 0.3)]
    third = [Candidate("B", "of the third", 0.9)]
    names = {each.code: each.name for each in fuse_rankings([first, second, third])}
    assert names == {"A": "a", "B": "of the second"}


@given(rankings())
def test_scores_are_the_mean_of_reciprocal_ranks(members):
    fused = fuse_rankings(members)
    expected = {}
    for ranking in members:
        for rank, candidate in enumerate(ranking, 1):
            expected[candidate.code] = expected.get(candidate.code, 0) + 61 / (60 + rank)
    assert {e.code: e.score for e in fused} == pytest.approx(
        {code: total / len(members) for code, total in expected.items()}
    )
    assert [e.score for e in fused] == sorted((e.score for e in fused), reverse=True)
    assert all(0 < e.score <= 1 for e in fused)


@given(rankings(2, 3))
def test_the_order_of_members_matters_for_ties_only(members):
    fused = fuse_rankings(members)
    for others in permutations(members):
        again = fuse_rankings(others)
        assert {e.code: e.score for e in again} == {e.code: e.score for e in fused}


@given(rankings(1, 1), st.integers(1, 4))
def test_members_that_agree_keep_their_ranking(members, times):
    (ranking,) = members
    fused = fuse_rankings(members * times)
    assert [each[:2] for each in fused] == [each[:2] for each in ranking]
    assert [each.score for each in fused] == [
        pytest.approx(reciprocal_rank(r)) for r in range(1, len(ranking) + 1)
    ]


class FakeMember:
    """Reads some documents ahead; answers by a function of the document."""

    def __init__(self, answer, ahead=1):
        self.answer, self.ahead = answer, ahead
        self.report, self.budget = Report(), 100 + ahead
        self.read = 0

    def link(self, documents):
        waiting = []
        for document in documents:
            self.read += 1
            waiting.append(document)
            if len(waiting) >= self.ahead:
                yield self._answered(waiting.pop(0))
        for document in waiting:
            yield self._answered(document)

    def _answered(self, document):
        try:
            links = self.answer(document)
        except ValueError as error:
            return error
        self.report.mentions += len(links)
        return links


def only(code):
    return lambda document: [ranked(code, f"{document}")]


@pytest.mark.parametrize("ahead", [(1, 1), (1, 7), (7, 1), (3, 5)])
def test_an_endless_stream_is_read_as_far_as_needed(ahead):
    pulled = []

    def documents():
        for number in count():
            pulled.append(number)
            yield number

    members = [FakeMember(only("A"), ahead[0]), FakeMember(only("B"), ahead[1])]
    links = EnsembleEngine(members).link(documents())
    assert pulled == []
    for number, (candidates,) in enumerate(islice(links, 20)):
        # Both members have the document's own number second.
        assert [each.code for each in candidates] == [str(number), "A", "B"]
        assert len(pulled) == number + max(ahead)  # each document once, no further than a member


def test_documents_that_end_while_some_wait():
    members = [FakeMember(only("A"), 4), FakeMember(only("B"), 2)]
    found = list(EnsembleEngine(members, k=1).link(iter("xyz")))
    assert [candidates[0].code for (candidates,) in found] == ["x", "y", "z"]
    assert all(len(candidates) == 1 for (candidates,) in found)
    assert list(EnsembleEngine(members).link(iter(()))) == []


def test_a_document_that_a_member_cannot_link_disturbs_no_other():
    def failing(at):
        def answer(document):
            if document in at:
                raise ValueError(f"{document} in {at}")
            return [ranked("A")]

        return answer

    members = [FakeMember(failing({2})), FakeMember(failing({2, 4}), 3), FakeMember(failing({7}))]
    found = list(EnsembleEngine(members).link(range(9)))
    errors = {i: str(each) for i, each in enumerate(found) if isinstance(each, Exception)}
    assert errors == {2: "2 in {2}", 4: "4 in {2, 4}", 7: "7 in {7}"}
    fine = [each for each in found if not isinstance(each, Exception)]
    assert fine == [[[Candidate("A", "a", 1.0)]]] * 6


def test_mentions_without_candidates_stay_in_their_place():
    members = [FakeMember(lambda _: [[], ranked("A"), []]), FakeMember(lambda _: [[], [], []])]
    assert list(EnsembleEngine(members).link([0])) == [[[], [Candidate("A", "a", 0.5)], []]]


def test_the_report_adds_up_and_stays_live():
    members = [FakeMember(only("A")), FakeMember(only("B"), 2)]
    engine = EnsembleEngine(members)
    assert engine.report == Report()
    list(engine.link(range(3)))
    assert engine.report == Report(mentions=6)
    assert engine.budget == 101


TEXTS = [
    ("Severe headache and a heart attak. The cold was worse.", ["headache", "heart attak", "cold"]),
    ("MI, then shock.", ["MI", "shock"]),
    ("Asthma since the cold.", ["Asthma", "cold"]),
]


def test_engines_fuse_what_they_find_alone(llama, gpt2, kb):
    def documents():
        for text, mentions in TEXTS:
            yield make_document(text, [(mention, "Disorders") for mention in mentions])

    def members():
        return [
            make_engine(model, kb, prompt, num_beams=3, batch_size=2)
            for model, prompt in ((llama, "short"), (llama, "hybrid_long"), (gpt2, "hybrid_short"))
        ]

    alone = [list(member.link(documents())) for member in members()]
    together = list(EnsembleEngine(members()).link(documents()))
    assert together == [
        [fuse_rankings(mention) for mention in zip(*of_members, strict=True)]
        for of_members in zip(*alone, strict=True)
    ]
    assert any(candidates[0].score < 1 for links in together for candidates in links)


def test_settings_of_members():
    members = [{"prompt": "short"}, {"prompt": "long", "model": "DIR"}, {}]
    assert MemberSettings.from_config(members) == [
        MemberSettings("short"),
        MemberSettings("long", "DIR"),
        MemberSettings(),
    ]
    for wrong, message in [
        ([], "at least one"),
        ([{"prompts": "short"}], "'prompts'"),
        ([{"prompt": "short"}, {"prompt": "short", "model": None}], "twice"),
    ]:
        with pytest.raises(SettingsError, match=message):
            MemberSettings.from_config(wrong)
    with pytest.raises(SettingsError, match="at least one"):
        EnsembleEngine([])
