"""Recall of an encoder on development mentions, among names that n-grams confuse with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spacy_bel.errors import ReadError
from spacy_bel.expansion import Query
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold
from spacy_bel.retriever.ngrams import NgramIndex

KS = (1, 5, 25)


@dataclass(frozen=True)
class DevelopmentMention:
    """A mention to find: the strings to search for, its gold codes, a row of group bits."""

    queries: Sequence[Query]
    gold: frozenset[str]
    group_mask: np.ndarray


class DevelopmentSet:
    """Mentions and a pool of names, small enough to be embedded after every epoch.

    The pool holds all names of the gold concepts and of the ``confusable`` concepts that character
    n-grams rank highest for each mention. So figures are higher than on the whole terminology; they
    choose between epochs and say no more.

    name: what to call it in reports.
    """

    def __init__(
        self,
        name: str,
        kb: KnowledgeBase,
        mentions: Sequence[DevelopmentMention],
        *,
        confusable: int = 25,
    ) -> None:
        if not mentions:
            raise ReadError(
                f"The development corpus {name!r} has no mention with a code of "
                f"{kb.meta.name!r}: give a corpus annotated with this terminology."
            )
        self.name = name
        found = NgramIndex(kb).search_queries(
            [mention.queries for mention in mentions],
            np.stack([mention.group_mask for mention in mentions]),
            confusable,
        )
        codes = {code for hits in found for code, _, _ in hits}
        codes |= {main for m in mentions for code in m.gold if (main := kb.resolve(code))}
        concepts = sorted(map(kb.concept_id, codes))
        rows = [
            (fold(kb.name(name_id)), concept)
            for concept in concepts
            for name_id in kb.names_of_concept(concept).tolist()
        ]
        rows = sorted(set(rows), key=lambda row: (row[1], row[0]))
        self.names = sorted({text for text, _ in rows})
        places = {text: place for place, text in enumerate(self.names)}
        self._row_names = np.array([places[text] for text, _ in rows])
        concept_places = {concept: place for place, concept in enumerate(concepts)}
        # Rows stand concept by concept, and every concept has one: where each begins.
        self._first_rows = np.searchsorted([concept for _, concept in rows], concepts)
        self._masks = kb.concept_group_masks[concepts]
        self._gold = [
            np.array(
                [concept_places[kb.concept_id(code)] for code in mention.gold if code in kb], int
            )
            for mention in mentions
        ]
        self._mentions = mentions
        self.queries = sorted({fold(q.text) for mention in mentions for q in mention.queries})
        self._query_places = {text: place for place, text in enumerate(self.queries)}

    def __len__(self) -> int:
        """Number of mentions."""
        return len(self._mentions)

    @property
    def fingerprint(self) -> str:
        """The sha256 of mentions, gold concepts and pool."""
        digest = hashlib.sha256(json.dumps([self.name, self.names, self.queries]).encode())
        for mention, gold in zip(self._mentions, self._gold, strict=True):
            digest.update(json.dumps([list(mention.queries), sorted(gold.tolist())]).encode())
            digest.update(mention.group_mask.tobytes())
        for array in (self._row_names, self._first_rows, self._masks):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def scores(self, names: np.ndarray, queries: np.ndarray) -> dict[str, float]:
        """Recall at k and mean reciprocal rank.

        names, queries: embeddings, float32, of ``self.names`` and ``self.queries``.
        """
        similarity = queries @ names.T
        ranks = []
        for mention, gold in zip(self._mentions, self._gold, strict=True):
            of_rows = np.max(
                [q.weight * similarity[self._query_places[fold(q.text)]] for q in mention.queries],
                axis=0,
            )[self._row_names]
            best = np.maximum.reduceat(of_rows, self._first_rows)
            best[~(self._masks & mention.group_mask).any(axis=1)] = -np.inf
            right = best[gold].max(initial=-np.inf)
            # Concepts that score the same stand before it: no luck in the figure.
            ranks.append((best >= right).sum() if right > -np.inf else np.inf)
        of_all = np.array(ranks, float)
        recall = {f"recall@{k}": float((of_all <= k).mean()) for k in KS}
        return {**recall, "mrr": float((1 / of_all).mean())}
