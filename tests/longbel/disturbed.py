"""Models that fail on purpose, and brute force over names."""

from __future__ import annotations

import torch

from spacy_bel.longbel.models.static_cache import StaticCache


class LabelledCache(StaticCache):
    """Knows which prompt every row reads."""

    def __init__(self, rows, capacity):
        super().__init__(rows, capacity)
        self.prompts = {}

    def begin(self, row, prompt):
        self.prompts[row] = list(prompt)

    def move(self, source, target):
        super().move(source, target)
        if source in self.prompts:
            self.prompts[target] = self.prompts[source]


class Disturbed:
    """A causal model whose readings go through `read(model, segments, cache)`."""

    def __init__(self, model, read):
        self._model, self._read = model, read

    def __getattr__(self, name):
        return getattr(self._model, name)

    def new_cache(self, rows, capacity):
        return LabelledCache(rows, capacity)

    def read(self, segments, cache):
        return self._read(self._model, segments, cache)


def plain_log_probability(model, prompt, tokens):
    """Sum over the tokens behind a prompt, all of it read at once without a cache."""
    ids = torch.tensor([[*prompt, *tokens]])
    with torch.no_grad():
        logits = model.model(ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
    return logits.gather(1, ids[0, len(prompt) :, None]).double().sum().item()


def all_names(engine, groups):
    """Tokens of every name in some semantic groups, by name."""
    kb = engine.trie.kb
    names = {name for code in kb if set(kb[code].groups) & set(groups) for name in kb[code].names}
    return {name: tuple(engine.tokenizer.name_sequences([name])[0].tolist()) for name in names}


def brute_force(model, engine, prompt, groups, penalty=1.0):
    """(log score, tokens) of every name in some groups, best first."""
    found = []
    for tokens in set(all_names(engine, groups).values()):
        total = plain_log_probability(model, prompt, tokens)
        found.append((total / len(tokens) ** penalty, tokens))
    return sorted(found, reverse=True)


def prompt_texts(engine, document):
    """The prompts of a document's mentions as they were read."""
    (traces,) = engine.trace([document])
    return [engine.model.tokenizer.decode(trace.prompt) for trace in traces]


def memory_of(prompt):
    """Lines that a prompt of the hybrid formats shows of earlier links."""
    section = prompt.split("### Previous Normalizations\n")[1].split("\n\n### Prediction")[0]
    return [] if section == "None" else section.split("\n")
