import gzip
import io
import json

import pytest

from spacy_bel.corpora import read_documents
from spacy_bel.corpora.reading import infer_format
from spacy_bel.corpora.text import read_jsonl, read_plain_text
from spacy_bel.errors import ReadError

RECORD = {
    "id": 4,
    "text": "Ataxia 🙂 and tremor.",
    "entities": [{"start": 13, "end": 19, "label": "Phenotype", "code": "HP:0001337"}],
    "meta": {"ward": 3},
    "source": "clinic",
}
PUBTATOR = "1|t|Ataxia\n1|a|None.\n1\t0\t6\tAtaxia\tDisease\tD001259\n"
PAGE = {
    "id": "9",
    "passages": [{"text": ["Tremor"], "offsets": [[0, 6]]}],
    "entities": [],
}


def test_plain_text_keeps_every_character(tmp_path):
    path = tmp_path / "ward.note.txt"
    path.write_bytes("Ataxia.\r\n\n\tTremor\u2028end".encode())
    (document,) = read_plain_text(path)
    assert document.id == "ward.note"
    assert document.text == "Ataxia.\r\n\n\tTremor\u2028end"


def test_json_lines_keep_mentions_and_everything_else(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text(json.dumps(RECORD) + '\n\n{"text": "No id"}\n', encoding="utf-8")
    first, second = read_jsonl(path)
    assert first.id == "4"
    (mention,) = first.annotations
    assert (mention.text, mention.type, mention.codes) == ("tremor", "Phenotype", [["HP:0001337"]])
    assert first.meta == {"meta": {"ward": 3}, "source": "clinic"}
    assert (second.id, second.annotations) == ("3", [])


@pytest.mark.parametrize("key", ["mentions", "spans"])
def test_other_names_of_the_mentions(tmp_path, key):
    path = tmp_path / "notes.jsonl"
    record = {"text": "Ataxia", key: [{"start": 0, "end": 6, "label": None, "code": None}]}
    path.write_text(json.dumps(record), encoding="utf-8")
    (document,) = read_jsonl(path)
    assert [(a.text, a.type, a.codes) for a in document.annotations] == [("Ataxia", "", [])]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 1}', 'no "text"'),
        ("{not json", "not JSON"),
        ('{"text": "a", "entities": [{"start": 0, "end": 9}]}', "do not lie"),
        ('{"text": "a", "entities": [{"start": 0}]}', "'start' and 'end'"),
        ('{"text": "a", "entities": 7}', "'start' and 'end'"),
        ('"text"', "JSON object"),
    ],
)
def test_a_bad_line_is_reported_and_the_next_one_read(tmp_path, line, message):
    path = tmp_path / "notes.jsonl"
    path.write_text(f'{line}\n{{"id": "good", "text": "b"}}\n', encoding="utf-8")
    with pytest.raises(ReadError, match=rf"notes\.jsonl, line 1.*{message}"):
        list(read_jsonl(path))
    errors = []
    assert [d.id for d in read_documents(path, on_error=errors.append)] == ["good"]
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [
        ("a.txt", "Ataxia and tremor.", "text"),
        ("a.txt", "", "text"),
        ("a.txt", "\n" + PUBTATOR, "pubtator"),
        ("a.pubtator", PUBTATOR, "pubtator"),
        ("a.jsonl", json.dumps(RECORD), "jsonl"),
        ("a.jsonl", json.dumps({"text": 'the key "passages"'}), "jsonl"),
        ("a.json", json.dumps(PAGE, indent=2), "bigbio"),
        ("-", json.dumps(PAGE), "bigbio"),
        ("-", json.dumps(RECORD), "jsonl"),
        ("note", "{see attached}", "text"),
        ("a.spacy", "", "docbin"),
        ("a.ann", "T1\tX 0 1\ta", "brat"),
        ("a.xml", '<?xml version="1.0"?>\n<!DOCTYPE collection SYSTEM "BioC.dtd">', "bioc"),
        ("a.BioC.xml.gz", "<collection>", "bioc"),
        ("a.txt.knowtator.xml", "", "knowtator"),
        ("a.tsv", "filename\tmark\tlabel\toff0\toff1\tspan\tcode", "spaccc"),
    ],
)
def test_inferred_format(name, content, format):
    assert infer_format(name, content) == format


def test_a_directory_is_read_in_order_with_the_format_of_each_file(tmp_path, caplog):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("Tremor", encoding="utf-8")
    (tmp_path / "b" / "c.txt").write_text(PUBTATOR, encoding="utf-8")
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(json.dumps(RECORD).encode()))
    (tmp_path / "e.json").write_text(json.dumps([PAGE, PAGE]), encoding="utf-8")
    (tmp_path / "scan.pdf").write_bytes(b"%PDF\xff")
    (tmp_path / ".hidden.txt").write_text("x", encoding="utf-8")
    assert [d.id for d in read_documents(tmp_path)] == ["a", "1", "4", "9", "9"]
    assert "1 files" in caplog.text


def test_an_unreadable_file_is_reported_and_the_others_read(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "b.txt").write_text("Tremor", encoding="utf-8")
    errors = []
    assert [d.id for d in read_documents(tmp_path, on_error=errors.append)] == ["b"]
    assert "a.txt" in str(errors[0])
    with pytest.raises(ReadError, match=r"a\.txt"):
        list(read_documents(tmp_path))


def test_missing_path_empty_directory_and_unknown_format(tmp_path):
    with pytest.raises(ReadError, match="does not exist"):
        list(read_documents(tmp_path / "none.txt"))
    with pytest.raises(ReadError, match="no corpus file"):
        list(read_documents(tmp_path))
    with pytest.raises(ReadError, match="Unknown format 'xml'"):
        list(read_documents(tmp_path, "xml"))


def test_only_the_documents_of_a_split(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"{i}|t|Title\n\n" for i in (3, 4, 5, 4)), encoding="utf-8")
    ids = tmp_path / "pmids.txt"
    ids.write_bytes(b"\xef\xbb\xbf4\r\n\r\n5\r\n")
    documents = list(read_documents(path, ids=ids))
    assert [d.id for d in documents] == ["4", "5", "4"]
    assert [d.meta for d in documents] == [{}, {}, {"duplicate_id": 2}]
    errors = []
    assert [d.id for d in read_documents(path, ids=["3", "9"], on_error=errors.append)] == ["3"]
    assert "1 of 2 ids are not in" in str(errors[0])


def test_an_id_that_occurs_again_is_kept_flagged_and_told(tmp_path, caplog):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"id": 7, "text": "x"}\n', encoding="utf-8")
    first, second = read_documents(tmp_path)
    assert (first.meta, second.meta) == ({}, {"duplicate_id": 2})
    assert "Document 7 occurs 2 times" in caplog.text


def test_standard_input_is_sniffed_and_stays_open(monkeypatch):
    content = "\n".join(json.dumps({**RECORD, "id": str(i)}) for i in range(3))
    stdin = io.TextIOWrapper(io.BytesIO(content.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    documents = list(read_documents("-"))
    assert [d.id for d in documents] == ["0", "1", "2"]
    assert documents[0].annotations[0].text == "tremor"
    assert not stdin.buffer.closed


def test_reading_is_lazy(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": "first", "text": "a"}\n{broken\n', encoding="utf-8")
    assert next(read_documents(path)).id == "first"
