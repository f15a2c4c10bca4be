import gzip
import zlib

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_bel.candidates import Candidate, set_candidates
from spacy_bel.corpora import read_documents
from spacy_bel.corpora.docbin import read_docbin
from spacy_bel.errors import ReadError

VOCAB = spacy.blank("en").vocab


def stored(tmp_path, *docs):
    path = tmp_path / "docs.spacy"
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


def test_documents_that_spacy_made(tmp_path):
    doc = Doc(VOCAB, words=["No", "fits", "."], spaces=[True, False, False])
    doc.set_ents([Span(doc, 1, 2, label="P", kb_id="HP:1+HP:2")])
    other = Doc(VOCAB, words=["ASD"], spaces=[False])
    other.user_data["document_id"] = "b"
    other.spans["mentions"] = [Span(other, 0, 1, label="P", kb_id="A")]
    other.spans["passages"] = [Span(other, 0, 1, label="title")]
    set_candidates(other.spans["mentions"][0], [Candidate("A", "a name", 0.5)])
    first, second = read_documents(stored(tmp_path, doc, other))
    assert (first.id, first.text) == ("1", "No fits.")
    (mention,) = first.annotations
    assert (mention.start, mention.end, mention.text, mention.type) == (3, 7, "fits", "P")
    assert mention.codes == [["HP:1"], ["HP:2"]]
    # The code of a mention with candidates is the linker's.
    assert (second.id, second.annotations[0].codes) == ("b", [])
    assert second.annotations[0].links == [("A", "a name", 0.5)]
    assert (second.passages, second.passage_types) == ([(0, 3)], ["title"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a DocBin",
        zlib.compress(b"no msgpack"),
        zlib.compress(b"\x80"),
        gzip.compress(b"something else"),
        gzip.compress(b"something else")[:-4],
    ],
)
def test_anything_else_is_a_read_error(tmp_path, content):
    path = tmp_path / "docs.spacy"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"docs\.spacy: not a DocBin"):
        list(read_docbin(path))


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_bel.corpora.docbin.FREE_BYTES", 1 << 20)
    path = tmp_path / "bomb.spacy"
    path.write_bytes(zlib.compress(bytes(1 << 23), 9))
    with pytest.raises(ReadError, match="100 times its size"):
        list(read_docbin(path))
