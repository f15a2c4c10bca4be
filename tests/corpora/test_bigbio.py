import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_bel.corpora.bigbio import parse_page, read_bigbio
from spacy_bel.corpora.document import any_of, code_string, parse_code_string
from spacy_bel.errors import ReadError


def page(identifier="7"):
    return {
        "id": identifier,
        "document_id": "note-7",
        "passages": [
            {
                "id": "p1",
                "type": "title",
                "text": ["Left and right ear pits"],
                "offsets": [[0, 23]],
            },
            {"id": "p2", "type": "body", "text": ["Séquelles: none."], "offsets": [[25, 41]]},
        ],
        "entities": [
            {
                "id": "T1",
                "type": "Phenotype",
                "text": ["Left", "ear pits"],
                "offsets": [[0, 4], [15, 23]],
                "normalized": [{"db_name": "HPO", "db_id": "HP:0004467"}],
            },
            {
                "id": "T2",
                "type": "Phenotype",
                "text": ["Séquelles"],
                "offsets": [[25, 34]],
                "normalized": [{"db_name": "X", "db_id": "A+B"}, {"db_name": "X", "db_id": "C"}],
            },
            {"id": "T3", "type": "", "text": ["none"], "offsets": [[36, 40]], "normalized": []},
        ],
        "events": [],
        "coreferences": [],
        "relations": [{"id": "R1", "type": "side"}],
    }


def test_page_becomes_a_record_with_global_offsets():
    document = parse_page(page())
    assert document.id == "7"
    assert [document.text[a:b] for a, b in document.passages] == [
        "Left and right ear pits",
        "Séquelles: none.",
    ]
    left, sequels, none = document.annotations
    assert (left.start, left.end, left.text) == (0, 23, "Left ear pits")
    assert left.fragments == [(0, 4), (15, 23)]
    assert (left.codes, left.id) == ([["HP:0004467"]], "T1")
    assert sequels.codes == [["A", "C"], ["B", "C"]]
    assert document.text[sequels.start : sequels.end] == sequels.text
    assert sequels.fragments == []
    assert none.codes == []
    assert document.meta == {"relations": [{"id": "R1", "type": "side"}], "document_id": "note-7"}


@pytest.mark.parametrize("shape", ["page.json", "list.json", "lines.jsonl"])
def test_one_page_a_list_and_lines_read_the_same(tmp_path, shape):
    path = tmp_path / shape
    content = json.dumps([page()] if shape == "list.json" else page())
    path.write_text(content, encoding="utf-8")
    assert list(read_bigbio(path)) == [parse_page(page())]


def broken(change):
    bad = page("bad")
    change(bad)
    return bad


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (broken(lambda p: p.pop("passages")), "not a BigBio-KB page"),
        (broken(lambda p: p["passages"][1].update(offsets=[[10, 26]])), "passage at 10-26"),
        (broken(lambda p: p["passages"][1].update(text=["short"])), "passage at 25-41"),
        (broken(lambda p: p["entities"][0].update(offsets=[[30, 99]])), "'T1'.*do not lie in"),
        (broken(lambda p: p["entities"][0].update(offsets=[])), "'T1'.*none do not lie in"),
        (broken(lambda p: p["entities"][0].update(offsets=[["a", "b"]])), "not a BigBio-KB page"),
        ([], "expected a JSON object"),
    ],
)
def test_a_bad_page_is_named_and_the_next_one_read(tmp_path, bad, message):
    path = tmp_path / "pages.jsonl"
    path.write_text("\n".join(map(json.dumps, [page("1"), bad, page("2")])), encoding="utf-8")
    with pytest.raises(ReadError, match=rf"(?s)pages\.jsonl, line 2.*{message}"):
        list(read_bigbio(path))
    errors = []
    assert [d.id for d in read_bigbio(path, on_error=errors.append)] == ["1", "2"]
    assert len(errors) == 1


CODES = st.sampled_from("ABCDE")
PARTS = st.lists(st.lists(CODES, min_size=1, max_size=2), max_size=3)


@given(st.lists(PARTS, max_size=3), st.sets(CODES))
def test_any_of_is_the_disjunction_of_its_alternatives(alternatives, present):
    def holds(parts):
        return all(any(code in present for code in part) for part in parts)

    meaningful = [parts for parts in alternatives if parts]
    expected = any(map(holds, meaningful)) if meaningful else True
    assert holds(any_of(alternatives)) == expected


@given(st.lists(CODES, unique=True))
def test_code_string_round_trip(codes):
    parts = [[code] for code in codes]
    assert parse_code_string(code_string(parts)) == parts
