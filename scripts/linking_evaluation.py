"""Held-out names, and how well a generator and its baselines link them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from name_noise import fold
from tqdm import tqdm
from training_examples import Term, sentence

from spacy_bel.evaluation.recall import rank_of_gold, recall_at_k
from spacy_bel.kb import Concept, KnowledgeBase, KnowledgeBaseBuilder
from spacy_bel.longbel.document import Document, Mention, Passage
from spacy_bel.longbel.engine import Engine
from spacy_bel.longbel.models.base import LanguageModel
from spacy_bel.longbel.name_trie import NameTrie
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.prompts.text import normalise
from spacy_bel.longbel.tokenization import PromptTokenizer
from spacy_bel.retriever.ngrams import NgramIndex

EARLIER_MENTIONS = 3
BATCH = 16


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


def knowledge_base(terms: Iterable[Term]) -> KnowledgeBase:
    """The names that may be linked to."""
    builder = KnowledgeBaseBuilder("terms without held-out names")
    for term in terms:
        builder.add(Concept(code=term.code, names=term.names, groups=term.groups))
    return builder.build()


def documents(
    queries: Sequence[Query], terms: Sequence[Term], templates: Sequence[str], earlier: int
) -> list[Document]:
    """A document per query: sentences of other concepts' names, then that of the query.

    earlier: number of mentions before the query's own, which memory will hold.
    """
    rng = random.Random(42)
    result = []
    for query in queries:
        others = [rng.choice(terms) for _ in range(EARLIER_MENTIONS)]
        before = [(fold(t.names[0]), t.groups[0]) for t in others if t.code != query.code]
        mentions = [*before[:earlier], (query.mention, query.group)]
        text, marked, sentences = "", [], []
        for surface, group in mentions:
            other = normalise(fold(rng.choice(terms).names[0]))
            bracketed = sentence(rng.choice(templates), normalise(surface), other)
            at = len(text) + bracketed.index("[")
            end = len(text) + bracketed.index("]") - 1
            plain = bracketed.replace("[", "", 1).replace("]", "", 1)
            marked.append(Mention(at, end, (text + plain)[at:end], group, (group,)))
            sentences.append((len(text), len(text) + len(plain)))
            text += plain + " "
        result.append(Document((Passage(0, text.rstrip()),), tuple(marked), tuple(sentences)))
    return result


def generated(
    model: LanguageModel,
    kb: KnowledgeBase,
    queries: Sequence[Query],
    terms: Sequence[Term],
    templates: Sequence[str],
    prompt: str,
) -> list[list[str]]:
    """Codes that the generator gives for each query, best first."""
    chosen = get_prompt(prompt)
    trie = NameTrie.build(kb, PromptTokenizer(model.tokenizer, chosen))
    engine = Engine(model, trie, chosen, batch_size=BATCH)
    given = documents(queries, terms, templates, EARLIER_MENTIONS * chosen.uses_memory)
    codes = []
    for links in tqdm(engine.link(given), f"Linking, {prompt}", len(given), disable=None):
        if isinstance(links, Exception):
            raise links
        codes.append([candidate.code for candidate in links[-1]])
    return codes


def by_ngrams(kb: KnowledgeBase, queries: Sequence[Query], k: int = 5) -> list[list[str]]:
    """Baseline: codes by cosine of character n-grams, as `bel_retriever` ranks them."""
    found = NgramIndex(kb).search([query.mention for query in queries], k=k)
    return [[code for code, _, _ in candidates] for candidates in found]


def by_exact_match(kb: KnowledgeBase, queries: Sequence[Query]) -> list[list[str]]:
    """Baseline: codes that have the mention as a name."""
    return [kb.find(query.mention) for query in queries]


def recall(queries: Sequence[Query], codes: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Recall@1 and @5 in percent with bootstrap 95 % intervals."""
    pairs = zip(queries, codes, strict=True)
    ranks = [[rank_of_gold(found, {query.code})] for query, found in pairs]
    return {
        f"recall@{k}": {
            key: round(100 * value, 2) for key, value in recall_at_k(ranks, k)._asdict().items()
        }
        for k in (1, 5)
    }
