from __future__ import annotations

import string

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from spacy_bel.kb import Concept, KnowledgeBaseBuilder
from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.presets import EncoderSettings


def make_kb(concepts, name="toy"):
    builder = KnowledgeBaseBuilder(name)
    for concept in concepts:
        builder.add(concept)
    return builder.build()


def word_names(concepts=20, seed=0):
    """Concepts whose two names have no letter in common: only training can bring them together."""
    random = np.random.default_rng(seed)
    half = len(string.ascii_lowercase) // 2
    first, second = string.ascii_lowercase[:half], string.ascii_lowercase[half:]
    return [
        (
            f"C{i:02}",
            "".join(random.choice(list(first), 4)),
            "".join(random.choice(list(second), 4)),
        )
        for i in range(concepts)
    ]


@pytest.fixture(scope="session")
def encoder_path(tmp_path_factory):
    """A random BERT of one layer that reads letters, as a model directory."""
    path = tmp_path_factory.mktemp("encoder") / "tiny"
    path.mkdir()
    letters = [*string.ascii_lowercase, *string.digits]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    vocabulary += [f"##{letter}" for letter in letters]
    (path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizerFast(vocab_file=str(path / "vocab.txt"), do_lower_case=True)
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=40,
        )
    )
    Encoder(
        model, tokenizer, EncoderSettings(pooling="mean", normalize=True, max_length=16)
    ).to_disk(path)
    return path


@pytest.fixture
def encoder(encoder_path):
    return Encoder.from_pretrained(encoder_path)


@pytest.fixture(scope="session")
def words_kb():
    return make_kb(Concept(code, (a, b), ("g",)) for code, a, b in word_names())
