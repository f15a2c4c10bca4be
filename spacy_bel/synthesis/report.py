"""What became of answers: sentences, reasons, tokens and money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from spacy_bel.synthesis.acceptance import REASONS, Verdict
from spacy_bel.synthesis.base import Answer
from spacy_bel.synthesis.cost import Budget

#: Lines of each reason that a report shows.
_SHOWN = 3
#: Failures that a report names.
_NAMED = 100


@dataclass(slots=True)
class SynthesisReport:
    """Counts of a run.

    concepts: how many sentences were wanted for. complete: those with enough; partial: with fewer;
    empty: answered without a sentence that was taken; unanswered: without any answer. sentences:
    taken. answers: judged; unreadable: answers without any line that begins as it should.
    rejected: lines by reason; shown: a few of each with their concept.
    """

    concepts: int = 0
    complete: int = 0
    partial: int = 0
    empty: int = 0
    unanswered: int = 0
    sentences: int = 0
    answers: int = 0
    unreadable: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def add(self, code: str, answers: Sequence[Answer], verdict: Verdict, n: int) -> None:
        """Count what there is for a concept that `n` sentences are wanted for."""
        taken = len(verdict.accepted)
        self.concepts += 1
        self.complete += taken >= n
        self.partial += 0 < taken < n
        self.empty += bool(answers) and not taken
        self.unanswered += not answers
        self.sentences += taken
        self.answers += len(answers)
        self.unreadable += verdict.unreadable
        for rejection in verdict.rejected:
            self.rejected[rejection.reason] += 1
            lines = self.shown.setdefault(rejection.reason, [])
            if len(lines) < _SHOWN:
                lines.append({"code": code, "line": rejection.line[:500]})

    def to_json(
        self, budget: Budget, failed: Mapping[str, str], stopped: str, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The counts, with what was paid, failures of this run, and how the sentences were made."""
        return {
            "settings": dict(settings),
            "concepts": {
                "wanted": self.concepts,
                "complete": self.complete,
                "partial": self.partial,
                "without_sentence": self.empty,
                "unanswered": self.unanswered,
            },
            "sentences": self.sentences,
            "answers": {"judged": self.answers, "unreadable": self.unreadable},
            "rejected": {
                reason: {
                    "lines": self.rejected[reason],
                    "why": REASONS[reason],
                    "examples": self.shown[reason],
                }
                for reason in REASONS
                if self.rejected[reason]
            },
            "paid": {**asdict(budget.usage), "cost": round(budget.spent, 6)},
            "failed": {"concepts": len(failed), "messages": dict(list(failed.items())[:_NAMED])},
            "stopped": stopped,
        }
