import gzip

import pytest

from spacy_bel.corpora import read_documents
from spacy_bel.corpora.brat import read_brat
from spacy_bel.errors import ReadError

TEXT = "Douleur aiguë\nau bras gauche 🙂 et fièvre."
ANN = """T1\tDISO 0 13\tDouleur aiguë
#1\tAnnotatorNotes T1\tC0184567
T2\tANAT 17 21;22 28\tbras gauche
#2\tAnnotatorNotes T2\tC0230346 C0446516
T3\tDISO 8 13;0 7\taiguë Douleur
#3\tAnnotatorNotes T3\t C0001+C0002 \nT4\tDISO 34 40\tfièvre
#4\tAnnotatorNotes T4\tto be checked
A1\tNegation T4
N1\tReference T4 UMLS:C0015967\tFever
N2\tReference T4 HP:0001945\tFever
R1\tlocation Arg1:T1 Arg2:T2
*\tEquiv T1 T3
T5\tDISO 34 40\tfièvre
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "note.txt").write_text(TEXT, encoding="utf-8")
    path = tmp_path / "note.ann"
    path.write_text(ANN, encoding="utf-8")
    return path


def test_mentions_in_pieces_nested_and_with_several_codes(path):
    (document,) = read_brat(path)
    assert (document.id, document.text) == ("note", TEXT)
    pain, arm, backwards, fever, bare = document.annotations
    assert (pain.start, pain.end, pain.type, pain.id) == (0, 13, "DISO", "T1")
    assert pain.codes == [["C0184567"]]
    assert (arm.start, arm.end, arm.fragments) == (17, 28, [(17, 21), (22, 28)])
    assert arm.codes == [["C0230346", "C0446516"]]
    # Pieces stay in the order in which the annotator read them.
    assert (backwards.fragments, backwards.start) == ([(8, 13), (0, 7)], 0)
    assert backwards.codes == [["C0001"], ["C0002"]]
    assert fever.codes == [["C0015967", "HP:0001945"]]
    assert fever.meta == {
        "notes": [["AnnotatorNotes", "to be checked"]],
        "attributes": [["Negation", ""]],
        "normalizations": [["UMLS:C0015967", "Fever"], ["HP:0001945", "Fever"]],
    }
    assert (bare.codes, bare.meta) == ([], {})
    assert document.meta == {"brat": ["R1\tlocation Arg1:T1 Arg2:T2", "*\tEquiv T1 T3"]}


def test_codes_with_typing_errors_are_kept(path):
    path.write_text("T1\tX 0 7\tDouleur\n#1\tAnnotatorNotes T1\tC0035946+\n", encoding="utf-8")
    (document,) = read_brat(path)
    assert document.annotations[0].codes == [["C0035946"]]
    assert document.annotations[0].meta == {"code": "C0035946+"}


def test_line_ends_of_windows_count_as_two_characters(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne\r\nfit")
    (tmp_path / "a.ann").write_bytes(b"T1\tX 5 8\tfit\r\n#1\tAnnotatorNotes T1\tC1\r\n")
    (document,) = read_brat(tmp_path / "a.txt")
    (mention,) = document.annotations
    assert (document.text[mention.start : mention.end], mention.codes) == ("fit", [["C1"]])


def test_a_directory_is_its_annotated_texts(path, caplog):
    (path.parent / "README.txt").write_text("no document", encoding="utf-8")
    (path.parent / "annotation.conf").write_text("[entities]", encoding="utf-8")
    for format in ("brat", None):
        assert [d.id for d in read_documents(path.parent, format)] == ["note"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T9\tDISO 0 99\tx", "do not lie in"),
        ("T9\tDISO 7 7\t", "do not lie in"),
        ("T9\tDISO 0\tx", "'0' is not a start and an end"),
        ("T9\tDISO 0 x\tx", "'x' is not a number"),
        ("T9\tDISO", "a mention is written"),
        ("T9", "a mention is written"),
        ("what is this", "not a line of BRAT"),
        ("#1", "not a line of BRAT"),
    ],
)
def test_a_bad_line_is_named_and_left_out(path, line, message):
    path.write_text(f"{ANN}{line}\n", encoding="utf-8")
    with pytest.raises(ReadError, match=rf"note\.ann, line 15.*{message}"):
        list(read_brat(path))
    errors = []
    (document,) = read_brat(path, on_error=errors.append)
    assert (len(document.annotations), len(errors)) == (5, 1)


def test_gzipped_files(path):
    expected = list(read_brat(path))
    for file in (path, path.with_suffix(".txt")):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert list(read_documents(path.parent)) == expected
    assert list(read_brat(path.with_name("note.txt.gz"))) == expected


def test_a_missing_text_is_told(path):
    (path.parent / "note.txt").unlink()
    with pytest.raises(ReadError, match=r"note\.txt"):
        list(read_documents(path, "brat"))
    with pytest.raises(ReadError, match="standard input"):
        list(read_documents("-", "brat"))
