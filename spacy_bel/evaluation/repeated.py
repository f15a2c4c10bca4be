"""First and repeated mentions of a concept: what memory of a document can be about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.evaluation.evaluation import Evaluation
from spacy_bel.evaluation.gold import Judge
from spacy_bel.evaluation.policies import Policies

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase

FIRST, REPEATED = "first", "repeated"
#: Parts by occurrence: its name, the first occurrence of it, and the last (None: no end).
_BY_OCCURRENCE = (("k=2", 2, 2), ("k=3", 3, 3), ("k=4", 4, 4), ("k>=5", 5, None))


def occurrences(
    gold: Iterable[CorpusDocument],
    *,
    kb: KnowledgeBase | None = None,
    policies: Policies | None = None,
) -> list[list[int]]:
    """For each mention that counts, which one of its concept in its document it is, from 1.

    gold, kb, policies: as of the evaluation, with whose mentions the result is aligned: those of
    each document in the order of its annotations. They are counted in the order of the text, and
    are of one concept if they ask for the same codes, composites for the same several. A mention
    without concept is 0.
    """
    judge = Judge(policies, kb)
    result = []
    for document in gold:
        mentions = judge.mentions(document)
        counted = [i for i, mention in enumerate(mentions) if mention.counted]
        places = [(a.start, a.end) for a in document.annotations]
        seen: Counter[frozenset[frozenset[str]]] = Counter()
        number = dict.fromkeys(counted, 0)
        for i in sorted(counted, key=lambda i: places[i]):
            if mentions[i].parts:
                concept = frozenset(mentions[i].parts)
                seen[concept] += 1
                number[i] = seen[concept]
        result.append([number[i] for i in counted])
    return result


def parts_by_occurrence(numbers: Sequence[Sequence[int]]) -> dict[str, list[list[bool]]]:
    """Which mentions belong to "first", "repeated", "k=2", "k=3", "k=4", "k>=5"; by document.

    numbers: of `occurrences`. Mentions without concept belong to none.
    """
    ranges = ((FIRST, 1, 1), (REPEATED, 2, None), *_BY_OCCURRENCE)
    return {
        name: [
            [least <= number and (most is None or number <= most) for number in document]
            for document in numbers
        ]
        for name, least, most in ranges
    }


def chosen_mentions(evaluation: Evaluation, chosen: Sequence[Sequence[bool]]) -> Evaluation:
    """The evaluation of some mentions only.

    chosen: for each document, whether each of its mentions that count belongs to them. Counts of
    what was dropped, missed or superfluous stay those of the whole.
    """
    documents = [
        [mention for mention, kept in zip(document, flags, strict=True) if kept]
        for document, flags in zip(evaluation.documents, chosen, strict=True)
    ]
    return replace(evaluation, documents=documents)
