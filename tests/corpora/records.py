"""Generated corpus records, and how to compare what formats make of them."""

from dataclasses import replace

from hypothesis import strategies as st

from spacy_bel.corpora import Annotation, CorpusDocument

# What XML can hold, line ends and markup among it.
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]) | (
    st.sampled_from("\n\r\t <&>\"'|+ab")
)
WORDS = st.text(st.sampled_from("aZ:é<&_"), min_size=1, max_size=4)
CODES = st.from_regex(r"[A-Z]{1,3}:?[0-9]{1,4}", fullmatch=True)
PARTS = st.lists(CODES, min_size=1, max_size=3, unique=True)
# Formats that list composites tell parts apart by what is in no other.
CODE_LISTS = st.lists(PARTS, max_size=3).filter(
    lambda parts: len({code for part in parts for code in part}) == sum(map(len, parts))
)
META = st.dictionaries(
    st.sampled_from(["note", "type", "code", "id", "codes", "json:x", "meta", "relations"]),
    st.text(CHARACTERS, max_size=3) | st.lists(st.integers(0, 9), min_size=1, max_size=2),
    max_size=3,
)


@st.composite
def records(draw):
    """A record with mentions that are nested, overlap or come in pieces; offsets are right."""
    text = draw(st.text(CHARACTERS, max_size=30))
    document = CorpusDocument(draw(WORDS), text)
    if draw(st.booleans()):
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
        document.passages = list(zip(cuts, cuts[1:], strict=False)) or [(0, 0)]
        document.passage_types = [draw(WORDS) for _ in document.passages]
    elif text:
        # Passages that leave out text, or lie within one another.
        document.passages = draw(st.lists(_places(text), max_size=2))
        document.passage_types = ["" for _ in document.passages]
    for number in range(draw(st.integers(0, 4)) if text else 0):
        pieces = draw(st.lists(_places(text), min_size=1, max_size=3))
        document.annotations.append(
            Annotation(
                min(a for a, _ in pieces),
                max(b for _, b in pieces),
                " ".join(text[a:b] for a, b in pieces),
                draw(WORDS | st.just("")),
                draw(CODE_LISTS),
                pieces if len(pieces) > 1 else [],
                f"T{number}",
                meta=draw(META),
            )
        )
    document.meta = {"source": draw(st.text(CHARACTERS, max_size=3)), "relations": [["CID", "A"]]}
    return document


def _places(text):
    pairs = st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text)))
    return pairs.map(lambda pair: (min(pair), max(pair[0] + 1, pair[1])))


def comparable(documents):
    """Records in a form that does not depend on the order of mentions."""
    return [
        replace(
            document,
            annotations=sorted(document.annotations, key=lambda a: (a.id, a.start, a.end, a.text)),
            passage_types=document.passage_types or [""] * len(document.passages),
        )
        for document in documents
    ]
