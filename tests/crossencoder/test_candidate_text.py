from __future__ import annotations

import pytest

from spacy_bel.crossencoder.candidate_text import CandidateText, candidate_text
from spacy_bel.errors import SettingsError
from spacy_bel.kb import Concept

MI = Concept(
    "D009203",
    ("Myocardial Infarction", "Heart attack", "MI"),
    ("Diseases", "Symptoms"),
    definition="Necrosis of the myocardium.",
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Myocardial Infarction"),
        ({"name": "matched"}, "MI"),
        ({"name": "both"}, "MI; Myocardial Infarction"),
        ({"synonyms": 1}, "Myocardial Infarction; Heart attack"),
        ({"name": "matched", "synonyms": 9}, "MI; Myocardial Infarction; Heart attack"),
        ({"name": "both", "synonyms": 9}, "MI; Myocardial Infarction; Heart attack"),
        ({"group": True}, "Myocardial Infarction (Diseases, Symptoms)"),
        ({"definition": True}, "Myocardial Infarction: Necrosis of the myocardium."),
        (
            {"name": "matched", "synonyms": 1, "group": True, "definition": True},
            "MI; Myocardial Infarction (Diseases, Symptoms): Necrosis of the myocardium.",
        ),
    ],
)
def test_parts(options, expected):
    assert candidate_text(MI, "MI", CandidateText(**options)) == expected


def test_what_a_concept_does_not_have_is_left_out():
    bare = Concept("C1", ("Ataxia",), ("Diseases",))
    settings = CandidateText(name="both", synonyms=3, definition=True)
    assert candidate_text(bare, "Ataxia", settings) == "Ataxia"
    assert candidate_text(bare, "", CandidateText(name="matched")) == "Ataxia"


def test_settings_that_cannot_be_used():
    with pytest.raises(SettingsError, match="use 'preferred', 'matched' or 'both'"):
        CandidateText(name="first")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="give 0 or more"):
        CandidateText(synonyms=-1)
