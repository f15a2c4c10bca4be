from __future__ import annotations

import itertools
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.crossencoder.document import Document, Mention
from spacy_bel.crossencoder.inputs import batches, by_length, collate
from spacy_bel.crossencoder.layouts import Layout
from spacy_bel.crossencoder.packing import Packer
from spacy_bel.crossencoder.padding import Padded
from spacy_bel.crossencoder.report import PackingReport
from spacy_bel.crossencoder.tokenization import PieceTokenizer
from spacy_bel.errors import SettingsError
from tests.crossencoder.samples import LAYOUTS, WORDS, document, documents
from tests.retriever.tiny_encoders import byte_bpe, unigram, wordpiece

TOKENS = {
    kind: PieceTokenizer(make())
    for kind, make in {"bert": wordpiece, "roberta": byte_bpe, "xlmr": unigram}.items()
}
BERT = TOKENS["bert"]
PLAIN = BERT.tokenizer


#: Names that differ, also as tokens, and are of the same length.
DISTINCT = [" ".join(words) for words in product(WORDS[:7], repeat=3)]


def ids_of(text: str) -> list[int]:
    return PLAIN(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def pack(layout: Layout, *docs: Document, seed=None):
    return Packer(BERT, layout, 512).pack(docs, seed=seed)


def all_pairs(docs) -> list[tuple[int, int, int]]:
    return [
        (d, m, c)
        for d, doc in enumerate(docs)
        for m, mention in enumerate(doc.mentions)
        for c in range(len(mention.candidates))
    ]


def found_pairs(inputs) -> list[tuple[int, int, int]]:
    return sorted(tuple(pair) for item in inputs for pair in item.pairs.tolist())


layouts = st.builds(
    Layout,
    name=st.sampled_from(LAYOUTS),
    attention=st.sampled_from(["full", "block"]),
    repeat_mention=st.booleans(),
    markers=st.sampled_from(["none", "brackets", "numbers"]),
    max_length=st.sampled_from([32, 64, 128, 512]),
    candidate_tokens=st.sampled_from([3, 64]),
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(documents(), max_size=3), layouts, st.none() | st.integers(0, 9), st.sampled_from(
        sorted(TOKENS)
    )
)  # fmt: skip
def test_every_pair_exactly_once_and_within_limits(docs, layout, seed, kind):
    tokens = TOKENS[kind]
    inputs, report = Packer(tokens, layout, 512).pack(docs, seed=seed)
    assert found_pairs(inputs) == all_pairs(docs)
    mentions_of = Counter()
    limits = layout.limits(512)
    # The number of a mention is cut with its text.
    marker = len(tokens.pieces(["[1]"])["[1]"]) if layout.markers == "numbers" else 0
    for item in inputs:
        if layout.attention == "full":
            assert len(item) <= layout.max_length
        else:
            assert len(item) <= 8 * layout.max_length
        assert item.positions.max() < layout.max_length
        assert np.flatnonzero(item.ids == tokens.mask).tolist() == sorted(set(item.masks.tolist()))
        # Pairs that share a mask are read alike: the same mention text, the same candidate text.
        texts = {}
        for mask, (d, m, c) in zip(item.masks.tolist(), item.pairs.tolist(), strict=True):
            mention = docs[d].mentions[m]
            name, candidate = (tokens.pieces([t])[t] for t in (mention.text, mention.candidates[c]))
            text = (
                tuple(name[: max(0, limits.mention - marker)]),
                tuple(candidate[: limits.candidate]),
            )
            assert texts.setdefault(mask, text) == text
        mentions = {tuple(pair[:2]) for pair in item.pairs.tolist()}
        mentions_of.update(mentions)
        if layout.name == "base":
            assert len(texts) == 1
        if layout.name == "parallel":
            assert len({text[0] for text in texts.values()}) == 1
        assert len({pair[0] for pair in item.pairs.tolist()}) == 1
    given_mentions = [mention for doc in docs for mention in doc.mentions]
    assert report.documents == len(docs)
    assert report.mentions == len(given_mentions)
    assert report.without_candidates == sum(not m.candidates for m in given_mentions)
    assert report.pairs == len(all_pairs(docs))
    assert report.inputs == len(inputs)
    assert report.tokens == sum(len(item.ids) for item in inputs)
    if layout.name != "base":
        # Parts of a mention that are alike are one input.
        assert report.split >= sum(count > 1 for count in mentions_of.values())


@settings(deadline=None, max_examples=60)
@given(documents(), layouts, st.none() | st.integers(0, 9))
def test_a_mask_stands_between_its_mention_and_its_candidate(doc, layout, seed):
    """Read back from the tokens alone, up to the texts that are cut."""
    inputs, report = pack(layout, doc, seed=seed)
    limits = layout.limits(512)
    cut = 0
    for item in inputs:
        ids = item.ids.tolist()
        for mask, (_, m, c) in zip(item.masks.tolist(), item.pairs.tolist(), strict=True):
            mention = doc.mentions[m]
            whole = ids_of(mention.candidates[c])
            cut += len(whole) > limits.candidate
            stop = mask + 1 + min(len(whole), limits.candidate)
            assert ids[mask + 1 : stop] == whole[: limits.candidate]
            assert stop == len(ids) or ids[stop] in (BERT.mask, BERT.sep)
            header = mask - 1 - ids[:mask][::-1].index(BERT.sep)
            written = [i for i in ids[header + 1 : mask]]
            if BERT.mask in written:  # other candidates of the mention stand between
                assert not layout.repeat_mention
                written = written[: written.index(BERT.mask)]
            surface = ids_of(mention.text)
            if layout.markers == "numbers":
                written = written[len(written) - len(surface) :] if surface else []
            if len(surface) + 5 <= limits.mention:
                assert written == surface
    assert report.cut_candidates == cut


@pytest.mark.parametrize("attention", ["full", "block"])
@pytest.mark.parametrize("length", [128, 512])
@pytest.mark.parametrize("name", LAYOUTS)
def test_two_hundred_candidates(name, length, attention):
    words = " ".join(["acute renal failure"] * 100)
    candidates = DISTINCT[:200]
    text = f"{words} MI {words}. {words}. MI on {words}"
    doc = document(text, ("MI", candidates), ("MI", candidates[:3]))
    layout = Layout(name=name, attention=attention, max_length=length, input_tokens=2 * length)
    inputs, report = pack(layout, doc)
    assert found_pairs(inputs) == all_pairs([doc])
    assert max(int(item.positions.max()) for item in inputs) < length
    assert report.split == (name != "base")
    # Some context is left around the mention, never only the pairs.
    for item in inputs:
        first = item.ids.tolist().index(BERT.sep)
        assert length // 4 - 1 <= first
        assert ids_of("MI")[0] in item.ids.tolist()[:first]


def test_splits_are_even_and_few():
    candidates = DISTINCT[:200]
    doc = document("on MI acute", ("MI", candidates))
    inputs, _ = pack(Layout(name="parallel", repeat_mention=False), doc)
    sizes = [len(item.masks) for item in inputs]
    spent = sum(len(ids_of(c)) + 1 for c in candidates)
    assert len(sizes) == -(-spent // (511 - 1 - len(ids_of("on MI acute MI")) - 1))
    assert max(sizes) - min(sizes) <= 0.1 * max(sizes)


def test_the_layouts_on_a_document_by_hand():
    doc = document("MI on heart. Acute MI\nrenal failure", ("MI", ["a", "b"]), ("MI", ["c"]),
                   ("renal failure", ["d"]))  # fmt: skip
    text = {"sentence": "MI on heart.", "second": "Acute MI", "third": "renal failure"}
    # Sentences end at ". ", so that the second one goes on in the next passage.
    sentences = [text["sentence"], "Acute MI\nrenal failure"]

    def written(name, **options):
        return [PLAIN.convert_ids_to_tokens(i.ids.tolist()) for i in pack(
            Layout(name=name, **options), doc)[0]]  # fmt: skip

    def tokens(*parts):
        return ["[CLS]", *(t for part in parts for t in
                           ([part] if part.startswith("[") else PLAIN.tokenize(part)))]  # fmt: skip

    assert written("base") == [
        tokens(sentences[0], "[SEP]", "MI", "[MASK]", "a", "[SEP]"),
        tokens(sentences[0], "[SEP]", "MI", "[MASK]", "b", "[SEP]"),
        tokens(sentences[1], "[SEP]", "MI", "[MASK]", "c", "[SEP]"),
        tokens(sentences[1], "[SEP]", "renal failure", "[MASK]", "d", "[SEP]"),
    ]
    first = ["[SEP]", "MI", "[MASK]", "a", "[SEP]", "MI", "[MASK]", "b"]
    assert written("parallel")[0] == tokens(sentences[0], *first, "[SEP]")
    assert len(written("parallel")) == 3
    last = ["[SEP]", "MI", "[MASK]", "c", "[SEP]", "renal failure", "[MASK]", "d", "[SEP]"]
    assert written("multi") == [
        tokens(sentences[0], *first, "[SEP]"),
        tokens(sentences[1], *last),
    ]
    assert written("passage") == [
        tokens("MI on heart. Acute MI", *first, *last[:4], "[SEP]"),
        tokens("renal failure", *last[4:]),
    ]
    assert written("document") == [tokens(doc.text, *first, *last)]
    once = ["[SEP]", "MI", "[MASK]", "a", "[MASK]", "b"]
    assert written("document", repeat_mention=False) == [tokens(doc.text, *once, *last)]
    assert written("document", attention="block") == [tokens(doc.text, *first, *last[:-1])]


def test_marks_nest_and_number_mentions():
    text = "acute renal failure on chronic"
    doc = Document(
        text,
        (
            Mention(23, 30, "chronic", "g", ("a",)),
            Mention(6, 11, "renal", "g", ("b",)),
            Mention(6, 19, "renal failure", "g", ("c",)),
        ),
    )
    tokens = TOKENS["roberta"]  # whose vocabulary has brackets and digits

    def written(**options):
        inputs, _ = Packer(tokens, Layout(**options), 512).pack([doc])
        return [
            "".join(tokens.tokenizer.convert_ids_to_tokens(i.ids.tolist())).replace("Ġ", " ")
            for i in inputs
        ]

    assert written(name="document", markers="brackets") == [
        "<s>acute [ [ renal ] failure ] on [ chronic ]</s> renal<mask> b</s> renal failure<mask> c"
        "</s> chronic<mask> a</s>"
    ]
    assert written(name="document", markers="numbers") == [
        "<s>acute [2 [1 renal ] failure ] on [3 chronic ]</s> [1] renal<mask> b"
        "</s> [2] renal failure<mask> c</s> [3] chronic<mask> a</s>"
    ]
    assert written(name="parallel", markers="brackets")[1] == (
        "<s>acute [ renal failure ] on chronic</s> renal failure<mask> c</s>"
    )


def test_context_shrinks_before_candidates_are_split():
    words = " ".join(["on"] * 70)
    text = f"{words} MI {words}"
    candidates = ["heart attack"] * 8
    pair = 1 + len(ids_of("MI")) + 1 + len(ids_of("heart attack"))
    doc = document(text, ("MI", candidates))
    (item,), report = pack(Layout(name="parallel", max_length=128), doc)
    assert (report.shrunk, report.split) == (1, 0)
    assert len(item) == 128
    left = item.ids.tolist().index(ids_of("MI")[0])
    right = item.ids.tolist().index(BERT.sep) - left - len(ids_of("MI"))
    assert left + right + len(ids_of("MI")) == 127 - 8 * pair
    assert abs(left - 1 - right) <= 1


def test_windows_are_whole_sentences_with_the_mention_inside():
    sentences = [f"{' '.join(['on'] * 18)} heart" for _ in range(12)]
    text = ". ".join(sentences[:6]) + ". acute MI. " + ". ".join(sentences[6:])
    doc = document(text, ("heart", ["a"]), ("MI", ["b"]))
    inputs, report = pack(Layout(name="document", max_length=128), doc)
    assert (report.windowed, report.shrunk, report.split) == (1, 0, 0)
    (first, middle) = inputs
    assert first.pairs.tolist() == [[0, 0, 0]]
    context = middle.ids.tolist()[1 : middle.ids.tolist().index(BERT.sep)]
    sentence = ids_of(sentences[0])
    assert context[: len(sentence)] == sentence  # begins where a sentence begins
    assert ids_of("MI")[0] in context
    assert len(context) + 1 + 3 * 20 > 64  # as wide as the room allows, up to a sentence


def test_block_windows_do_not_depend_on_candidates():
    text = ". ".join(" ".join(["on heart"] * 9) for _ in range(30))
    for name in LAYOUTS:
        layout = Layout(name=name, attention="block", max_length=128)
        contexts = []
        for size in (1, 200):
            doc = document(text, *[("heart", ["acute " * 30] * size)] * 5)
            inputs, report = pack(layout, doc)
            found = {}
            for item in inputs:
                context = tuple(item.ids[item.blocks == -1].tolist())
                found.update({tuple(pair[:2]): context for pair in item.pairs.tolist()})
            contexts.append(found)
        assert contexts[0] == contexts[1], name


def test_equal_seeds_shuffle_alike_and_differ_from_others():
    doc = document("on MI", ("MI", [f"name {i}" for i in range(20)]))

    def order(seed):
        return [p[2] for i in pack(Layout(), doc, seed=seed)[0] for p in i.pairs.tolist()]

    assert order(None) == list(range(20))
    assert order(3) == order(3) != order(4)
    assert sorted(order(3)) == order(None) != order(3)


def test_mentions_that_are_read_alike_are_read_once():
    doc = document("MI on MI. MI and renal", ("MI", ["a", "b"]), ("MI", ["a", "b"]), ("MI", ["c"]),
                   ("renal", ["a", "b"]))  # fmt: skip
    once = {"name": "document", "attention": "block"}
    (item,), report = pack(Layout(**once), doc, seed=2)
    assert found_pairs([item]) == all_pairs([doc])
    assert len(set(item.masks.tolist())) == 5
    mask_of = {tuple(p[1:]): m for p, m in zip(item.pairs.tolist(), item.masks, strict=True)}
    for candidate in (0, 1):
        assert mask_of[0, candidate] == mask_of[1, candidate]
        at = mask_of[0, candidate] + 1
        assert item.ids[at] == ids_of("ab"[candidate])[0]
    for seed in range(5):  # each mention's candidates are shuffled in their own way
        assert len(set(pack(Layout(**once), doc, seed=seed)[0][0].masks.tolist())) == 5
    many = document("MI on MI", *[("MI", DISTINCT[:90])] * 2)
    inputs, report = pack(Layout(**once, max_length=64), many)
    assert found_pairs(inputs) == all_pairs([many])
    assert len(inputs) > 1 and report.split == 2
    for options in ({"markers": "numbers"}, {"attention": "full"}):
        (item,), _ = pack(Layout(**{**once, **options}), doc)
        assert len(set(item.masks.tolist())) == 7


@pytest.mark.parametrize("attention", ["full", "block"])
def test_inputs_of_the_same_tokens_are_one(attention):
    doc = document("MI on MI. heart and MI", ("MI", ["a", "b"]), ("MI", ["b", "c"]), ("MI", ["a"]),
                   )  # fmt: skip
    inputs, report = pack(Layout(name="base", attention=attention), doc)
    assert found_pairs(inputs) == all_pairs([doc])
    shared = sorted(sorted(map(tuple, item.pairs[:, 1:].tolist())) for item in inputs)
    assert shared == [[(0, 0)], [(0, 1), (1, 0)], [(1, 1)], [(2, 0)]]
    assert (report.pairs, report.inputs) == (5, 4)
    # Marks tell the mentions of a sentence apart.
    marked, _ = pack(Layout(name="base", attention=attention, markers="brackets"), doc)
    assert len(marked) == 5
    # Documents do not share, so that reports add up.
    twice, _ = pack(Layout(name="base", attention=attention), doc, doc)
    assert len(twice) == 2 * len(inputs)


def test_fewer_tokens_where_more_is_shared():
    text = ". ".join(f"the heart attack {name} renal failure acute" for name in DISTINCT[:8])
    names = DISTINCT[:10]
    doc = document(text, *[("heart attack", names), ("renal failure", names)] * 8)
    spent = [
        pack(Layout(name=name, **options), doc)[1].tokens_per_mention
        for name, options in [
            ("base", {}),
            ("parallel", {}),
            ("document", {"attention": "block"}),
            ("document", {"attention": "block", "repeat_mention": False}),
        ]
    ]
    assert spent == sorted(spent, reverse=True)
    assert spent[0] > 4 * spent[-1]


@settings(deadline=None, max_examples=40)
@given(documents(most_words=30), layouts, st.integers(1, 700))
def test_batches_hold_to_their_budget(doc, layout, budget):
    inputs = by_length(pack(layout, doc)[0])
    found = list(batches(inputs, budget))
    assert [id(item) for batch in found for item in batch] == [id(item) for item in inputs]
    for batch in found:
        row = collate(batch, layout)
        assert len(row.ids) == sum(map(len, batch))
        assert len(batch) == 1 or len(row.ids) <= budget
        # No more would have fitted.
        after = inputs[inputs.index(batch[-1]) + 1 :][:1]
        assert all(len(row.ids) + len(item) > budget for item in after)


@settings(deadline=None, max_examples=30)
@given(documents(most_words=12, most_candidates=3), st.booleans(), st.booleans())
def test_who_sees_whom(doc, repeat, numbers):
    """Against the definition, token by token."""
    layout = Layout(name="document", attention="block", repeat_mention=repeat,
                    markers="numbers" if numbers else "none", max_length=64)  # fmt: skip
    inputs, _ = pack(layout, doc)
    if not inputs:
        return
    for item in inputs:
        seen = Padded(collate([item], layout), torch.device("cpu")).seen[0].numpy()
        ids = item.ids.tolist()
        kind, mention, candidate = [], -1, -1
        for token in ids:
            if token == BERT.sep:
                mention, candidate = mention + 1, -1
            elif token == BERT.mask:
                candidate += 1
            kind.append((mention, candidate))
        for i, j in product(range(len(ids)), repeat=2):
            context = kind[j][0] == -1
            own_mention = kind[j] == (kind[i][0], -1)
            assert seen[i, j] == (context or own_mention or kind[i] == kind[j])
        for i in range(1, len(ids)):
            # Positions go on from the last token that is seen.
            before = [j for j in range(i) if seen[i, j]]
            assert item.positions[i] == item.positions[before].max() + 1


@settings(deadline=None, max_examples=40)
@given(st.lists(documents(most_words=30), min_size=1, max_size=3), layouts)
def test_a_row_holds_each_input_as_it_is(docs, layout):
    inputs, _ = pack(layout, *docs)
    if not inputs:
        return
    batch = collate(inputs, layout)
    assert batch.pairs.tolist() == [pair for item in inputs for pair in item.pairs.tolist()]
    sizes = list(zip(batch.lengths.tolist(), batch.contexts.tolist(), strict=True))
    assert sizes == sorted(sizes, reverse=True)
    starts = np.cumsum([0, *batch.lengths])
    columns = ("ids", "positions", "blocks", "parts")[: 4 if layout.attention == "block" else 2]

    def written(table, start, stop):
        return tuple(tuple(getattr(table, name)[start:stop].tolist()) for name in columns)

    assert Counter(
        written(batch, start, stop) for start, stop in itertools.pairwise(starts)
    ) == Counter(written(item, 0, None) for item in inputs)
    # The mask of each pair is in the input that the pair is in.
    first = 0
    for item in inputs:
        masks = batch.masks[first : first + len(item.masks)]
        first += len(item.masks)
        place = int(np.searchsorted(starts, masks[0], side="right")) - 1
        assert (masks - starts[place]).tolist() == item.masks.tolist()
        assert written(batch, starts[place], starts[place + 1]) == written(item, 0, None)
    for start, length, context in zip(starts, batch.lengths, batch.contexts, strict=False):
        blocks = batch.blocks[start : start + length]
        assert (blocks[:context] == -1).all() and (blocks[context:] >= 0).all()


def test_reports_add_up():
    doc = document("on MI", ("MI", ["a", "b"]))
    inputs, report = pack(Layout(), doc)
    assert report + report == pack(Layout(), doc, doc)[1]
    assert PackingReport().tokens_per_mention == 0
    assert report.tokens_per_mention == len(inputs[0].ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "paragraph"}, "use one of 'base', 'parallel'"),
        ({"attention": "sparse"}, "use one of 'full', 'block'"),
        ({"markers": "stars"}, "use one of 'none'"),
        ({"max_length": 16}, "give 32 or more"),
        ({"max_length": 513}, "reads at most 512"),
        ({"max_length": 128, "input_tokens": 64}, "give max_length or more"),
        ({"candidate_tokens": 0}, "give 1 or more"),
    ],
)
def test_settings_that_cannot_be_used(options, message):
    with pytest.raises(SettingsError, match=message):
        Packer(BERT, Layout(**options), 512)


def test_a_mention_outside_of_the_text():
    with pytest.raises(ValueError, match="lies outside of a text of 3 characters"):
        Document("abc", (Mention(2, 4, "c", "g", ()),))
