"""Ranked links beside gold: recall at k, mean reciprocal rank, and what was counted how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.evaluation.bootstrap import LEVEL, REPLICATES, SEED, Estimate, mean_over_mentions
from spacy_bel.evaluation.gold import NIL, Judge
from spacy_bel.evaluation.matching import PredictedDocuments, match, prediction
from spacy_bel.evaluation.policies import EvaluationError, Policies
from spacy_bel.evaluation.recall import Rank, measures

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase

KS = (1, 5, 25)


@dataclass(frozen=True, slots=True)
class RankedMention:
    """A gold mention that counts, where the system had its code, and what it was linked to.

    link: whether its link is right; None if it was left unlinked, or links were not looked at.
    """

    label: str
    groups: tuple[str, ...]
    rank: Rank
    link: bool | None = None

    def is_of(self, label: str | None, group: str | None) -> bool:
        """Whether it has this label and this semantic group; None stands for any."""
        return label in (None, self.label) and (group is None or group in self.groups)


class LinkScores(NamedTuple):
    """Precision of links, recall of mentions with a concept, and their harmonic mean."""

    precision: float
    recall: float
    f_score: float


@dataclass(slots=True)
class Evaluation:
    """The mentions that count, document by document, and what became of the others.

    judge: compares candidates with gold codes, and counts what each policy concerned.
    annotations: gold mentions before any policy.
    missed: counted mentions that the system has not marked.
    superfluous: predicted mentions at which the gold has none.
    candidates: length of the longest list of candidates; no recall grows beyond it.
    documents_missed: gold documents without prediction.
    documents_superfluous: predicted documents without gold.
    """

    judge: Judge = field(default_factory=Judge)
    ids: list[str] = field(default_factory=list)
    documents: list[list[RankedMention]] = field(default_factory=list)
    annotations: int = 0
    missed: int = 0
    superfluous: int = 0
    candidates: int = 0
    documents_missed: int = 0
    documents_superfluous: int = 0

    def add(self, gold: CorpusDocument, predicted: CorpusDocument | None) -> None:
        """Take in a document; None if there is no prediction for it."""
        answers, superfluous = match(gold, predicted)
        ranked = []
        for mention, answer in zip(self.judge.mentions(gold), answers, strict=True):
            if not mention.counted:
                continue
            self.missed += answer is None
            rank, link = None, None
            if answer is not None:
                codes, decision = prediction(answer)
                self.candidates = max(self.candidates, len(codes))
                rank = self.judge.rank(mention, codes, decision)
                if decision not in ("", NIL):
                    link = self.judge.rank(mention, [decision]) == 1
            ranked.append(RankedMention(mention.label, mention.groups, rank, link))
        self.ids.append(gold.id)
        self.documents.append(ranked)
        self.annotations += len(gold.annotations)
        self.superfluous += superfluous
        self.documents_missed += predicted is None

    @property
    def mentions(self) -> int:
        """Number of gold mentions that count."""
        return sum(map(len, self.documents))

    @property
    def labels(self) -> list[str]:
        """Labels of the mentions that count, sorted."""
        return sorted({mention.label for document in self.documents for mention in document})

    @property
    def groups(self) -> list[str]:
        """Semantic groups of their concepts, sorted; none without a knowledge base."""
        return sorted({g for document in self.documents for m in document for g in m.groups})

    def ranks(self, label: str | None = None, group: str | None = None) -> list[list[Rank]]:
        """Ranks of the mentions, of this label and semantic group if given, by document."""
        return [[m.rank for m in document if m.is_of(label, group)] for document in self.documents]

    def links(self) -> LinkScores:
        """How many links are right, and how many mentions are linked right.

        Superfluous mentions are no matter of linking, and left out.
        """
        links = [mention.link for document in self.documents for mention in document]
        right = links.count(True)
        linked = right + links.count(False)
        precision = right / linked if linked else 0.0
        recall = right / len(links) if links else 0.0
        both = precision + recall
        return LinkScores(precision, recall, 2 * precision * recall / both if both else 0.0)

    def estimates(
        self,
        ks: Sequence[int] = KS,
        *,
        label: str | None = None,
        group: str | None = None,
        baseline: Evaluation | None = None,
        **options: Any,
    ) -> dict[str, Estimate]:
        """Recall at each k and mean reciprocal rank, with intervals.

        label, group: only mentions with this label, or of this semantic group.
        baseline: another run on the same gold; then the differences from it, from the same draws of
            documents.
        options: of `mean_over_mentions`.

        Raises EvaluationError if no mention is left, or the baseline counts other mentions.
        """
        ranks = self.ranks(label, group)
        if not any(ranks):
            raise EvaluationError(
                "No gold mention counts: check that the gold has codes, and the policies."
            )
        if baseline is not None:
            self._check_same_gold(baseline)
        others = None if baseline is None else baseline.ranks(label, group)
        result = {}
        for name, measure in measures(ks).items():
            values = [[measure(rank) for rank in document] for document in ranks]
            if others is not None:
                values = [
                    [value - measure(rank) for value, rank in zip(mine, theirs, strict=True)]
                    for mine, theirs in zip(values, others, strict=True)
                ]
            result[name] = mean_over_mentions(values, **options)
        return result

    def counts(self) -> dict[str, Any]:
        """What was counted, and how many mentions each policy concerned."""
        return {
            "documents": len(self.documents),
            "documents_missed": self.documents_missed,
            "documents_superfluous": self.documents_superfluous,
            "annotations": self.annotations,
            "dropped": self.annotations - self.mentions,
            "mentions": self.mentions,
            "missed": self.missed,
            "superfluous": self.superfluous,
            "candidates": self.candidates,
            "policies": {
                name: {"choice": choice, "mentions": self.judge.counts[name]}
                for name, choice in asdict(self.judge.policies).items()
            },
        }

    def report(
        self,
        ks: Sequence[int] = KS,
        *,
        baseline: Evaluation | None = None,
        replicates: int = REPLICATES,
        level: float = LEVEL,
        seed: int = SEED,
    ) -> dict[str, Any]:
        """Counts, and estimates of all, per label and per group, as plain data.

        With a baseline also its estimates, and the differences from it.
        """
        options: dict[str, Any] = {"replicates": replicates, "level": level, "seed": seed}

        def row(of: Evaluation, **choice: Any) -> dict[str, Any]:
            number = sum(map(len, of.ranks(choice.get("label"), choice.get("group"))))
            estimates = of.estimates(ks, **choice, **options)
            return {"mentions": number, **{name: e._asdict() for name, e in estimates.items()}}

        report = {
            **self.counts(),
            "bootstrap": {"unit": "document", **options},
            "scores": row(self),
            "per_label": {label: row(self, label=label) for label in self.labels},
            "per_group": {group: row(self, group=group) for group in self.groups},
        }
        if baseline is not None:
            report["baseline"] = row(baseline)
            report["difference"] = row(self, baseline=baseline)
        return report

    def _check_same_gold(self, other: Evaluation) -> None:
        layouts = [
            (run.ids, [[m.label for m in document] for document in run.documents])
            for run in (self, other)
        ]
        if layouts[0] != layouts[1]:
            raise EvaluationError(
                "The two runs were not evaluated on the same gold mentions: use the same gold, "
                "knowledge base and policies for both."
            )


def evaluate(
    predicted: Iterable[CorpusDocument],
    gold: Iterable[CorpusDocument],
    *,
    kb: KnowledgeBase | None = None,
    policies: Policies | None = None,
) -> Evaluation:
    """Find the gold code of every gold mention among the candidates of the predicted one.

    predicted: documents whose annotations have ranked `links`, or codes as their only candidate.
    gold: documents with gold codes; nothing but `policies` decides what of them counts.
    kb: knowledge base that says which codes stand for the same concept; without it codes count as
        they are written.

    A gold mention that the system has not marked, at the same characters and with the same label,
    is a miss. Raises EvaluationError if texts differ, or the predictions hold no links.
    """
    result = Evaluation(Judge(policies, kb))
    answers = PredictedDocuments(predicted)
    if not answers.linked:
        raise EvaluationError(
            "The predictions hold no links: give the output of `bel link`, or a corpus with codes."
        )
    for document in gold:
        result.add(document, answers.take(document))
    result.documents_superfluous = answers.left
    if result.documents and result.documents_missed == len(result.documents):
        raise EvaluationError(
            "No document of the gold has predictions: both sides must use the same document ids."
        )
    return result
