from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.kb import packed
from spacy_bel.kb.packed import Codes, PackedStrings

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(packed, "_ROWS", 3)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=12), st.randoms())
def test_strings_come_back_in_any_order(strings, random):
    column = PackedStrings()
    for text in strings:
        column.append(text)
    assert (list(column), len(column)) == (strings, len(strings))
    assert [column[row] for row in range(len(strings))] == strings
    order = random.sample(range(len(strings)), len(strings))
    data, starts = column.packed(np.array(order))
    parts = [data[starts[i] : starts[i + 1]].tobytes().decode() for i in range(len(order))]
    assert parts == [strings[row] for row in order]
    column.append("more")  # nothing holds on to the buffer


@settings(deadline=None)
@given(st.lists(texts.filter(bool), max_size=20, unique=True), texts, st.booleans())
def test_codes_are_found_in_any_order_of_adding(added, other, ascending):
    codes = Codes()
    for code in sorted(added) if ascending else added:
        assert code not in codes
        codes.add(code)
    assert all(code in codes for code in added)
    assert (other in codes) == (other in added)
    assert None not in codes
    assert len(codes) == len(added)
