"""Searches without an engine: models that are functions of the tokens so far, and brute force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from spacy_bel.kb.token_trie import TokenTrie
from spacy_bel.longbel.search import PROMPT, Search, TokenTree

#: Log-probabilities of all tokens after some tokens.
Model = Callable[[tuple[int, ...]], np.ndarray]


def table_model(vocabulary: int, seed: int, levels: int | None = None, sharp: float = 2.0) -> Model:
    """Random log-probabilities, the same ones for the same tokens.

    levels: draw logits from so few values, so that many names tie.
    """
    known: dict[tuple[int, ...], np.ndarray] = {}

    def model(path: tuple[int, ...]) -> np.ndarray:
        if path not in known:
            random = np.random.default_rng([seed, *path])
            logits = random.normal(size=vocabulary) * sharp
            if levels is not None:
                # Whole numbers without normalisation: their sums are exact, so that ties are, too.
                known[path] = -random.integers(0, levels, vocabulary).astype(float)
            else:
                known[path] = logits - np.log(np.exp(logits).sum())
        return known[path]

    return model


def language_model(model, prompt: list[int]) -> Model:
    """A transformers model that reads everything anew each time."""
    known: dict[tuple[int, ...], np.ndarray] = {}

    def answer(path: tuple[int, ...]) -> np.ndarray:
        if path not in known:
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *path]])).logits[0, -1]
            known[path] = logits.float().log_softmax(-1).double().numpy()
        return known[path]

    return answer


@dataclass
class Driven:
    """What a search did. readings: tokens of each. asked: log-probabilities in all."""

    readings: list[list[tuple[int, ...]]] = field(default_factory=list)
    asked: int = 0

    @property
    def reads(self) -> int:
        return sum(map(len, self.readings))


def drive(search: Search, model: Model) -> Driven:
    """Answer a search until it is done, holding it to the protocol."""
    driven, tree, tokens = Driven(), TokenTree(), []
    newest = {PROMPT}

    def path(place: int) -> tuple[int, ...]:
        return tuple(tokens[i] for i in tree.path(place))

    while not search.done:
        question = search.question()
        places = question.places.tolist()
        assert set(places) <= newest
        if question.top:
            rows = np.array([model(path(place)) for place in places])
            best = np.argsort(-rows, axis=1, kind="stable")[:, : question.top]
            answer = np.take_along_axis(rows, best, axis=1), best
        else:
            asked = zip(places, question.tokens.tolist(), strict=True)
            scores = [model(path(place))[token] for place, token in asked]
            answer = np.array(scores), question.tokens
        driven.asked += len(places)
        search.advance(*answer)
        if search.done:
            break
        parents, new = search.reading()
        assert len(parents) == len(new) > 0
        first = len(tree)
        assert all(PROMPT <= parent < first + i for i, parent in enumerate(parents))
        tree.add(parents)
        tokens += new.tolist()
        newest = set(range(first, len(tree)))
        driven.readings.append([path(place) for place in sorted(newest)])
    return driven


def mask_of(groups) -> np.ndarray:
    return np.array([sum(1 << group for group in groups)], np.uint64)


def make_trie(names) -> TokenTrie:
    """names: (tokens, groups)."""
    masks = np.array([mask_of(groups) for _, groups in names])
    return TokenTrie.from_sequences([tokens for tokens, _ in names], masks)


def log_probability(model: Model, tokens) -> float:
    total = 0.0
    for n, token in enumerate(tokens):
        total += float(model(tuple(tokens[:n]))[token])
    return total


def brute_force(names, groups, model: Model, penalty: float):
    """(score, tokens) of every name in the groups; of equals the shorter first, then the lower."""
    within = {tuple(tokens) for tokens, own in names if set(own) & set(groups)}
    scored = [(log_probability(model, t) / len(t) ** penalty, t) for t in within]
    return sorted(scored, key=lambda item: (-item[0], len(item[1]), item[1]))
