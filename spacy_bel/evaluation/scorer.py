"""Scoring links inside spaCy: recall at rank k and mean reciprocal rank over given mentions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_bel.candidates import get_candidates
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.gold import Codes, gold_codes
from spacy_bel.evaluation.evaluation import Evaluation
from spacy_bel.evaluation.gold import Judge
from spacy_bel.evaluation.policies import Policies
from spacy_bel.evaluation.recall import MRR, measures
from spacy_bel.mentions import mention_spans

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase

#: Precision, recall and F-score of links.
LINKS = ("bel_micro_p", "bel_micro_r", "bel_micro_f")


def score_links(
    examples: Iterable[Example],
    *,
    spans_key: str | None = None,
    ks: Sequence[int] = (1, 5),
    policies: Mapping[str, str] | None = None,
    kb: KnowledgeBase | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Recall at each rank of `ks` and mean reciprocal rank (MRR) of the gold code.

    Every mention of the reference with a gold code counts once: its `kb_id_`, or all codes of
    ``doc.user_data["gold_mentions"]`` where a corpus reader has left them there. Mentions whose
    `kb_id_` is empty are not annotated and left out. Its candidates are those of the predicted
    mention at the same characters and of the same label (any label if either side has none). A gold
    mention that was not predicted, or whose code is not among the candidates, is a miss.

    spans_key: span group that holds the mentions on both sides; None reads `doc.ents`.
    policies: what differs from the defaults of `spacy_bel.evaluation.policies.Policies`, by which a
        composite gold code "A+B" is met by "A+B" only, and "NIL" does not count.
    kb: knowledge base that says which codes stand for the same concept; without it, codes count
        as they are written.

    Returns "bel_recall_at_<k>" and "bel_mrr", which read candidates; "bel_micro_p", "bel_micro_r"
    and "bel_micro_f", precision, recall and F-score of links (`kb_id_`), on which a threshold
    bears; all None without any gold; and "bel_per_label", the recall at the first of `ks` for each
    label.
    """
    evaluation = Evaluation(Judge(Policies(**(policies or {})), kb))
    for example in examples:
        evaluation.add(*scored_documents(example, spans_key))
    names = {name: f"bel_{name.replace('@', '_at_')}" for name in measures(ks)}
    if not evaluation.mentions:
        return dict.fromkeys([*names.values(), *LINKS, "bel_per_label"])
    means = _means(evaluation, ks)
    scores: dict[str, Any] = {score: means[name] for name, score in names.items()}
    scores.update(zip(LINKS, evaluation.links(), strict=True))
    first = f"recall@{ks[0]}" if ks else MRR
    scores["bel_per_label"] = {
        label: {names[first]: _means(evaluation, ks, label)[first]} for label in evaluation.labels
    }
    return scores


def scored_documents(
    example: Example, spans_key: str | None = None
) -> tuple[CorpusDocument, CorpusDocument]:
    """What `score_links` compares: annotated mentions of the reference, all of the predicted."""
    reference, predicted = example.reference, example.predicted
    gold = gold_codes(reference, mention_spans(reference, spans_key))
    return (
        _document(reference, (_annotation(span, codes) for span, codes in gold)),
        _document(predicted, map(_predicted, mention_spans(predicted, spans_key))),
    )


def _means(evaluation: Evaluation, ks: Sequence[int], label: str | None = None) -> dict[str, float]:
    # No intervals here: training asks for scores often.
    ranks = [rank for document in evaluation.ranks(label) for rank in document]
    return {name: sum(map(measure, ranks)) / len(ranks) for name, measure in measures(ks).items()}


def _document(doc: Doc, annotations: Iterable[Annotation]) -> CorpusDocument:
    return CorpusDocument("", doc.text, annotations=list(annotations))


def _predicted(span: Span) -> Annotation:
    annotation = _annotation(span, [])
    annotation.links = get_candidates(span)
    annotation.meta = {"code": span.kb_id_}
    return annotation


def _annotation(span: Span, codes: Codes) -> Annotation:
    return Annotation(span.start_char, span.end_char, span.text, span.label_, codes)
