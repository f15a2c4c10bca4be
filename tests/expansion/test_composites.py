"""Composite mentions, taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.expansion import split_composite


@pytest.mark.parametrize(
    ("surface", "parts"),
    [
        ("breast and ovarian cancer", ["breast cancer", "ovarian cancer"]),
        ("breast- and ovarian cancer", ["breast cancer", "ovarian cancer"]),
        ("breast/ovarian cancer", ["breast cancer", "ovarian cancer"]),
        ("breast or ovarian cancers", ["breast cancer", "ovarian cancer"]),
        ("breast and/or ovarian cancer", ["breast cancer", "ovarian cancer"]),
        ("breast, ovarian and colon cancer", ["breast cancer", "ovarian cancer", "colon cancer"]),
        ("breast, ovarian, and colon cancer", ["breast cancer", "ovarian cancer", "colon cancer"]),
        ("hepatic and renal failure", ["hepatic failure", "renal failure"]),
        ("Duchenne and Becker dystrophies", ["Duchenne dystrophy", "Becker dystrophy"]),
        ("type I or type II diabetes", ["type I diabetes", "type II diabetes"]),
        ("cancer of the breast and ovary", ["cancer of the breast", "cancer of the ovary"]),
        ("deficiency of C6 and C7", ["deficiency of C6", "deficiency of C7"]),
        ("C6 and C7 deficiencies", ["C6 deficiency", "C7 deficiency"]),
        ("type I and II diabetes", ["type I diabetes", "type II diabetes"]),
        ("types 1 and 2 diabetes", ["type 1 diabetes", "type 2 diabetes"]),
        ("diabetes type 1 and 2", ["diabetes type 1", "diabetes type 2"]),
        ("Prader-Willi and Angelman syndromes", ["Prader-Willi syndrome", "Angelman syndrome"]),
        ("ataxia and telangiectasia", ["ataxia", "telangiectasia"]),
        ("ataxia and breast cancer", ["ataxia", "breast cancer"]),
        ("renal failure and hepatic failure", ["renal failure", "hepatic failure"]),
        ("DMD and BMD", ["DMD", "BMD"]),
        ("cleft lip and palate", ["cleft lip", "cleft palate"]),
        ("cleft lip/palate", ["cleft lip", "cleft palate"]),
        ("ocular  and\norbital toxicity", ["ocular toxicity", "orbital toxicity"]),
    ],
)
def test_parts(surface, parts):
    assert split_composite(surface) == parts


@pytest.mark.parametrize(
    "surface",
    [
        "",
        " ",
        "breast cancer",
        "and",
        "and cancer",
        "candida",
        "von Hippel-Lindau",
        "anemia, iron",
        "/",
    ]
    + ["thymus (P < 0.001 and weight) loss", "x and " * 2000],
)
def test_no_composites(surface):
    assert split_composite(surface) == []


WORDS = "breast and or / , ovarian cancers of the C6 II type ( ) é"


@given(st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join) | st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_parts_are_made_of_the_words_of_the_mention(surface):
    parts = split_composite(surface)
    assert parts == split_composite(surface)
    assert len(parts) == len(set(parts))
    for part in parts:
        assert part == part.strip() != ""
        assert set(part) <= set(surface) | {" ", "y"}
