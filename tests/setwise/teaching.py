"""A small world in which every right answer can be learned by heart."""

from __future__ import annotations

import random

import torch
from spacy.tokens import Span
from spacy.training import Example
from thinc.api import Adam
from transformers import LlamaConfig, LlamaForCausalLM

from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.setwise.prompt import INSTRUCTION

from .conftest import ROWS, marked
from .tiny_models import word_tokenizer

TEXT = "Severe headache and a heart attak. The cold was worse. Headache and fever again."
#: Several candidates, one, none, and none that is right.
MENTIONS = [
    ("headache", "Disorders", [("D1", "MI"), ("D4", "headache")]),
    ("heart attak", "Disorders", [("D1", "heart attack")]),
    ("cold", "Disorders", [("P1", "cold"), ("D3", "cold")]),
    ("Headache", "Disorders", []),
    ("fever", "Disorders", [("D1", "MI"), ("D2", "heart failure")]),
]
GOLD = ["D4", "D1", "D3", "D4", "D3"]
LEARNED = ["D4", "D1", "D3", "NIL", "NIL"]
LORA = {"rank": 8, "alpha": 16}


def learner():
    """A random model that reads words, with weights of ordinary size."""
    names = [name for _, _, names in ROWS for name in names]
    tokenizer = word_tokenizer(
        " ".join(
            [TEXT, INSTRUCTION, "Context Mention Options None of the above Answer aka", *names]
        )
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
        bos_token_id=0, eos_token_id=1, initializer_range=0.1,
    )  # fmt: skip
    return CausalLanguageModel(LlamaForCausalLM(config), tokenizer)


def unlinked(nlp):
    return marked(nlp, TEXT, MENTIONS)


def example(nlp):
    predicted = unlinked(nlp)
    reference = predicted.copy()
    reference.set_ents(
        Span(reference, ent.start, ent.end, ent.label_, kb_id=code)
        for ent, code in zip(reference.ents, GOLD, strict=True)
    )
    return Example(predicted, reference)


def learn(nlp, steps, rate=3e-3, seed=0):
    """Losses of some steps, or of as many as it takes until all is known."""
    random.seed(seed)
    optimizer = Adam(rate, use_averages=False)
    losses = []
    for step in range(steps):
        losses.append(nlp.update([example(nlp)], sgd=optimizer, losses={})["bel_setwise"])
        if step % 5 == 4 and codes(nlp) == LEARNED and max(losses[-5:]) < 0.1:
            break
    return losses


def codes(nlp):
    return [ent.kb_id_ for ent in nlp(unlinked(nlp)).ents]
