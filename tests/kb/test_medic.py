from __future__ import annotations

import re

import pytest

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.medic import read_medic

LINES = """D000001||Made-up Disease|Disease, Made-up|made-up disease
C500001|100001|C500002||Another Disorder, 2

200002||THIRD, SYNDROME|THS
100001||Fourth
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "medic.txt"
    path.write_text(LINES, encoding="utf-8")
    return path


def test_concepts(path):
    kb = read_medic(path).build()
    assert sorted(kb) == ["100001", "200002", "C500001", "D000001"]
    assert kb["D000001"].names == ("Made-up Disease", "Disease, Made-up", "made-up disease")
    assert kb.groups == ("Disease",)
    assert kb.cross_references("C500001", "OMIM") == ("OMIM:100001",)
    assert read_medic(path, group="Illness").build().groups == ("Illness",)


@pytest.mark.parametrize(
    ("code", "main"),
    [
        ("MESH:D000001", "D000001"),
        ("C500002", "C500001"),
        ("MESH:C500002", "C500001"),
        ("OMIM:200002", "200002"),
        ("100001", "100001"),
        ("OMIM:200003", None),
    ],
)
def test_ids_resolve_as_corpora_write_them(path, code, main):
    assert read_medic(path).build().resolve(code) == main


def test_damaged_lines(path):
    path.write_text("D1||a\nonly text\nD2||\nD1||again\n||x\nD3||c\n")
    with pytest.raises(ReadError, match=r"medic\.txt, line 2: .*'\|\|'"):
        read_medic(path)
    builder = read_medic(path, on_error="skip")
    assert sorted(builder.build()) == ["D1", "D3"]
    assert builder.skipped == 4


@pytest.mark.data
def test_medic_covers_the_ncbi_disease_corpus(data):
    builder = read_medic(data / "kb" / "medic" / "medic_06Jul2012.txt.gz")
    assert (len(builder), builder.skipped) == (11_915, 0)
    kb = builder.build()
    ids = []
    for file in (data / "corpora" / "ncbi-disease").glob("*.txt"):
        for line in file.read_text(encoding="utf-8").splitlines():
            columns = line.split("\t")
            if len(columns) == 6:
                ids += re.split(r"[|+]", columns[5].strip())
    assert len(ids) > 6_892
    assert [code for code in ids if code not in kb] == []
