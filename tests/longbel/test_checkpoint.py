"""What a released checkpoint says of itself, and its table as a knowledge base."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacy_bel.errors import KnowledgeBaseError, ModelError, ReadError
from spacy_bel.kb import KnowledgeBase
from spacy_bel.kb.name_groups import concepts_within
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.models.checkpoint import (
    is_released_checkpoint,
    plain_config,
    released_directory,
    released_language,
    released_name,
    released_prompt,
)
from spacy_bel.longbel.name_trie import NameTrie
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.released_kb import read_released_table, released_kb
from spacy_bel.longbel.tokenization import PromptTokenizer

from .conftest import character_tokenizer
from .released import BRACKETS, CARD, TABLE, edit, write_released


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return write_released(tmp_path_factory.mktemp("released") / "checkpoint")


@pytest.fixture
def bare(tmp_path):
    """A directory with the files that tell checkpoints apart, and no weights."""

    def make(model_type="llama", special=(), sep_token=None, card=None, table="{}"):
        edit(tmp_path / "config.json", model_type=model_type)
        edit(
            tmp_path / "tokenizer_config.json",
            additional_special_tokens=list(special),
            sep_token=sep_token,
        )
        if card is not None:
            (tmp_path / "README.md").write_text(card, encoding="utf-8")
        if table is not None:
            (tmp_path / "text_to_code.json").write_text(table)
        return tmp_path

    return make


def names_by_group(kb):
    """{group: {name: sorted codes}}, asked for name by name."""
    found = {}
    for group in kb.groups:
        mask = kb.group_mask([group])
        for name_id in range(kb.n_names):
            codes = [kb.code(c) for c in concepts_within(kb, name_id, mask)]
            if codes:
                found.setdefault(group, {})[kb.name(name_id)] = sorted(codes)
    return found


def as_lists(table):
    return {group: {n: [c] for n, c in names.items()} for group, names in table.items() if names}


def test_what_it_says_of_itself(released):
    assert is_released_checkpoint(released)
    assert released_directory(str(released)) == released
    assert released_prompt(released) == "hybrid_long"
    assert released_language(released) == "fr"
    assert released_name(released) == "Tiny-1B"


@pytest.mark.parametrize(
    ("files", "prompt"),
    [
        ({"model_type": "llama_longbel"}, "hybrid_long"),
        ({"model_type": "llama_syncabel", "card": CARD}, "syncabel_fr"),
        ({"special": [*BRACKETS, "<+>"]}, "hybrid_long"),
        ({"special": BRACKETS, "sep_token": "<SEP>"}, "long"),
        ({"special": ["<SEP>"], "card": CARD.replace("- fr", "- es")}, "syncabel_es"),
        ({"special": [{"content": "<SEP>"}], "card": "---\nlanguage: en\n---\n"}, "syncabel_en"),
        ({}, "hybrid_long"),
        ({"table": None}, None),
        ({"table": None, "model_type": "llama_longbel"}, "hybrid_long"),
    ],
)
def test_prompt(bare, files, prompt):
    assert released_prompt(bare(**files)) == prompt


@pytest.mark.parametrize(
    "card", [None, "# No metadata", "---\nlanguage: [en, fr]\n---\n", "---\n{"]
)
def test_prompt_of_syncabel_without_a_language(bare, card):
    directory = bare("llama_syncabel", card=card)
    with pytest.raises(ModelError, match="Set prompt to 'syncabel_en'"):
        released_prompt(directory)
    assert released_prompt(directory, "es") == "syncabel_es"


@pytest.mark.parametrize("other", ["some/hub-id", "/no/such/directory", None, object()])
def test_other_models_are_none(other):
    assert released_directory(other) is None


def test_plain_models_keep_their_configuration(tmp_path):
    edit(tmp_path / "config.json", model_type="llama")
    assert plain_config(tmp_path) is None


def test_an_architecture_that_transformers_lacks(tmp_path):
    edit(tmp_path / "config.json", model_type="lllama_longbel")
    with pytest.raises(ModelError, match="knows no model 'lllama'"):
        plain_config(tmp_path)


def test_loads_without_its_code(released):
    model = CausalLanguageModel.from_pretrained(released, device="cpu")
    assert model.model.config.model_type == "llama"
    assert model.prompt == "hybrid_long"
    assert not (released / "unpickled").exists()


def test_missing_weights(released, tmp_path):
    for file in released.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    edit(tmp_path / "config.json", num_hidden_layers=3)
    with pytest.raises(
        ModelError, match=r"lack \d+ of what the model needs, such as 'model.layers.2"
    ):
        CausalLanguageModel.from_pretrained(tmp_path, device="cpu")


def test_knowledge_base(released, tmp_path, monkeypatch):
    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path))
    kb = released_kb(released)
    assert names_by_group(kb) == as_lists(TABLE)
    assert kb.meta.name == "Tiny-1B"
    assert kb["D4"].names == ("Fever", "Heat")
    assert kb["D4"].groups == ("Disorders", "Phenomena")
    again = released_kb(released)
    assert again.path == kb.path is not None
    kb.to_disk(tmp_path / "copy")
    copied = KnowledgeBase.from_disk(tmp_path / "copy", verify=True)
    assert names_by_group(copied) == names_by_group(KnowledgeBase.from_bytes(kb.to_bytes()))
    assert names_by_group(copied) == as_lists(TABLE)


def test_a_changed_table_is_read_again(bare):
    directory = bare(table='{"G": {"a": "1"}}')
    first = released_kb(directory)
    (directory / "text_to_code.json").write_text('{"G": {"a": "2"}}')
    assert names_by_group(released_kb(directory)) == {"G": {"a": ["2"]}}
    assert names_by_group(first) == {"G": {"a": ["1"]}}


def test_a_damaged_cache_is_built_again(bare):
    directory = bare(table='{"G": {"a": "1"}}')
    (released_kb(directory).path / "codes.marisa").write_bytes(b"")
    assert names_by_group(released_kb(directory)) == {"G": {"a": ["1"]}}


NAMES = st.text("ab [é", min_size=1, max_size=4).map(lambda s: f"n{s}n")
TABLES = st.dictionaries(
    st.sampled_from(["G", "H", "Chemicals & Drugs"]),
    st.dictionaries(NAMES, st.sampled_from(["C1", "C2", "C3", "C10"]), max_size=6),
    min_size=1,
).filter(lambda table: any(table.values()))


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TABLES)
def test_every_table_comes_back(tmp_path, table):
    """Each group has exactly its names, and each of them exactly its code."""
    path = tmp_path / "text_to_code.json"
    path.write_text(json.dumps(table))
    kb = read_released_table(path)
    assert names_by_group(kb) == as_lists(table)
    # The same, as the decoder sees it: what can be written in a group, and its candidates.
    trie = NameTrie.build(kb, PromptTokenizer(character_tokenizer(), get_prompt("hybrid_long")))
    for group in kb.groups:
        mask = kb.group_mask([group])
        reached, frontier = set(), [0]
        while frontier:
            node = frontier.pop()
            reached |= {kb.name(int(i)) for i in trie.trie.sequences_at(node)}
            _, edges = trie.trie.children(np.array([node]), mask)
            frontier += (edges + 1).tolist()
        # Names that differ in brackets only are written alike, in whichever group.
        assert {n for n in reached if concepts_within(kb, kb.name_id(n), mask).size} == set(
            table[group]
        )
        assert {n.replace("[", "(") for n in reached} == {n.replace("[", "(") for n in table[group]}


def test_more_groups_than_a_word_has_bits(tmp_path):
    table = {f"G{i}": {f"name {i}": "C", "shared": f"D{i}"} for i in range(70)}
    path = tmp_path / "text_to_code.json"
    path.write_text(json.dumps(table))
    assert names_by_group(read_released_table(path)) == as_lists(table)


def test_names_equal_up_to_outer_spaces(tmp_path, caplog):
    path = tmp_path / "text_to_code.json"
    path.write_text('{"G": {"a": "1", "a ": "2", "b": "3", "b ": "3"}}')
    assert names_by_group(read_released_table(path)) == {"G": {"a": ["1", "2"], "b": ["3"]}}
    assert "1 names have another code" in caplog.text


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('{"G": {"a": "1"', "line 1: not the expected JSON"),
        ('{"G": ["a"]}', "not the expected JSON"),
        ('[{"a": "1"}]', "not the expected JSON"),
        ("\n\n{", "line 3"),
        ('{"G": {\n"a": 17}}', "line 2: the code of 'a' is 17; write codes as text"),
        ('{"G": {"a": null}}', "the code of 'a' is None"),
        ('{"G": {"a": " "}}', "the code of 'a' is ' '"),
        ('{"G": {"a": ["1", "2"]}}', "write codes as text"),
        ('{" ": {"a": "1"}}', "a semantic group has no name"),
        ('{"G": {" ": "1"}}', "an empty name has the code '1'"),
        ("{}", "lists no name"),
        ('{"G": {}}', "lists no name"),
    ],
)
def test_bad_tables(bare, table, message):
    with pytest.raises(ReadError, match="text_to_code.json") as raised:
        released_kb(bare(table=table))
    assert message in str(raised.value)


def test_without_a_table(bare):
    with pytest.raises(KnowledgeBaseError, match="no text_to_code.json.* set kb to a"):
        released_kb(bare("llama_longbel", table=None))
