"""Formulas of elements and salts, and MEDLINE's subscripts."""

from __future__ import annotations

import pytest

from spacy_bel.expansion import Query, expand
from spacy_bel.expansion.formulas import formula_name, without_subscripts


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("Pb", "lead"),
        ("K", "potassium"),
        ("K+", "potassium"),
        ("Ca(2+)", "calcium"),
        ("Fe3+", "iron"),
        ("Cl", "chlorine"),
        ("KCl", "potassium chloride"),
        ("CaCl(2)", "calcium chloride"),
        ("ZnSO(4)", "zinc sulfate"),
        ("NaHCO3", "sodium bicarbonate"),
        ("NH4Cl", "ammonium chloride"),
        ("Al(OH)3", "aluminum hydroxide"),
        ("Na2CO3", "sodium carbonate"),
        ("Na2SO4", "sodium sulfate"),
        ("Fe2O3", "iron oxide"),
    ],
)
def test_elements_and_salts(formula, name):
    assert formula_name(formula) == name


@pytest.mark.parametrize(
    "text", ["PB", "pb", "P", "C", "PD", "MS", "CO2", "CaMKII", "NaV1.5", "K channel", "ClC", ""]
)
def test_what_is_no_formula(text):
    assert formula_name(text) is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("PGE(2)", "PGE2"),
        ("adenosine A(1) receptor", "adenosine A1 receptor"),
        ("1,25(OH)2D3", "1,25(OH)2D3"),
        ("syndrome (2)", "syndrome (2)"),
        ("Ca(2+)", "Ca(2+)"),
    ],
)
def test_subscripts(text, plain):
    assert without_subscripts(text) == plain


def test_the_name_is_searched_before_the_formula():
    text = "Exposure to Pb; Pb-free; PGE(2)."
    spans = [(12, 14), (25, 31)]
    assert expand(text, spans) == [
        [Query("lead"), Query("Pb", 0.7)],
        [Query("PGE(2)"), Query("PGE2")],
    ]
    assert expand(text, spans[:1], abbreviations=False) == [[Query("Pb")]]


def test_what_a_document_defines_comes_first():
    text = "Serum creatinine (Cr) was high. Cr fell later."
    at = text.rindex("Cr")
    [queries] = expand(text, [(6, 16), (18, 20), (at, at + 2)])[2:]
    assert queries[0].text == "creatinine"
    assert "chromium" not in {query.text for query in queries}
