"""Held-out names and how well a generator links them: a plain, batched reference evaluator."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from name_noise import fold
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm
from training_examples import Term

from spacy_bel.longbel.models.copy_lm import CopyLanguageModel
from spacy_bel.longbel.prompts.text import normalise


class Query(NamedTuple):
    """A held-out name and the code that it belongs to."""

    mention: str
    code: str
    group: str


def split(
    terms: Sequence[Term], seed: int, share: float = 0.05
) -> tuple[list[Term], list[Query], list[Query]]:
    """Terms without the held-out names, development queries, test queries.

    ``share`` of all synonyms is set aside for each of the two. A synonym qualifies if no other
    concept has it; a concept gives up one name at most and keeps at least one.
    """
    owners: dict[str, set[str]] = {}
    for term in terms:
        for name in term.names:
            owners.setdefault(fold(name), set()).add(term.code)
    pool, synonyms = [], 0
    rng = random.Random(seed)
    for term in sorted(terms):
        preferred = fold(term.names[0])
        others = sorted({fold(n) for n in term.names[1:]} - {preferred})
        synonyms += len(others)
        others = [n for n in others if len(owners[n]) == 1]
        if others:
            pool.append(Query(rng.choice(others), term.code, term.groups[0]))
    rng.shuffle(pool)
    size = round(share * synonyms)
    dev, test = pool[:size], pool[size : 2 * size]
    gone = {q.mention for q in dev + test}
    kept = [t._replace(names=tuple(n for n in t.names if fold(n) not in gone)) for t in terms]
    return kept, dev, test


class Trie:
    """Token sequences of all names; nodes are numbers, a node's children are two arrays."""

    def __init__(self, model: CopyLanguageModel, terms: Iterable[Term]) -> None:
        tokenizer = model.tokenizer
        self.eos = int(tokenizer.eos_token_id)
        self.codes: dict[tuple[int, ...], set[str]] = {}
        nodes: list[dict[int, int]] = [{}]
        pairs = [(normalise(name), term.code) for term in terms for name in term.names]
        encoded = tokenizer([f"}} {name}" for name, _ in pairs], add_special_tokens=False)
        for ids, (_, code) in zip(encoded["input_ids"], pairs, strict=True):
            sequence = (*ids[1:], self.eos)
            self.codes.setdefault(sequence, set()).add(code)
            node = 0
            for token in sequence:
                if token not in nodes[node]:
                    nodes[node][token] = len(nodes)
                    nodes.append({})
                node = nodes[node][token]
        self.tokens = [torch.tensor(list(n), dtype=torch.long) for n in nodes]
        self.nodes = [list(n.values()) for n in nodes]


class _Beam(NamedTuple):
    score: float
    node: int
    tokens: tuple[int, ...]
    slots: tuple[int, ...]


@torch.no_grad()
def link(
    model: CopyLanguageModel, trie: Trie, prompts: Sequence[str], beams: int = 5, batch: int = 48
) -> list[list[tuple[float, set[str]]]]:
    """For each prompt up to ``beams`` (mean log-probability, codes), best first."""
    results: list[list[tuple[float, set[str]]]] = [[] for _ in prompts]
    encoded = model.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    for start in tqdm(range(0, len(order), batch), desc="linking", disable=None, leave=False):
        chosen = order[start : start + batch]
        found = _search(model, trie, [encoded[i] for i in chosen], beams)
        for index, finished in zip(chosen, found, strict=True):
            results[index] = [(score, trie.codes[tokens]) for score, tokens in finished]
    return results


def _search(
    model: CopyLanguageModel, trie: Trie, prompts: list[list[int]], beams: int
) -> list[list[tuple[float, tuple[int, ...]]]]:
    rows, width = len(prompts), max(map(len, prompts))
    cache = model.new_cache(rows, width + beams * 64)
    ids = torch.zeros(rows, width, dtype=torch.long)
    positions = torch.zeros(rows, width, dtype=torch.long)
    slots = torch.full((rows, width), cache.padding_slot)
    mask = torch.zeros(rows, width, width, dtype=torch.bool)
    mask[:, :, 0] = True
    for row, prompt in enumerate(prompts):
        cache.begin(row, prompt)
        n = len(prompt)
        ids[row, width - n :] = torch.tensor(prompt)
        positions[row, width - n :] = slots[row, width - n :] = torch.arange(n)
        square = torch.ones(n, n, dtype=torch.bool)
        mask[row, width - n :, :n] = square if model.bidirectional_prompt else square.tril()
    logs = model.forward(ids, positions, slots, mask, cache, slice(0, rows), 1)
    live: list[list[_Beam]] = [[_Beam(0.0, 0, (), ())] for _ in prompts]
    done: list[list[tuple[float, tuple[int, ...]]]] = [[] for _ in prompts]
    active = list(range(rows))
    for step in range(64):
        for i, row in enumerate(active):
            live[row] = _extend(trie, logs[i], live[row], done[row], beams)
        active = [row for row in active if live[row]]
        if not active:
            break
        size = max(map(len, live))
        ids = torch.zeros(len(active), size, dtype=torch.long)
        positions = torch.zeros_like(ids)
        slots = torch.full_like(ids, cache.padding_slot)
        mask = torch.zeros(len(active), size, width + beams * (step + 1), dtype=torch.bool)
        mask[:, :, 0] = True
        for r, row in enumerate(active):
            length = len(prompts[row])
            for i, beam in enumerate(live[row]):
                slot = length + step * beams + i
                live[row][i] = beam = beam._replace(slots=(*beam.slots, slot))
                ids[r, i], positions[r, i], slots[r, i] = beam.tokens[-1], length + step, slot
                mask[r, i, :length] = True
                mask[r, i, list(beam.slots)] = True
        logs = model.forward(ids, positions, slots, mask, cache, torch.tensor(active), size)
    return done


def _extend(
    trie: Trie,
    logs: torch.Tensor,
    live: list[_Beam],
    done: list[tuple[float, tuple[int, ...]]],
    beams: int,
) -> list[_Beam]:
    """The next beams of one prompt; finished names move to ``done``, which stays sorted."""
    grown = []
    for i, beam in enumerate(live):
        scores, best = logs[i][trie.tokens[beam.node]].topk(
            min(2 * beams, len(trie.nodes[beam.node]))
        )
        for score, child in zip(scores.tolist(), best.tolist(), strict=True):
            token = int(trie.tokens[beam.node][child])
            grown.append(
                _Beam(
                    beam.score + score, trie.nodes[beam.node][child], (*beam.tokens, token),
                    beam.slots,
                )
            )  # fmt: skip
    grown.sort(key=lambda b: (-b.score, b.tokens))
    following = []
    for rank, beam in enumerate(grown):
        if beam.tokens[-1] == trie.eos:
            if rank < beams:
                done.append((beam.score / len(beam.tokens), beam.tokens))
        elif len(following) < beams:
            following.append(beam)
    done.sort(key=lambda d: (-d[0], d[1]))
    del done[beams:]
    if len(done) == beams and following:
        best_possible = following[0].score / (len(following[0].tokens))
        if best_possible <= done[-1][0]:
            return []
    return following


def hits(queries: Sequence[Query], ranked: Sequence[Sequence[set[str]]], k: int) -> np.ndarray:
    """1 for each query whose code is among the first k distinct codes, else 0.

    A name that several concepts share counts as its codes in ascending order.
    """
    result = np.zeros(len(queries))
    for i, (query, sets) in enumerate(zip(queries, ranked, strict=True)):
        codes = list(dict.fromkeys(code for s in sets for code in sorted(s)))
        result[i] = query.code in codes[:k]
    return result


def interval(values: np.ndarray, replicates: int = 1000, seed: int = 42) -> dict[str, float]:
    """Mean in percent with its bootstrap 95 % interval."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(replicates, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    numbers = {"value": values.mean(), "low": low, "high": high}
    return {key: round(100 * float(number), 2) for key, number in numbers.items()}


def tfidf(terms: Sequence[Term], queries: Sequence[Query], k: int = 5) -> list[list[set[str]]]:
    """Baseline: names by char n-gram (2-4) TF-IDF cosine, the best per concept."""
    names = sorted({(fold(n), t.code) for t in terms for n in t.names})
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    matrix = vectorizer.fit_transform(n for n, _ in names).T.tocsr()
    vectors = vectorizer.transform(q.mention for q in queries)
    ranked = []
    for start in range(0, len(queries), 64):
        scores = (vectors[start : start + 64] @ matrix).toarray()
        for row in scores:
            # Enough names for k concepts: synonyms of one concept crowd the top.
            top = np.argsort(-row.round(9), kind="stable")[: 20 * k]
            ranked.append([{names[i][1]} for i in top])
    return ranked


def exact(terms: Sequence[Term], queries: Sequence[Query]) -> list[list[set[str]]]:
    """Baseline: the concepts that have the mention as a name."""
    owners: dict[str, set[str]] = {}
    for term in terms:
        for name in term.names:
            owners.setdefault(fold(name), set()).add(term.code)
    return [[owners.get(q.mention, set())] for q in queries]
