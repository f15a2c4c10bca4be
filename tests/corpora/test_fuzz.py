"""Any bytes end in a named error or in records whose offsets lie in their texts."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacy_bel.corpora import FORMATS, read_documents
from spacy_bel.errors import ReadError

SAMPLES = {
    "pubtator": ("a.txt", b"1|t|Short fit\n1|a|None\n1\t6\t9\tfit\tP\tA|B\tx\n1\tCID\tA\tB\n"),
    "bioc": (
        "a.xml",
        b'<?xml version="1.0"?><collection><document><id>1</id><passage><infon key="type">t</infon>'
        b'<offset>0</offset><text>A fit</text><annotation id="1"><infon key="identifier">A</infon>'
        b'<infon key="all_links">A=1|B=0</infon><infon key="json:codes">[["A"]]</infon>'
        b'<location offset="2" length="3"/><text>fit</text></annotation></passage></document>'
        b"</collection>",
    ),
    "brat": (
        "a.ann",
        b"T1\tP 0 1;2 5\tA fit\n#1\tAnnotatorNotes T1\tC1 C2\nN1\tReference T1 X:1\tx\n",
    ),
    "spaccc": ("a.tsv", b"filename\tlabel\toff0\toff1\tspan\tcode\na\tP\t2\t5\tfit\t1+2\n"),
    "bigbio": (
        "a.json",
        json.dumps(
            {
                "id": "1",
                "passages": [{"text": ["A fit"], "offsets": [[0, 5]], "type": "t"}],
                "entities": [
                    {
                        "text": ["fit"], "offsets": [[2, 5]], "type": "P",
                        "normalized": [{"db_id": "A+B"}, {"db_id": "C"}], "codes": [["A"]],
                    }
                ],
            }
        ).encode(),
    ),
    "jsonl": (
        "a.jsonl",
        b'{"id": 1, "text": "A fit", "mentions": [{"start": 2, "end": 5, "code": "A", '
        b'"candidates": [{"code": "A", "name": "a", "score": 1e3}]}]}\n',
    ),
    "knowtator": (
        "a.knowtator.xml",
        b'<annotations textSource="a.txt"><annotation><mention id="1"/><span start="2" end="5"/>'
        b'<spannedText>fit</spannedText></annotation><classMention id="1"><mentionClass id="U:1"/>'
        b"</classMention></annotations>",
    ),
    "text": ("a.text", "Größe\r\n".encode()),
    "docbin": ("a.spacy", b"x\x9c\xab\x06\x00\x00\x82\x00\x81"),
}  # fmt: skip
CHUNKS = st.binary(max_size=3) | st.sampled_from(
    [b"-", b"9" * 5000, b"1e999", b"\n", b"\t", b"null", b"[", b"<", b"&a;", b"\xff", b'"', b"\0"]
)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files(format, tmp_path, data):
    name, sample = SAMPLES[format]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(sample)))
        end = data.draw(st.integers(start, min(len(sample), start + 8)))
        sample = sample[:start] + data.draw(CHUNKS) + sample[end:]
    (tmp_path / name).write_bytes(sample)
    if not (tmp_path / "a.txt").exists():
        (tmp_path / "a.txt").write_text("A fit", encoding="utf-8")
    skipped = []
    for on_error in (None, skipped.append):
        try:
            documents = list(read_documents(tmp_path / name, format, on_error=on_error))
        except ReadError as error:
            assert name in str(error)
            continue
        for document in documents:
            for a in document.annotations:
                assert 0 <= a.start < a.end <= len(document.text)
                assert all(a.codes)
