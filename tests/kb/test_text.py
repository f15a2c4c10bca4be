from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.kb.text import clean, fold


def test_examples():
    assert clean(" \ta\x00b\nc\u0085 ") == "ab c"
    assert clean("\ud83d") == "\ufffd"
    assert fold(" Straße \u00a0 NAME\n") == "strasse name"


@settings(deadline=None)
@given(st.text(st.characters()))
def test_cleaned_text_can_be_stored(text):
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert cleaned == cleaned.strip()
    assert not any(unicodedata.category(character) == "Cc" for character in cleaned)
    assert clean(cleaned) == cleaned


@settings(deadline=None)
@given(st.text(st.characters()))
def test_folding_ignores_case_and_outer_whitespace(text):
    assert fold(f"  {text} ") == fold(text)
    assert fold(fold(text)) == fold(text)
