"""Traces of an engine whose searches find given names, for tests of what reads them."""

from __future__ import annotations

from dataclasses import dataclass

from spacy_bel.longbel.search import Hypothesis


@dataclass
class Trace:
    prompt: list[int]
    hypotheses: list[Hypothesis]


def traces(engine, names=None):
    """What `engine.trace` would be; names: of each mention, as composites "a<+>b", freely generated
    ones "*a", or None where nothing was found; the mention's own text without."""

    def trace(documents):
        for document in documents:
            found = names or [mention.text for mention in document.mentions]
            yield [
                Trace(_prompt(engine, document, mention), _hypotheses(engine, name))
                for mention, name in zip(document.mentions, found, strict=True)
            ]

    return trace


def _prompt(engine, document, mention):
    window = engine.prompt.window(document, mention)
    context = engine.prompt.context(document, mention, window)
    return engine.tokenizer.encode(engine.prompt.assemble(context, [], mention))


def _hypotheses(engine, name):
    if name is None:
        return []
    parts = name.lstrip("*").split("<+>")
    tokens = [engine.tokenizer.name_sequences([part])[0].tolist()[:-1] for part in parts]
    nodes = () if name.startswith("*") else tuple(_node(engine.trie, part) for part in parts)
    written = (*(token for part in tokens for token in part), engine.tokenizer.end_token)
    return [Hypothesis(nodes, written, -1.0, -0.5)]


def _node(names, name):
    number = list(names.kb.names()).index(name)
    return next(n for n in range(names.trie.n_nodes) if number in names.trie.sequences_at(n))
