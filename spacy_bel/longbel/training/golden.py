"""From corpus records to what examples are built from; knows spaCy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spacy.language import Language

from ...corpora.docs import MENTIONS, examples
from ...corpora.document import CorpusDocument
from ...linking_pipe import MarkedDoc, MentionSpan
from ...mentions import GroupMapping, is_linkable, mention_spans
from ...reranking_pipe import judged_mentions
from ..calibrating import GoldDocument
from ..documents import reading_order, to_document


def golden(
    records: Iterable[CorpusDocument],
    nlp: Language,
    mapping: GroupMapping,
    spans_key: str | None = MENTIONS,
    *,
    abbreviations: bool = False,
) -> Iterator[tuple[str, GoldDocument]]:
    """Documents with their ids, as `longbel_linker` reads them, and the gold codes of mentions.

    nlp: tokenises. mapping: semantic groups of labels; decides what becomes of those that map to
    none. spans_key: as in `mention_spans`; by default all mentions of the record, overlapping ones,
    too. abbreviations: see `to_document`. Ranked links of annotations come along as candidates.
    """
    for record in records:
        (example,) = examples([record], nlp)
        doc = example.predicted
        spans = enumerate(mention_spans(doc, spans_key))
        mentions = reading_order(
            [
                MentionSpan(index, span, groups)
                for index, span in spans
                if is_linkable(span.text) and (groups := mapping.groups(span.label_)) is not None
            ]
        )
        # By place and label: of the same mention annotated twice, spaCy keeps one.
        codes = {
            (span.start, span.end, span.label): gold
            for span, gold in judged_mentions(example, spans_key)
        }
        gold = {
            i: found
            for i, mention in enumerate(mentions)
            if (found := codes.get((mention.span.start, mention.span.end, mention.span.label)))
        }
        read = to_document(
            MarkedDoc(doc, mentions), mentions, retrieved=True, abbreviations=abbreviations
        )
        yield record.id, GoldDocument(read, gold)
