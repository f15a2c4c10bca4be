import gzip

import pytest

from spacy_bel.corpora import read_documents
from spacy_bel.corpora.files import numbered_lines
from spacy_bel.errors import ReadError


def test_gzip_is_told_from_the_content(tmp_path):
    path = tmp_path / "note.txt"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfone\r\ntwo"))
    assert list(numbered_lines(path)) == [(1, "one\r\n"), (2, "two")]


@pytest.mark.parametrize("format", ["text", "pubtator", "jsonl", "bigbio", "bioc"])
def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch, format):
    monkeypatch.setattr("spacy_bel.corpora.files.FREE_BYTES", 1 << 20)
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b" " * (1 << 23)))
    with pytest.raises(ReadError, match=r"bomb\.txt\.gz.*100 times its size"):
        list(read_documents(path, format))


def test_an_endless_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_bel.corpora.files.MAX_LINE", 100)
    path = tmp_path / "a.txt"
    path.write_text("short\n" + "x" * 200, encoding="utf-8")
    with pytest.raises(ReadError, match=r"a\.txt, line 2: longer than 100"):
        list(read_documents(path))


@pytest.mark.parametrize("damage", ["cut", "altered"])
@pytest.mark.parametrize("format", ["text", "pubtator", "jsonl", "bigbio", "bioc", "docbin"])
def test_a_damaged_gzip_is_a_read_error(tmp_path, format, damage):
    packed = bytearray(gzip.compress(b"1|t|Some title of no importance\n" * 50, 1))
    if damage == "cut":
        del packed[-10:]
    else:
        packed[20:40] = bytes(20)
    path = tmp_path / "damaged.gz"
    path.write_bytes(packed)
    with pytest.raises(ReadError, match=r"damaged\.gz"):
        list(read_documents(path, format))
