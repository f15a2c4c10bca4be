from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.crossencoder.contexts import Context, around, build_context, window_of, windows
from spacy_bel.crossencoder.layouts import Layout, units
from tests.crossencoder.samples import LAYOUTS, documents


@settings(deadline=None)
@given(documents(), st.sampled_from(LAYOUTS))
def test_each_mention_is_in_one_context_that_holds_it(doc, name):
    found = list(units(doc, Layout(name=name)))
    assert sorted(m for unit in found for m in unit.mentions) == list(range(len(doc.mentions)))
    for unit in found:
        for m in unit.mentions:
            assert unit.start <= doc.mentions[m].start <= doc.mentions[m].end <= unit.end
    for one, other in zip(found, found[1:], strict=False):
        assert one.end <= other.start
    spans = {"document": (), "passage": doc.passages}.get(name, doc.sentences)
    crossed = {b for b, _ in spans for m in doc.mentions if m.start < b < m.end}
    for border in {b for b, _ in spans if b} - crossed:
        assert not any(unit.start < border < unit.end for unit in found)


#: Characters as tokens, so that what is expected can be seen in the text.
@settings(deadline=None)
@given(
    st.text("ab ", min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=5),
)
def test_marks_are_well_formed_and_around_their_mention(text, pairs):
    spans = {}
    for m, (one, other) in enumerate(pairs):
        start, end = sorted((min(one, len(text)), min(other, len(text))))
        if all(end <= s or e <= start or (s <= start and end <= e) or (start <= s and e <= end)
               for s, e in spans.values()):  # fmt: skip
            spans[m] = (start, end)
    marks = {m: ([-100 - m], [-200 - m]) for m in spans}
    offsets = [(i, i + 1) for i in range(len(text))]
    context = build_context(list(map(ord, text)), offsets, spans, marks, [])
    assert [i for i in context.ids if i >= 0] == list(map(ord, text))
    opened = []
    for token in context.ids:
        if -200 < token <= -100:
            opened.append(-100 - token)
        elif token <= -200:
            assert opened.pop() == -200 - token
    assert not opened
    for m, (start, end) in spans.items():
        first, last = context.mentions[m]
        inside = context.ids[first:last]
        assert (inside[0], inside[-1]) == (-100 - m, -200 - m)
        assert [i for i in inside if i >= 0] == list(map(ord, text[start:end]))
    bare = build_context(list(map(ord, text)), offsets, spans, {}, [])
    assert bare.ids == list(map(ord, text))


@settings(deadline=None)
@given(
    st.integers(0, 200), st.lists(st.integers(0, 199), max_size=12), st.integers(2, 80), st.data()
)
def test_windows(size, borders, width, data):
    borders = sorted({0, *(b for b in borders if b < size)})
    context = Context(list(range(size)), {}, borders)
    found = windows(context, width)
    assert found[0][0] == 0 and found[-1][1] == size
    assert all(end - start <= width for start, end in found)
    assert all(a[0] < b[0] <= a[1] < b[1] for a, b in zip(found, found[1:], strict=False))
    if all(b - a <= width // 2 for a, b in zip(borders, [*borders[1:], size], strict=True)):
        assert {edge for window in found for edge in window} <= {*borders, size}
    start = data.draw(st.integers(0, size))
    mention = (start, data.draw(st.integers(start, min(size, start + width))))
    index = window_of(mention, found)
    holding = [w for w in found if w[0] <= mention[0] and mention[1] <= w[1]]
    assert (index is None) == (not holding)

    def margin(window):
        left = mention[0] - window[0] if window[0] else size
        return min(left, window[1] - mention[1] if window[1] < size else size)

    if index is not None:
        assert margin(found[index]) == max(map(margin, holding))
    narrow = around(mention, (0, size), width)
    assert 0 <= narrow[0] <= mention[0] and mention[1] <= narrow[1] <= size
    assert narrow[1] - narrow[0] == min(width, size)
    sides = (mention[0] - narrow[0], narrow[1] - mention[1])
    assert abs(sides[0] - sides[1]) <= 1 or narrow[0] == 0 or narrow[1] == size


def test_a_mention_longer_than_the_room():
    assert around((10, 60), (0, 100), 20) == (10, 30)
