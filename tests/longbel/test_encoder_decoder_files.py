"""Encoder-decoder models: how their decoders begin, and what is read from directories."""

from __future__ import annotations

import json

import pytest
import spacy
import torch
from transformers import PegasusConfig, PegasusForConditionalGeneration

from spacy_bel.errors import ModelError
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.models.encoder_decoder import EncoderDecoderLanguageModel
from spacy_bel.longbel.models.loading import copy_model, resolve_model

from .conftest import tiny_llama
from .encoder_decoders import (
    MAKERS,
    SIZES,
    Forest,
    assert_close,
    model_of,
    tiny_bart,
    tiny_bert,
    tiny_mbart,
    tiny_t5,
    tokenizer_of,
)
from .helpers import links as links_of
from .helpers import marked

# How decoders begin


def test_opening_is_the_start_token_and_what_generation_forces():
    assert model_of(tiny_bart).decoder_prompt([5, 6]) == [1, 0]
    assert model_of(tiny_mbart).decoder_prompt([5, 6]) == [1, 2]
    assert model_of(tiny_t5).decoder_prompt([5, 6]) == [1]
    assert model_of(tiny_bert).decoder_prompt([5, 6]) == [0]  # not twice the same


def test_without_a_forced_token_the_tokenizer_decides_the_opening():
    assert tiny_bart(forced_bos_token_id=None).opening == [1, 0]


def test_generation_config_is_asked_first():
    model = tiny_bart()
    model.model.generation_config.forced_bos_token_id = 2
    assert EncoderDecoderLanguageModel(model.model, model.tokenizer).opening == [1, 2]


def test_an_opening_can_be_given():
    model = tiny_bart()
    again = EncoderDecoderLanguageModel(model.model, model.tokenizer, opening=[1, 0, 9])
    assert again.opening == [1, 0, 9] and again.counted_prompt_tokens == 2
    with pytest.raises(ModelError, match="opening"):
        EncoderDecoderLanguageModel(model.model, model.tokenizer, opening=[])


# Files


@pytest.mark.parametrize("maker", MAKERS)
def test_saved_models_link_alike(maker, tmp_path):
    model = model_of(maker)
    model.save(tmp_path / "model")
    copy_model(resolve_model(tmp_path / "model"), tmp_path / "copy")
    again = resolve_model(tmp_path / "copy", device="cpu", dtype="float32")
    assert isinstance(again, EncoderDecoderLanguageModel)
    assert again.directory == tmp_path / "copy" and again.opening == model.opening
    assert_close(Forest(again, ["abc"]).open(), Forest(model, ["abc"]).open())


def test_causal_models_are_still_causal(tmp_path):
    tiny_llama().save(tmp_path)
    assert isinstance(resolve_model(tmp_path), CausalLanguageModel)


def test_weights_of_before_safetensors_are_read_and_copied_as_safetensors(tmp_path):
    model = model_of(tiny_bart)
    model.save(tmp_path / "old")
    (tmp_path / "old/model.safetensors").unlink()
    torch.save(model.model.state_dict(), tmp_path / "old/pytorch_model.bin")
    copy_model(resolve_model(tmp_path / "old"), tmp_path / "new")
    assert (tmp_path / "new/model.safetensors").is_file()
    assert not (tmp_path / "new/pytorch_model.bin").exists()
    again = resolve_model(tmp_path / "new")
    assert_close(Forest(again, ["abc"]).open(), Forest(model, ["abc"]).open())


def test_missing_weights_are_a_named_error(tmp_path):
    model = tiny_bart(tie_word_embeddings=False)
    model.model.model.decoder.layers = model.model.model.decoder.layers[:1]
    model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "decoder_layers": 2}))
    with pytest.raises(ModelError, match="lack"):
        resolve_model(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_damaged_files_are_named_errors(tmp_path, name):
    tiny_bart().save(tmp_path)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(ModelError):
        resolve_model(tmp_path)


def test_other_encoder_decoders_are_refused_by_name():
    config = PegasusConfig(vocab_size=120, **SIZES)
    with pytest.raises(ModelError, match="pegasus"):
        EncoderDecoderLanguageModel(
            PegasusForConditionalGeneration(config), tokenizer_of("$A </s>")
        )


def test_a_pipeline_links_with_an_encoder_decoder(make_nlp, tmp_path):
    model_of(tiny_bart).save(tmp_path / "bart")
    nlp = make_nlp(model=str(tmp_path / "bart"), prompt="genre")
    doc = nlp(marked(nlp))
    assert all(candidates for *_, candidates in links_of(doc))
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert links_of(again(marked(again))) == links_of(doc)
