from __future__ import annotations

import pytest

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.kb.cleaning import RULES, NameChange, NameReport, clean_names


def kb_of(*names, code="X"):
    builder = KnowledgeBaseBuilder("b")
    builder.add(Concept(code, names, ("g",), alternative_codes=("Y",)))
    builder.retire("Z", code)
    return builder.build()


CASES = [
    ("nos", ("Fever NOS", "Fever, NOS", "Fever (NOS)", "Rash SAI", "NOS", "Anosmia"), None),
    ("capitalise", ("fever", "pH", "ß", "1st"), ("Fever", "PH", "ß", "1st")),
    ("brackets", ("a [b]", "{c}", "d\xa0e"), ("a (b)", "(c)", "d e")),
    ("lower", ("Fever", "DNA"), ("fever", "dna")),
    ("capitals", ("FEVER", "Fever", "DNA", "RASH", "rash"), ("Fever", "DNA", "rash")),
]


@pytest.mark.parametrize(("rule", "before", "after"), CASES)
def test_rules(rule, before, after):
    if rule == "nos":
        after = ("Fever", "Rash", "NOS", "Anosmia")
    elif rule == "capitalise":
        after = ("Fever", "PH", "SS", "1st")
    builder, _ = clean_names(kb_of(*before), [rule])
    assert builder.build()["X"].names == after


def test_every_rule_is_tested():
    assert {rule for rule, *_ in CASES} == set(RULES)


def test_changes_are_counted_and_told():
    told = []
    builder, report = clean_names(
        kb_of("Fever", "fever NOS", "FEVER"), ["longbel"], NameReport(listen=told.append)
    )
    assert told == [
        NameChange("nos", "X", "fever NOS", "fever"),
        NameChange("capitalise", "X", "fever", "Fever"),
        NameChange("duplicate", "X", "fever"),
        NameChange("capitals", "X", "FEVER"),
    ]
    assert report.counts == {"nos": 1, "capitalise": 1, "duplicate": 1, "capitals": 1}
    kb = builder.build()
    assert kb["X"].names == ("Fever",)
    assert [kb.resolve(code) for code in "XYZ"] == ["X"] * 3


def test_unknown_rules_are_named():
    with pytest.raises(KnowledgeBaseError, match="no rule polish for names: use nos"):
        clean_names(kb_of("a"), ["polish"])
