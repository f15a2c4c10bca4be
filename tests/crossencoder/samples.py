"""Documents and random encoders that the tests of cross-encoders share."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import strategies as st
from transformers import ModernBertConfig, ModernBertModel

from spacy_bel.crossencoder.document import Document, Mention
from tests.retriever.tiny_encoders import wordpiece, write_encoder

LAYOUTS = ("base", "parallel", "multi", "passage", "document")
KINDS = ("bert", "roberta", "xlmr", "modernbert")
WORDS = ["heart", "attack", "renal", "failure", "acute", "MI", "on", "chronic", "ataxia"]
NAMES = ["Myocardial infarction", "heart attack", "", "renal failure, acute", "MI", "[MASK] 心臓"]


def write_model(path: Path, kind: str, seed: int = 0) -> Path:
    if kind != "modernbert":
        return write_encoder(path, kind, seed=seed)
    torch.manual_seed(seed)
    tokenizer = wordpiece()
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=512,
        global_attn_every_n_layers=2,
        local_attention=12,
        initializer_range=0.4,
        initializer_cutoff_factor=1.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    ModernBertModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def spans_of(text: str, separator: str) -> tuple[tuple[int, int], ...]:
    """Spans of the stretches between separators."""
    found, at = [], 0
    for part in text.split(separator):
        if part.strip():
            found.append((at, at + len(part)))
        at += len(part) + len(separator)
    return tuple(found)


def document(text: str, *mentions: tuple[str, list[str]], group: str = "g") -> Document:
    """A document with a mention for each (surface, candidates), at the next place it occurs."""
    at, found = 0, []
    for surface, candidates in mentions:
        start = text.index(surface, at)
        found.append(Mention(start, start + len(surface), surface, group, tuple(candidates)))
        at = start + 1
    return Document(text, tuple(found), spans_of(text, ". "), spans_of(text, "\n"))


@st.composite
def documents(draw: st.DrawFn, most_words: int = 60, most_candidates: int = 12) -> Document:
    """Documents with nested, repeated and discontinuous mentions, and long sentences."""
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=most_words))
    joins = draw(
        st.lists(
            st.sampled_from([" ", " ", " ", ". ", "\n"]),
            min_size=len(words),
            max_size=len(words),
        )
    )
    text = "".join(word + join for word, join in zip(words, joins, strict=True))
    mentions = []
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 40)))
        surface = text[start:end] if draw(st.booleans()) else draw(st.sampled_from(WORDS))
        size = draw(st.integers(0, most_candidates))
        candidates = draw(st.lists(st.sampled_from(NAMES), min_size=size, max_size=size))
        mentions.append(Mention(start, end, surface, "g", tuple(candidates)))
        if draw(st.booleans()):
            mentions.append(mentions[-1])
    return Document(text, tuple(mentions), spans_of(text, ". "), spans_of(text, "\n"))
