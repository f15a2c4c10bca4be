from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers import json_stream
from spacy_bel.kb.readers.json_stream import list_items, nested_strings
from spacy_bel.kb.readers.longbel import read_longbel
from spacy_bel.kb.readers.ontology_json import read_ontology_json
from tests.kb.reader_fixtures import write_source

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@pytest.fixture(params=[3, 1 << 20])
def block(request, monkeypatch):
    """Blocks so small that every value is cut."""
    monkeypatch.setattr(json_stream, "_BLOCK", request.param)


@settings(max_examples=100, deadline=None)
@given(
    items=st.lists(values, max_size=6), indent=st.sampled_from([None, 1]), block=st.integers(1, 9)
)
def test_lists_are_read_as_json_reads_them(tmp_path_factory, items, indent, block):
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(items, indent=indent, ensure_ascii=len(items) % 2 == 0))
    before = json_stream._BLOCK
    json_stream._BLOCK = block
    try:
        assert [item for _, item in list_items(path)] == items
    finally:
        json_stream._BLOCK = before


def test_lines_are_counted(tmp_path, block):
    path = tmp_path / "x.json"
    path.write_text('[\n1,\n{"a":\n2},\n\n3]\n')
    assert list(list_items(path)) == [(2, 1), (3, {"a": 2}), (6, 3)]
    path.write_text('{"G":\n {"a": "1",\n  "b": "2"},\n"H": {}}')
    assert list(nested_strings(path)) == [(2, "G", "a", "1"), (3, "G", "b", "2")]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1", "[1,]", "[1 2]", "[1] 2", '["open', "[" * 100_000, "nul", "\n\n[1,\nx]"],
)
def test_broken_lists(tmp_path, block, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ReadError, match=r"x\.json, line \d: not the expected JSON"):
        list(list_items(path))


@pytest.mark.parametrize("text", ["[]", '{"a": []}', '{"a": {1: 2}}', '{"a": {"b": "c"}', "{}{}"])
def test_broken_objects(tmp_path, block, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ReadError, match="not the expected JSON"):
        list(nested_strings(path))


def test_ontology_json(tmp_path):
    kb = read_ontology_json(write_source(tmp_path, "ontology-json")).build()
    assert kb["C1"].names == ("seizure", "fit")
    assert kb["C1"].definition == "Sudden."
    assert kb["C1"].groups == ("Sign or Symptom",)
    assert kb["C1"].parents == ("C2",)
    assert kb["C2"].groups == ("Concept",)


def test_ontology_json_with_obsolete_objects_and_shared_names(tmp_path):
    path = tmp_path / "o.json"
    objects = [
        {"id": "1", "name": "a", "broader_concepts": ["b"], "broader_ids": ["4"]},
        *({"id": code, "name": "b", "alt_ids": [f"{code}x"]} for code in "23"),
        {"id": "5", "name": "c", "obsolete": True},
        {"id": "6", "name": 7},
        "none",
    ]
    path.write_text(json.dumps(objects, indent=1))
    with pytest.raises(ReadError, match=r"o\.json, line \d+: an object has no id or no name"):
        read_ontology_json(path)
    builder = read_ontology_json(path, on_error="skip")
    assert builder.skipped == 2
    kb = builder.build()
    assert kb["1"].parents == ("4",)  # two are called "b"
    assert (kb.resolve("2x"), kb.resolve("5")) == ("2", None)


def test_longbel(tmp_path):
    builder = read_longbel(write_source(tmp_path, "longbel"))
    assert builder.entries == 4
    kb = builder.build()
    assert kb["C1"].names == ("Seizure", "Fit")
    assert kb["C1"].groups == ("Disorders", "Signs")
    path = tmp_path / "text_to_code.json"
    path.write_text('{"G": {"a": null,\n"b": "1"}}')
    with pytest.raises(ReadError, match="line 1: the name 'a' has no code"):
        read_longbel(path)
