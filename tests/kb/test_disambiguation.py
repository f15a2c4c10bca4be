from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.kb.disambiguation import METHODS, disambiguate


def kb_of(concepts):
    builder = KnowledgeBaseBuilder("b")
    for code, (group, *names) in concepts.items():
        builder.add(Concept(code, tuple(names), tuple(group), alternative_codes=(f"alt{code}",)))
    return builder.build()


def names_after(method, concepts):
    builder, report = disambiguate(kb_of(concepts), method)
    kb = builder.build()
    return {code: kb[code].names for code in sorted(kb)}, report, kb


def test_longbel_levels():
    names, report, kb = names_after(
        "longbel",
        {
            "1": ("G", "alone", "both"),  # owns a name, so "both" goes
            "2": ("G", "second only after", "both"),
            "3": ("G", "shared"),  # with 4: the lower code gets it
            "4": ("G", "shared"),
            "5": ("H", "shared"),  # another group is another matter
            "6": ("G", "left", "freed"),  # "left" is unique; 7 has "freed" alone then
            "7": ("G", "freed"),
        },
    )
    assert names == {
        "1": ("alone",),
        "2": ("second only after",),
        "3": ("shared",),
        "5": ("shared",),
        "6": ("left",),
        "7": ("freed",),
    }
    assert report.counts == {"ambiguous": 3, "shared": 1, "nameless": 1}
    assert kb.resolve("4") is kb.resolve("alt4") is None


def test_longbel_titles_come_back_and_capitals_go():
    names, report, _ = names_after(
        "longbel",
        {
            "1": ("G", "title", "one"),
            "2": ("G", "title", "two"),
            "3": ("G", "Fit", "FIT"),
        },
    )
    # Two names each, so that the shared title would be lost: the lower code keeps it.
    assert names == {"1": ("title", "one"), "2": ("two",), "3": ("Fit",)}
    assert report.counts == {"ambiguous": 1, "capitals": 1}


def test_a_name_kept_in_one_group_stays():
    names, *_ = names_after("longbel", {"1": ("GH", "a", "b"), "2": ("G", "a", "c")})
    assert names["1"] == ("a", "b")


def test_belink_explains_short_and_shared_names():
    names, report, _ = names_after(
        "belink",
        {
            "1": ("G", "Myocardial Infarction", "MI", "Heart Attack"),
            "2": ("G", "Mitral Insufficiency", "MI", "Leak"),
            "3": ("G", "Cold", "Common Cold"),
            "4": ("G", "Cold", "Low Temperature"),
        },
    )
    assert names == {
        "1": ("myocardial infarction", "mi (myocardial infarction)", "heart attack"),
        "2": ("mitral insufficiency", "mi (mitral insufficiency)", "leak (mitral insufficiency)"),
        "3": ("cold (common cold)", "common cold"),
        "4": ("cold (low temperature)", "low temperature"),
    }
    assert report.counts["homonym"] == 4
    assert report.counts["short"] == 1


def test_belink_merges_what_cannot_be_told_apart():
    names, report, kb = names_after(
        "belink", {"1": ("G", "Twin"), "2": ("G", "twin"), "3": ("G", "Other")}
    )
    assert names == {"1": ("twin",), "3": ("other",)}
    assert kb.resolve("2") == kb.resolve("alt2") == "1"
    assert report.counts["merged"] == 1


def test_belink_keeps_the_first_of_composite_codes():
    names, report, kb = names_after(
        "belink",
        {
            "1+2": ("G", "First and second"),
            "1": ("G", "First"),
            "3;4": ("G", "Third, fourth"),
            "2": ("G", "Second"),
            "+": ("G", "Nothing"),
        },
    )
    assert names == {
        "+": ("nothing",),
        "1": ("first", "first and second"),
        "2": ("second",),
        "3": ("third, fourth",),
    }
    others = ("1+2", "2", "3;4", "4", "alt1+2", "alt3;4")
    assert [kb.resolve(code) for code in others] == ["1", "2", "3", "3", "1", "3"]
    assert report.counts["composite"] == 2


words = st.sampled_from(["a", "b", "c", "A", "fever", "Fever", "FEVER", "rash"])
concepts = st.dictionaries(
    st.sampled_from("12345678"),
    st.tuples(st.sampled_from(["G", "H", "GH"]), words, words, words),
    min_size=1,
)


@settings(max_examples=100, deadline=None)
@given(concepts)
def test_afterwards_a_name_means_one_concept(table):
    names, report, kb = names_after("belink", table)
    flat = [name for texts in names.values() for name in texts]
    assert len(flat) == len(set(flat))
    assert all(kb.resolve(code) for code in table)  # nothing is lost but merged
    # With one group per concept this holds group by group.
    single = {code: (group[0], *texts) for code, (group, *texts) in table.items()}
    names, report, kb = names_after("longbel", single)
    holders = defaultdict(set)
    for code, texts in names.items():
        for name in texts:
            holders[kb[code].groups, name].add(code)
    assert all(len(codes) == 1 for codes in holders.values())
    before = kb_of(single).meta.aliases
    dropped = sum(report.counts[rule] for rule in ("ambiguous", "shared", "capitals"))
    assert before - dropped == kb.meta.aliases


def test_unknown_methods():
    with pytest.raises(KnowledgeBaseError, match="no method 'guess'.*longbel, belink"):
        disambiguate(kb_of({"1": ("G", "a")}), "guess")
    assert set(METHODS) == {"longbel", "belink"}
