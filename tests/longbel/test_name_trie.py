"""Names on disk, with the fingerprints of what they were made from."""

from __future__ import annotations

import json

import pytest

from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError, ModelError
from spacy_bel.longbel.name_trie import NameTrie
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.tokenization import PromptTokenizer

from .conftest import character_tokenizer, make_kb


@pytest.fixture
def tokenizer():
    return PromptTokenizer(character_tokenizer(), get_prompt("short"))


@pytest.fixture
def saved(tmp_path, kb, tokenizer):
    NameTrie.build(kb, tokenizer).to_disk(tmp_path / "trie", tokenizer)
    return tmp_path / "trie"


def open_trie(path, kb, tokenizer):
    return NameTrie.from_disk(path, kb, tokenizer)


def test_round_trip(saved, kb, tokenizer):
    built, opened = NameTrie.build(kb, tokenizer).trie, open_trie(saved, kb, tokenizer).trie
    assert opened.depth == built.depth
    assert (opened.edge_tokens == built.edge_tokens).all()
    assert (opened.edge_groups == built.edge_groups).all()
    assert (opened.end_sequences == built.end_sequences).all()


def test_another_knowledge_base(saved, tokenizer):
    with pytest.raises(FingerprintMismatchError, match="knowledge base"):
        open_trie(saved, make_kb([("X", "Disorders", ["x"])]), tokenizer)


def test_another_tokenizer(saved, kb):
    other = PromptTokenizer(character_tokenizer(bos=False), get_prompt("short"))
    with pytest.raises(FingerprintMismatchError, match="tokenizer"):
        open_trie(saved, kb, other)


@pytest.mark.parametrize("prompt", ["long", "genre"])
def test_names_written_for_another_prompt(saved, kb, tokenizer, prompt):
    other = PromptTokenizer(tokenizer.tokenizer, get_prompt(prompt))
    with pytest.raises(FingerprintMismatchError, match="name format"):
        open_trie(saved, kb, other)


@pytest.mark.parametrize("damage", ["truncate", "alter", "remove", "meta"])
def test_damage_is_named(saved, kb, tokenizer, damage):
    file = saved / "edge_tokens.npy"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-3])
    elif damage == "alter":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "remove":
        file.unlink()
    else:
        meta = json.loads((saved / "meta.json").read_text())
        del meta["files"]["edge_tokens.npy"]
        (saved / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(KnowledgeBaseError):
        open_trie(saved, kb, tokenizer)


def test_sequences_continue_a_prompt(kb, tokenizer):
    names = list(kb.names())
    tokens, offsets = tokenizer.name_sequences(names)
    for i, name in enumerate(names):
        got = tokens[offsets[i] : offsets[i + 1]].tolist()
        prompt = tokenizer.encode("[x]{G}")
        assert [*prompt, *got[:-1]] == tokenizer.encode(f"[x]{{G}} {name}")
        assert got[-1] == tokenizer.end_token


def test_a_tokenizer_that_merges_brackets():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {c: i for i, c in enumerate(dict.fromkeys("[mention]{group} a"))}
    vocab |= {"} ": len(vocab), "</s>": len(vocab) + 1}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("}", " ")]))
    backend.pre_tokenizer = pre_tokenizers.Split("\x00", "isolated")
    merging = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    with pytest.raises(ModelError, match="merges"):
        PromptTokenizer(merging, get_prompt("short"))
