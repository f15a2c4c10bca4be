"""Which predicted mention answers which gold mention."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import NamedTuple

from spacy_bel.corpora.docs import DEFAULT_LABEL
from spacy_bel.corpora.document import Annotation, CorpusDocument, code_string
from spacy_bel.evaluation.gold import NIL
from spacy_bel.evaluation.policies import EvaluationError

ANY_LABEL = ("", DEFAULT_LABEL)


class Prediction(NamedTuple):
    """What a system says about a mention.

    ranked: codes, best first. decision: its code for the mention, "NIL" if it left it unlinked.
    """

    ranked: list[str]
    decision: str


def prediction(annotation: Annotation) -> Prediction:
    """Ranked codes of a predicted mention; those of a file without ranks are one candidate."""
    if annotation.links:
        ranked = [link.code for link in annotation.links]
        return Prediction(ranked, str(annotation.meta.get("code", ranked[0])))
    code = code_string(annotation.codes)
    return Prediction([code] if code else [], code or str(annotation.meta.get("code", NIL)))


class PredictedDocuments:
    """Predicted documents by id; several of one id are handed out in their order."""

    def __init__(self, documents: Iterable[CorpusDocument]) -> None:
        self._by_id: dict[str, deque[CorpusDocument]] = defaultdict(deque)
        self.linked = 0
        for document in documents:
            self._by_id[document.id].append(document)
            self.linked += sum(bool(a.links or a.codes) for a in document.annotations)

    def take(self, gold: CorpusDocument) -> CorpusDocument | None:
        """The document that answers a gold document, None if there is none.

        Raises EvaluationError if its text is another one, so that offsets mean nothing.
        """
        waiting = self._by_id.get(gold.id)
        if not waiting:
            return None
        document = waiting.popleft()
        if len(document.text) != len(gold.text) or document.text.split() != gold.text.split():
            raise EvaluationError(
                f"Document {gold.id}: the predictions are for another text than the gold. Link the "
                "very file that you evaluate with."
            )
        return document

    @property
    def left(self) -> int:
        """Number of documents that no gold document has asked for."""
        return sum(map(len, self._by_id.values()))


def match(
    gold: CorpusDocument, predicted: CorpusDocument | None
) -> tuple[list[Annotation | None], int]:
    """For each gold annotation the predicted one; and how many predictions were left over.

    They have the same offsets, up to surrounding white space, and the same label (any if either
    has none). Where several fit, those of the same pieces and not yet taken come first. A
    prediction answers more than one gold mention only where offsets and label do not tell them
    apart.
    """
    if predicted is None:
        return [None] * len(gold.annotations), 0
    by_place: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, annotation in enumerate(predicted.annotations):
        by_place[_place(annotation, predicted.text)].append(index)
    taken: set[int] = set()
    answers: list[Annotation | None] = []
    for mention in gold.annotations:
        fitting = [
            index
            for index in by_place.get(_place(mention, gold.text), ())
            if _same_label(mention.type, predicted.annotations[index].type)
        ]
        if not fitting:
            answers.append(None)
            continue
        best = min(
            fitting,
            key=lambda i: (
                predicted.annotations[i].type != mention.type,
                predicted.annotations[i].fragments != mention.fragments,
                i in taken,
            ),
        )
        taken.add(best)
        answers.append(predicted.annotations[best])
    return answers, len(predicted.annotations) - len(taken)


def _same_label(one: str, other: str) -> bool:
    return one == other or one in ANY_LABEL or other in ANY_LABEL


def _place(annotation: Annotation, text: str) -> tuple[int, int]:
    mention = text[annotation.start : annotation.end]
    start = annotation.start + len(mention) - len(mention.lstrip())
    return start, max(start, annotation.start + len(mention.rstrip()))
