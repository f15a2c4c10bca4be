"""Shared by the tests of this room."""

from __future__ import annotations

import torch

from spacy_bel.longbel.document import Document, Mention, Passage
from spacy_bel.longbel.engine import Engine
from spacy_bel.longbel.name_trie import NameTrie
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.tokenization import PromptTokenizer

TEXT = "Severe headache and a heart attak. The cold was worse. Headache again."
MENTIONS = [
    ("headache", "Disorders"),
    ("heart attak", "Disorders"),
    ("cold", "Phenomena"),
]


def make_document(text, mentions, passages=None, sentences=()):
    """mentions: (surface, group) in order of appearance."""
    found, position = [], 0
    for surface, group in mentions:
        position = text.index(surface, position)
        found.append(Mention(position, position + len(surface), surface, group, (group,)))
        position += 1
    parts = passages or [(0, len(text))]
    return Document(
        tuple(Passage(start, text[start:end]) for start, end in parts),
        tuple(sorted(found, key=lambda m: (m.start, m.end))),
        tuple(sentences),
    )


def make_engine(model, kb, prompt="hybrid_long", **settings):
    chosen = get_prompt(prompt)
    trie = NameTrie.build(kb, PromptTokenizer(model.tokenizer, chosen))
    return Engine(model, trie, chosen, **settings)


def names_of(engine, hypotheses):
    """(name ids at the hypothesis, score) of each hypothesis."""
    return [
        (tuple(int(i) for i in engine.trie.trie.sequences_at(h.nodes[-1])), h.score)
        for h in hypotheses
    ]


def marked(nlp, text=TEXT, mentions=MENTIONS):
    doc = nlp.make_doc(text)
    spans, position = [], 0
    for surface, label in mentions:
        position = text.index(surface, position)
        spans.append(doc.char_span(position, position + len(surface), label=label))
        position += len(surface)
    doc.ents = spans
    return doc


def links(doc):
    return [(ent.text, ent.label_, ent.kb_id_, ent._.kb_candidates) for ent in doc.ents]


def reference(model, prompt, name):
    """Log-probability of a name by the model's own cached forward, one token at a time."""
    total, cache = 0.0, model.new_cache(1, 256)
    cache.begin(0, prompt)
    read = list(prompt)
    n = len(prompt)
    mask = torch.ones(1, n, n, dtype=torch.bool)
    if not model.bidirectional_prompt:
        mask = mask.tril()
    slots = torch.arange(n)[None]
    scores = model.forward(torch.tensor([read]), slots, slots, mask, cache, slice(0, 1), 1)
    for place, token in enumerate(name, n):
        total += float(scores[0, -1, token])
        at = torch.tensor([[place]])
        mask = torch.ones(1, 1, place + 1, dtype=torch.bool)
        scores = model.forward(torch.tensor([[token]]), at, at, mask, cache, slice(0, 1), 1)
    return total
