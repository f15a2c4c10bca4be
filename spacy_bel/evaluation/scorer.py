"""Scoring links inside spaCy: recall at rank k and mean reciprocal rank over given mentions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_bel.candidates import Candidate, get_candidates

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase

NO_GOLD = ("", "NIL")


def score_links(
    examples: Iterable[Example],
    *,
    spans_key: str | None = None,
    ks: Sequence[int] = (1, 5),
    kb: KnowledgeBase | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Recall at each rank of `ks` and mean reciprocal rank (MRR) of the gold code.

    Every mention of the reference with a gold `kb_id_` counts once; mentions without one ("" or
    "NIL") are left out. Its candidates are those of the predicted mention at the same characters
    and of the same label (any label if either side has none). A gold mention that was not
    predicted, or whose code is not among the candidates, is a miss. A composite gold code "A+B" is
    met by the code "A+B" only.

    spans_key: span group that holds the mentions on both sides; None reads `doc.ents`.
    kb: knowledge base that says which codes stand for the same concept; without it, codes count
        as they are written.

    Returns "bel_recall_at_<k>" and "bel_mrr" (None without any gold), and "bel_per_label", the
    recall at the first of `ks` for each label.
    """
    ranks: list[float] = []
    by_label: dict[str, list[float]] = defaultdict(list)
    for example in examples:
        predicted = _by_position(_mentions(example.predicted, spans_key))
        for gold in _mentions(example.reference, spans_key):
            if gold.kb_id_ not in NO_GOLD:
                found = predicted.get((gold.start_char, gold.end_char), [])
                ranks.append(_rank(gold.kb_id_, _candidates(gold, found), kb))
                by_label[gold.label_].append(ranks[-1])
    names = [f"bel_recall_at_{k}" for k in ks]
    if not ranks:
        return dict.fromkeys([*names, "bel_mrr", "bel_per_label"])
    scores: dict[str, Any] = {name: _recall(ranks, k) for name, k in zip(names, ks, strict=True)}
    scores["bel_mrr"] = sum(1 / rank for rank in ranks) / len(ranks)
    scores["bel_per_label"] = {
        label: {names[0]: _recall(by_label[label], ks[0])} for label in sorted(by_label)
    }
    return scores


def _recall(ranks: list[float], k: int) -> float:
    return sum(rank <= k for rank in ranks) / len(ranks)


def _rank(code: str, candidates: list[Candidate], kb: KnowledgeBase | None) -> float:
    gold = _main_code(code, kb)
    ranks = (rank for rank, c in enumerate(candidates, 1) if _main_code(c.code, kb) == gold)
    return next(ranks, float("inf"))


def _main_code(code: str, kb: KnowledgeBase | None) -> str:
    if kb is None:
        return code
    return "+".join(kb.resolve(part) or part for part in code.split("+"))


def _mentions(doc: Doc, spans_key: str | None) -> list[Span]:
    if spans_key is None:
        return list(doc.ents)
    return list(doc.spans[spans_key]) if spans_key in doc.spans else []


def _by_position(mentions: list[Span]) -> dict[tuple[int, int], list[Span]]:
    positions = defaultdict(list)
    for mention in mentions:
        positions[mention.start_char, mention.end_char].append(mention)
    return positions


def _candidates(gold: Span, found: list[Span]) -> list[Candidate]:
    fitting = (
        mention
        for mention in found
        if mention.label_ == gold.label_ or not mention.label_ or not gold.label_
    )
    mention = next(fitting, None)
    return get_candidates(mention) if mention is not None else []
