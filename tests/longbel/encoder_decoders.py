"""Tiny encoder-decoder models, and trees of tokens that they read."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    MBartConfig,
    MBartForConditionalGeneration,
    RobertaConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from spacy_bel.longbel.models.base import Segment
from spacy_bel.longbel.models.encoder_decoder import EncoderDecoderLanguageModel

from .conftest import character_tokenizer


def tokenizer_of(template):
    """One that frames every text by a template; <SEP> serves as the token of a language."""
    tokenizer = character_tokenizer()
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>", "<SEP>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=ids
    )
    return tokenizer


SIZES = dict(
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
    max_position_embeddings=1024,
    bos_token_id=0,
    eos_token_id=1,
    pad_token_id=1,
    decoder_start_token_id=1,
    init_std=0.4,
)
_BERT = dict(
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=520,
    initializer_range=0.4,
    pad_token_id=1,
)


def tiny_bart(**config):
    tokenizer = tokenizer_of("<s> $A </s>")
    settings = {"forced_bos_token_id": 0, "scale_embedding": False, **SIZES, **config}
    model = BartForConditionalGeneration(BartConfig(vocab_size=len(tokenizer), **settings))
    torch.nn.init.normal_(model.final_logits_bias)
    return EncoderDecoderLanguageModel(model, tokenizer)


def tiny_mbart():
    """As mBART-50: the language comes first, in the source and in what is generated."""
    tokenizer = tokenizer_of("<SEP> $A </s>")
    config = MBartConfig(
        vocab_size=len(tokenizer), forced_bos_token_id=2, scale_embedding=True, **SIZES
    )
    return EncoderDecoderLanguageModel(MBartForConditionalGeneration(config), tokenizer)


def tiny_t5(**config):
    tokenizer = tokenizer_of("$A </s>")
    settings = dict(
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=12,
        decoder_start_token_id=1,
        pad_token_id=1,
        eos_token_id=1,
    )
    settings |= config
    model = T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), **settings))
    with torch.no_grad():  # by default positions hardly matter
        model.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight *= 10
    return EncoderDecoderLanguageModel(model, tokenizer)


def tiny_mt5():
    return tiny_t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False)


def tiny_bert(encoder=BertConfig, decoder=BertConfig, size=32):
    tokenizer = tokenizer_of("<s> $A </s>")
    config = EncoderDecoderConfig.from_encoder_decoder_configs(
        encoder(vocab_size=len(tokenizer), hidden_size=size, **_BERT),
        decoder(vocab_size=len(tokenizer), hidden_size=32, **_BERT),
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 0, 1, 1
    return EncoderDecoderLanguageModel(EncoderDecoderModel(config), tokenizer)


def tiny_roberta():
    return tiny_bert(RobertaConfig, RobertaConfig, size=40)


MAKERS = [tiny_bart, tiny_mbart, tiny_t5, tiny_mt5, tiny_bert, tiny_roberta]
_MODELS = {}


def model_of(maker):
    if maker not in _MODELS:
        torch.manual_seed(7)
        _MODELS[maker] = maker()
    return _MODELS[maker]


def prompt_ids(model, text):
    """Ids as the engine passes them: without what the tokenizer puts behind a text."""
    return model.tokenizer(text)["input_ids"][:-1]  # all templates end with </s>


# Trees of tokens


def plain_scores(model, prompt, path):
    """Log-probabilities after a path, read on its own by the model as transformers has it."""
    ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            decoder_input_ids=torch.tensor([[*model.opening, *path]]),
        ).logits
    return logits[0, -1].log_softmax(-1)


class Forest:
    """Trees of tokens behind prompts, each in a cache row, read by a model as by the engine."""

    def __init__(self, model, prompts):
        self.model, self.prompts = model, list(prompts)
        self.cache = model.new_cache(len(prompts), 8)
        self.paths = [[] for _ in prompts]  # of each token, the places of its ancestors and its own
        self.tokens = [[] for _ in prompts]
        for row, prompt in enumerate(prompts):
            self.cache.begin(row, prompt_ids(model, prompt))

    def open(self):
        """Read the openings of all rows in one pass; scores after each (rows, vocabulary)."""
        opening = np.array(self.model.decoder_prompt([]))
        places = np.arange(len(opening))
        mask = np.ones((len(opening), len(opening)), bool)
        rows = range(len(self.prompts))
        segments = [Segment(row, opening, places, places, mask, keep=1) for row in rows]
        return self.model.read(segments, self.cache)

    def read(self, row, parents, tokens):
        """Read tokens behind earlier ones, -1 for the opening; scores after each."""
        return self.model.read([self.segment(row, parents, tokens)], self.cache)

    def segment(self, row, parents, tokens):
        opening, first = len(self.model.opening), len(self.paths[row])
        for i, parent in enumerate(parents):
            above = [] if parent < 0 else self.paths[row][parent]
            self.paths[row].append([*above, first + i])
        self.tokens[row].extend(tokens)
        used = opening + len(self.paths[row])
        if used > self.cache.capacity:
            self.cache.resize(self.cache.rows + 1, used + 3)
        new = self.paths[row][first:]
        mask = np.zeros((len(new), used), bool)
        mask[:, :opening] = True
        for i, path in enumerate(new):
            mask[i, [opening + place for place in path]] = True
        positions = np.array([opening + len(path) - 1 for path in new])
        slots = np.arange(opening + first, used)
        return Segment(row, np.array(tokens), positions, slots, mask, keep=len(new))

    def plain(self, row, place=None):
        """What the model says of the path to a place, or of the opening."""
        path = [] if place is None else [self.tokens[row][i] for i in self.paths[row][place]]
        return plain_scores(self.model, self.prompts[row], path)


def assert_close(got, expected):
    assert torch.allclose(got, expected, atol=1e-4), (got - expected).abs().max()
