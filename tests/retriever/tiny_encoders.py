"""Random encoders of a few thousand weights, of each architecture that presets are made for."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import RobertaProcessing, TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

TEXTS = [
    *("heart attack", "Myocardial infarction", "MI", "", "renal failure, acute on chronic"),
    *("Insuficiencia renal aguda", "心臓病", "ataxia-telangiectasia", "a" * 300),
    "chronic obstructive pulmonary disease with acute exacerbation and respiratory failure " * 3,
]
_SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    # Random weights of the usual size would give all strings nearly the same vector.
    "initializer_range": 0.4,
}


def wordpiece(lower_case: bool = True) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
    backend.train_from_iterator(TEXTS * 3, trainer)
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(t, backend.token_to_id(t)) for t in ("[CLS]", "[SEP]")],
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    tokens = {f"{name}_token": token for name, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)


def _roberta_special(backend: Tokenizer) -> PreTrainedTokenizerFast:
    ids = {token: backend.token_to_id(token) for token in ("<s>", "</s>")}
    backend.post_processor = RobertaProcessing(("</s>", ids["</s>"]), ("<s>", ids["<s>"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **{"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"},
        **{"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"},
    )


_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_bpe() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=_ROBERTA, initial_alphabet=alphabet
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    return _roberta_special(backend)


def unigram() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=_ROBERTA, unk_token="<unk>")
    backend.train_from_iterator(TEXTS * 3, trainer)
    return _roberta_special(backend)


def write_encoder(path: Path, kind: str, *, seed: int = 0, pooler: bool = True) -> Path:
    """A random model with its tokenizer. kind: "bert", "roberta" or "xlmr"."""
    torch.manual_seed(seed)
    if kind == "bert":
        tokenizer = wordpiece()
        config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **_SIZE)
        model = BertModel(config, add_pooling_layer=pooler)
    else:
        tokenizer = byte_bpe() if kind == "roberta" else unigram()
        config_class, model_class = {
            "roberta": (RobertaConfig, RobertaModel),
            "xlmr": (XLMRobertaConfig, XLMRobertaModel),
        }[kind]
        config = config_class(
            vocab_size=len(tokenizer), max_position_embeddings=514, pad_token_id=1, **_SIZE
        )
        model = model_class(config, add_pooling_layer=pooler)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
