"""Wrong links that repeat: does a document's first error on a concept come back?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spacy_bel.corpora.document import Annotation, CorpusDocument, parse_code_string
from spacy_bel.corpora.flags import main_code
from spacy_bel.evaluation.bootstrap import Estimate, mean_over_mentions
from spacy_bel.evaluation.gold import NIL, GoldMention, Judge
from spacy_bel.evaluation.matching import PredictedDocuments, match, prediction
from spacy_bel.evaluation.policies import Policies

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase

Concept = frozenset[frozenset[str]]


@dataclass(slots=True)
class Echo:
    """What became of mentions of a concept after its first wrong link in the document.

    errors: concepts of documents with a wrong link, each counted once a document. echoed: by
        document, for each later mention of such a concept whether it is linked to that very code
        again. right, otherwise: later mentions that are linked right, and those that are linked to
        another wrong code or not at all.

    Method: the cascading errors of LongBEL (arXiv 2605.13451).
    """

    errors: int = 0
    echoed: list[list[bool]] = field(default_factory=list)
    right: int = 0
    otherwise: int = 0

    @property
    def later(self) -> int:
        """Mentions after a first wrong link."""
        return sum(map(len, self.echoed))

    @property
    def same(self) -> int:
        """Those of them with the same wrong code."""
        return sum(map(sum, self.echoed))

    @property
    def share(self) -> float | None:
        """How many of the later mentions repeat the error; None without any."""
        return self.same / self.later if self.later else None

    def estimate(self, **options: Any) -> Estimate | None:
        """The share with an interval from resampling documents; None without later mentions.

        options: of `mean_over_mentions`.
        """
        if not self.later:
            return None
        return mean_over_mentions([[float(e) for e in row] for row in self.echoed], **options)

    def report(self) -> dict[str, Any]:
        """The counts, and the share, as plain data."""
        return {
            "errors": self.errors,
            "later": self.later,
            "same": self.same,
            "right": self.right,
            "otherwise": self.otherwise,
            "share": self.share,
        }


def echo(
    predicted: Iterable[CorpusDocument],
    gold: Iterable[CorpusDocument],
    *,
    kb: KnowledgeBase | None = None,
    policies: Policies | None = None,
) -> Echo:
    """Follow the first wrong link of each gold concept through its document.

    predicted, gold, kb, policies: as `evaluate` takes them. A link is the best candidate of a
    mention; a mention that has none, or was linked to "NIL", has no link that could be wrong.
    Mentions follow each other in the order of the text, and are of one concept if they ask for the
    same codes.
    """
    judge = Judge(policies, kb)
    answers = PredictedDocuments(predicted)
    result = Echo()
    for document in gold:
        matched, _ = match(document, answers.take(document))
        chains: dict[Concept, list[tuple[GoldMention, Annotation | None]]] = defaultdict(list)
        rows = zip(document.annotations, judge.mentions(document), matched, strict=True)
        for _, mention, answer in sorted(rows, key=lambda row: (row[0].start, row[0].end)):
            if mention.counted and mention.parts:
                chains[frozenset(mention.parts)].append((mention, answer))
        result.echoed.append([])
        for chain in chains.values():
            _follow(chain, judge, result)
    return result


def _follow(chain: list[tuple[GoldMention, Annotation | None]], judge: Judge, result: Echo) -> None:
    """Count the mentions of one concept in one document."""
    wrong: frozenset[str] | None = None
    for mention, answer in chain:
        link = _link(answer, judge.kb)
        is_right = link is not None and judge.rank(mention, ["+".join(sorted(link))]) == 1
        if wrong is None:
            if link is not None and not is_right:
                wrong = link
                result.errors += 1
            continue
        result.echoed[-1].append(link == wrong)
        result.right += is_right
        result.otherwise += not is_right and link != wrong


def _link(answer: Annotation | None, kb: KnowledgeBase | None) -> frozenset[str] | None:
    """Main codes of a mention's link; None if it has none."""
    if answer is None:
        return None
    codes, decision = prediction(answer)
    if not codes or decision == NIL:
        return None
    parts = [code for part in parse_code_string(codes[0]) for code in part]
    return frozenset((main_code(kb, code) if kb else None) or code for code in parts) or None
