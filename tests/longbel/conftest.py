"""Tiny models, tokenizers and terminologies, made in memory."""

from __future__ import annotations

import pytest
import spacy
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel

SPECIAL = ["<s>", "</s>", "<SEP>", "[", "]", "{", "}"]


def character_tokenizer(bos: bool = True) -> PreTrainedTokenizerFast:
    """Every printable character is a token, so that any name can be written."""
    characters = [chr(i) for i in range(32, 127) if chr(i) not in "[]{}"] + ["\n", "é", "ü"]
    vocab = {token: i for i, token in enumerate([*SPECIAL, "<unk>", *characters])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    if bos:
        from tokenizers.processors import TemplateProcessing

        backend.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", vocab["<s>"])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        sep_token="<SEP>",
        pad_token="</s>",
        additional_special_tokens=["[", "]", "{", "}"],
    )


def tiny_llama(seed: int = 0, window: int = 2048, sharpness: float = 3.0) -> CausalLanguageModel:
    """A random Llama whose predictions are far from uniform."""
    torch.manual_seed(seed)
    tokenizer = character_tokenizer()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=window,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    with torch.no_grad():
        model.lm_head.weight *= 10 * sharpness
    return CausalLanguageModel(model, tokenizer)


def tiny_gpt2(seed: int = 0) -> CausalLanguageModel:
    torch.manual_seed(seed)
    tokenizer = character_tokenizer()
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=32,
            n_layer=2,
            n_head=4,
            bos_token_id=0,
            eos_token_id=1,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        model.lm_head.weight *= 20
    return CausalLanguageModel(model, tokenizer)


def make_kb(rows):
    """rows: (code, group, names)."""
    builder = KnowledgeBaseBuilder("test")
    for code, group, names in rows:
        groups = (group,) if isinstance(group, str) else tuple(group)
        builder.add(Concept(code=code, names=tuple(names), groups=groups))
    return builder.build()


@pytest.fixture(scope="session")
def kb():
    return make_kb(
        [
            ("D1", "Disorders", ["heart attack", "myocardial infarction", "MI"]),
            ("D2", "Disorders", ["heart failure", "cardiac failure"]),
            ("D3", "Disorders", ["cold", "common cold"]),
            ("D4", "Disorders", ["headache", "cephalalgia", "head pain"]),
            ("D5", "Disorders", ["asthma"]),
            ("P1", "Phenomena", ["cold", "low temperature"]),
            ("P2", ["Phenomena", "Disorders"], ["shock"]),
            ("D6", "Disorders", ["sinus headache", "Headache, sinus", "MI"]),
        ]
    )


@pytest.fixture(scope="session")
def llama():
    return tiny_llama()


@pytest.fixture(scope="session")
def gpt2():
    return tiny_gpt2()


@pytest.fixture(scope="module")
def kb_dir(tmp_path_factory, kb):
    path = tmp_path_factory.mktemp("kb") / "kb"
    kb.to_disk(path)
    return path


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    tiny_llama().save(path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACY_BEL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_nlp(kb_dir, model_dir):
    def make(**config):
        nlp = spacy.blank("en")
        settings = {"kb": str(kb_dir), "model": str(model_dir), **config}
        nlp.add_pipe("longbel_linker", config=settings)
        return nlp

    return make
