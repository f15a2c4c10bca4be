"""British and American spelling."""

from __future__ import annotations

import pytest

from spacy_bel.expansion import Query, expand
from spacy_bel.expansion.spelling import american


@pytest.mark.parametrize(
    ("british", "expected"),
    [
        ("haematuria", "hematuria"),
        ("Anaemia", "Anemia"),
        ("ISCHAEMIA", "ISCHEMIA"),
        ("Oedema of the oesophagus", "Edema of the esophagus"),
        ("pregnenolone sulphate", "pregnenolone sulfate"),
        ("leucocytoclastic vasculitis", "leukocytoclastic vasculitis"),
        ("apnoea, dyspnoea, diarrhoea", "apnea, dyspnea, diarrhea"),
        ("childhood brain tumours", "childhood brain tumors"),
        ("angioedema", "angioedema"),
        ("gastroesophageal reflux", "gastroesophageal reflux"),
        ("leucovorin", "leucovorin"),
        ("aerobic exercise of the toes", "aerobic exercise of the toes"),
    ],
)
def test_stems_change_and_nothing_else(british, expected):
    assert american(british) == expected
    assert american(expected) == expected


def test_both_spellings_are_searched_with_the_same_weight():
    text = "iron deficiency anaemia (IDA); severe anaemia; anemia"
    mentions = ["iron deficiency anaemia", "IDA", "severe anaemia", "anemia"]
    spans = [(text.rindex(m), text.rindex(m) + len(m)) for m in mentions]
    long, short, severe, american_already = expand(text, spans)
    assert severe == [Query("severe anaemia", 1.0), Query("severe anemia", 1.0)]
    assert american_already == [Query("anemia", 1.0)]
    assert short[0] == Query("iron deficiency anaemia", 1.0)
    assert Query("iron deficiency anemia", 1.0) in short
