import gzip
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.corpora.pubtator import parse_codes, read_pubtator
from spacy_bel.errors import ReadError

FILE = """
11|t|Short stature and β-thalassaemia in one family
11|a|Two sisters had short stature; breast or ovarian cancer was absent.
11\t0\t13\tShort stature\tPhenotype\tHP:0004322
11\t18\t32\tβ-thalassaemia\tDisease\tD017086
11\t78\t102\tbreast or ovarian cancer\tComposite\tD001943|D010051\tbreast cancer|ovarian cancer
11\tCID\tD017086\tD001943

11|t|The same number again
11|a|
11\t4\t8\tsame\tDisease\t-1

12|t|A title without abstract or mentions
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_reads_every_document_in_order_even_under_one_id(path):
    documents = list(read_pubtator(path))
    assert [document.id for document in documents] == ["11", "11", "12"]
    first = documents[0]
    assert [first.text[a:b] for a, b in first.passages] == [
        "Short stature and β-thalassaemia in one family",
        "Two sisters had short stature; breast or ovarian cancer was absent.",
    ]
    assert all(first.text[a.start : a.end] == a.text for a in first.annotations)
    assert [a.codes for a in first.annotations] == [
        [["HP:0004322"]],
        [["D017086"]],
        [["D001943"], ["D010051"]],
    ]
    assert [a.type for a in first.annotations] == ["Phenotype", "Disease", "Composite"]
    assert first.passage_types == ["title", "abstract"]
    assert first.meta == {"relations": [["CID", "D017086", "D001943"]]}
    assert first.annotations[2].meta == {
        "components": ["breast cancer|ovarian cancer"],
        "code": "D001943|D010051",
    }
    assert documents[1].annotations[0].codes == []
    assert documents[2].annotations == []


def test_gzip_and_windows_line_ends_read_the_same(path, tmp_path):
    zipped = tmp_path / "corpus.txt.gz"
    zipped.write_bytes(gzip.compress(FILE.replace("\n", "\r\n").encode()))
    assert list(read_pubtator(zipped)) == list(read_pubtator(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("13\t0\t5\tShort\tPhenotype\tX", "document above"),
        ("11\t0\t900\tShort\tPhenotype\tX", "do not lie in"),
        ("11\t5\t5\t\tPhenotype\tX", "do not lie in"),
        ("11|a|Again.", "second abstract"),
        ("11\t0\tfive\tShort\tPhenotype\tX", "not a number"),
        ("not a PubTator line", "document above"),
        ("13|a|Text", "without its title"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(tmp_path, line, message):
    path = tmp_path / "broken.txt"
    path.write_text(f"11|t|Short stature\n11|a|Nothing.\n{line}\n", encoding="utf-8")
    with pytest.raises(ReadError, match=rf"(?s)broken\.txt, line 3.*{message}"):
        list(read_pubtator(path))
    errors = []
    (document,) = read_pubtator(path, on_error=errors.append)
    assert (document.text, len(errors)) == ("Short stature\nNothing.", 1)


def test_undecodable_bytes_and_cut_gzip_are_read_errors(tmp_path):
    latin = tmp_path / "latin.txt"
    latin.write_bytes("1|t|Méningite\n".encode("latin-1"))
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(gzip.compress(FILE.encode())[:-12])
    for path in (latin, cut):
        with pytest.raises(ReadError, match=path.name):
            list(read_pubtator(path))


def test_wrong_offsets_are_warned_about_and_kept(tmp_path, caplog):
    path = tmp_path / "shifted.txt"
    path.write_text("1|t|Short stature\n1\t1\t5\tShort\tPhenotype\tX\n", encoding="utf-8")
    (document,) = read_pubtator(path)
    assert len(document.annotations) == 1
    assert "line 2" in caplog.text


@pytest.mark.parametrize(
    ("column", "codes"),
    [
        ("D003110", [["D003110"]]),
        ("D003110|D009369", [["D003110"], ["D009369"]]),
        ("OMIM:610102|OMIM:612446", [["OMIM:610102"], ["OMIM:612446"]]),
        ("C535342|OMIM:116800", [["C535342", "OMIM:116800"]]),
        ("MESH:C535342|C535343", [["MESH:C535342"], ["C535343"]]),
        ("D020279+D035583", [["D020279"], ["D035583"]]),
        ("-1", []),
        ("", []),
        (" OMIM:106210 ", [["OMIM:106210"]]),
        ("D003110|-1", [["D003110"]]),
        ("c|SUB|G|1528|C", [["c|SUB|G|1528|C"]]),
        ("5594,5595", [["5594"], ["5595"]]),
    ],
)
def test_codes(column, codes):
    assert parse_codes(column) == codes


CODE = st.from_regex(r"[A-Z]{1,4}:[0-9]{1,5}|[CD][0-9]{6}", fullmatch=True)


@given(st.lists(CODE, max_size=5), st.sampled_from("|+"))
def test_no_code_is_lost_or_doubled(codes, separator):
    parsed = list(chain.from_iterable(parse_codes(separator.join(codes))))
    assert sorted(parsed) == sorted(set(codes))


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "documents", "mentions", "without_code"),
    [
        ("ncbi-disease/NCBItrainset_corpus.txt", 593, 5145, 0),
        ("ncbi-disease/NCBIdevelopset_corpus.txt", 100, 787, 0),
        ("ncbi-disease/NCBItestset_corpus.txt", 100, 960, 0),
        ("bc5cdr/train_corpus.txt", 500, 9385, 76),
        ("bc5cdr/dev_corpus.txt", 500, 9591, 59),
        ("bc5cdr/test_corpus.txt", 500, 9809, 91),
    ],
)
def test_public_corpora_read_completely(data, file, documents, mentions, without_code):
    records = list(read_pubtator(data / "corpora" / file))
    annotations = [(r.text, a) for r in records for a in r.annotations]
    assert len(records) == documents
    assert len(annotations) == mentions
    assert sum(not a.codes for _, a in annotations) == without_code
    # One mention of the NCBI training set is written with two trailing spaces.
    assert all(text[a.start : a.end].strip() == a.text.strip() for text, a in annotations)
