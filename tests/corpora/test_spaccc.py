import pytest

from spacy_bel.corpora import read_documents
from spacy_bel.corpora.spaccc import read_spaccc
from spacy_bel.errors import ReadError

TEXT = 'Dolor "en puñalada" y fiebre.'
DISTEMIST = """filename\tmark\tlabel\toff0\toff1\tspan\tcode\tsemantic_rel\thpo_code
es-1\tT1\tENFERMEDAD\t22\t28\tfiebre\t386661006\tEXACT\tHP:0001945
es-1\tT2\tENFERMEDAD\t0\t19\t"Dolor ""en puñalada\"\"\"\t1+2\tCOMPOSITE\tNone
es-2\tT1\tENFERMEDAD\t0\t3\tTos\t1.63E+16\tEXACT\tNone
es-2\tT2\tENFERMEDAD\t0\t3\tTos\tNO_CODE\tEXACT\tHP:1+HP:2
"""
SYMPTEMIST = """filename\tlabel\tstart_span\tend_span\ttext\tcode\tsem_rel\tis_abbrev
es-1\tSINTOMA\t0\t5\tDolor\t22253000\tEXACT\tFalse
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tsv").mkdir()
    (tmp_path / "text_files").mkdir()
    (tmp_path / "text_files" / "es-1.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "text_files" / "es-2.txt").write_text("Tos", encoding="utf-8")
    (tmp_path / "tsv" / "1.tsv").write_bytes(
        b"\xef\xbb\xbf" + DISTEMIST.replace("\n", "\r\n").encode()
    )
    (tmp_path / "tsv" / "2.tsv").write_text(SYMPTEMIST, encoding="utf-8")
    return tmp_path


def test_columns_go_by_their_names(folder, caplog):
    first, second = read_spaccc(folder / "tsv" / "1.tsv")
    assert (first.id, first.text) == ("es-1", TEXT)
    fever, pain = first.annotations
    assert (fever.start, fever.end, fever.text, fever.type, fever.id) == (
        22, 28, "fiebre", "ENFERMEDAD", "T1",
    )  # fmt: skip
    assert fever.codes == [["386661006"]]
    assert fever.meta == {"semantic_rel": "EXACT", "hpo_code": "HP:0001945"}
    # A spreadsheet has quoted the cell.
    assert (pain.text, pain.codes) == ('Dolor "en puñalada"', [["1"], ["2"]])
    mangled, none = second.annotations
    assert mangled.codes == [["1.63E+16"]]
    assert (none.codes, none.meta["code"]) == ([], "NO_CODE")
    assert not caplog.records
    (other,) = read_spaccc(folder / "tsv" / "2.tsv")
    assert other.annotations[0].codes == [["22253000"]]
    assert other.annotations[0].meta == {"sem_rel": "EXACT", "is_abbrev": "False"}


def test_files_over_the_same_texts_come_together(folder):
    documents = list(read_documents(folder))
    assert [d.id for d in documents] == ["es-1", "es-2"]
    assert [a.type for a in documents[0].annotations] == ["ENFERMEDAD", "ENFERMEDAD", "SINTOMA"]
    assert documents == list(read_documents(folder, "spaccc"))


def test_another_column_of_codes(folder):
    first, second = read_spaccc(folder / "tsv" / "1.tsv", code_column="hpo_code")
    assert [a.codes for a in first.annotations] == [[["HP:0001945"]], []]
    assert [a.codes for a in second.annotations] == [[], [["HP:1"], ["HP:2"]]]
    assert first.annotations[0].meta["code"] == "386661006"
    with pytest.raises(ReadError, match=r"2\.tsv, line 1.*hpo_code"):
        list(read_spaccc(folder / "tsv" / "2.tsv", code_column="hpo_code"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("es-1\tS\t0\t5\tDolor\t1\tE", "7 columns instead of 8"),
        ("es-1\tS\t0\tfive\tDolor\t1\tE\tF", "'five' is not a number"),
        ("es-1\tS\t0\t500\tDolor\t1\tE\tF", "do not lie in"),
        ("es-9\tS\t0\t5\tDolor\t1\tE\tF", r"es-9\.txt is neither beside"),
        ("e" * 256 + "\tS\t0\t5\tDolor\t1\tE\tF", "not the plain name of a file"),
        ("../es-1\tS\t0\t5\tDolor\t1\tE\tF", "not the plain name of a file"),
    ],
)
def test_a_bad_line_is_named_and_left_out(folder, line, message):
    path = folder / "tsv" / "2.tsv"
    path.write_text(f"{SYMPTEMIST}{line}\n", encoding="utf-8")
    with pytest.raises(ReadError, match=rf"2\.tsv, line 3.*{message}"):
        list(read_spaccc(path))
    errors = []
    (document,) = read_spaccc(path, on_error=errors.append)
    assert (len(document.annotations), len(errors)) == (1, 1)


def test_other_tables_are_no_corpora(folder):
    path = folder / "tsv" / "2.tsv"
    path.write_text("a\tb\n1\t2\n", encoding="utf-8")
    with pytest.raises(ReadError, match=r"2\.tsv, line 1: expected a heading"):
        list(read_spaccc(path))
