"""Tokenizers and random language models of a few thousand weights."""

from __future__ import annotations

import re

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from spacy_bel.longbel.models.causal_lm import CausalLanguageModel

TEMPLATE = (
    "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}</turn>\n{% endfor %}"
    "<turn>assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)


def character_tokenizer(bos=False, closing=False, characters=None):
    """Every character is a token. closing: texts end in a token of their own."""
    characters = characters or [chr(i) for i in range(32, 127)] + ["\n"]
    special = ["<s>", "</s>", "<unk>", "<turn>", "</turn>"]
    vocabulary = {token: i for i, token in enumerate([*special, *characters])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    if bos or closing:
        backend.post_processor = TemplateProcessing(
            single=" ".join([*["<s>"] * bos, "$A", *["</s>"] * closing]),
            special_tokens=[("<s>", 0), ("</s>", 1)],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<turn>", "</turn>"],
    )


def byte_tokenizer():
    """Byte-level BPE like GPT-2's: a space before a capital letter is part of its token."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    text = [f" {chr(letter)}" for letter in range(65, 91)] * 20 + ["Answer: the mention"] * 20
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )


def word_tokenizer(text):
    """Every word of a text is a token, and every letter of an option."""
    special = ["<s>", "</s>", "<unk>"]
    words = [*special, *map(chr, range(65, 91)), *"():.", *re.findall(r"\w+", text)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(words))}
    backend = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def tiny_model(kind="llama", seed=0, tokenizer=None, window=2048):
    """A random model whose predictions are far from uniform."""
    torch.manual_seed(seed)
    tokenizer = tokenizer or character_tokenizer(bos=kind == "llama")
    vocabulary = len(tokenizer)
    common = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 1}
    if kind == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(
                **common, n_embd=32, n_layer=2, n_head=4, n_positions=window,
                tie_word_embeddings=False,
            )
        )  # fmt: skip
    else:
        config, cls = {
            "llama": (LlamaConfig, LlamaForCausalLM),
            "qwen2": (Qwen2Config, Qwen2ForCausalLM),
            "mistral": (MistralConfig, MistralForCausalLM),
        }[kind]
        further = {"sliding_window": 32} if kind == "mistral" else {}
        model = cls(config(**common, **SIZES, **further, max_position_embeddings=window))
    with torch.no_grad():
        model.lm_head.weight *= 30
    return CausalLanguageModel(model, tokenizer)
