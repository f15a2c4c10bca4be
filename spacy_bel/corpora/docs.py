"""From corpus records to spaCy documents and training examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans

from spacy_bel.corpora.document import Annotation, CorpusDocument, code_string

DEFAULT_LABEL = "MENTION"
OVERLAPPING = "overlapping"


def to_doc(record: CorpusDocument, nlp: Language, *, gold: bool = True) -> Doc:
    """Tokenise a record and mark its mentions.

    Mentions become `doc.ents`, widened to token borders; where some overlap, the longest stays in
    `doc.ents` and the others go to ``doc.spans["overlapping"]``. Passages are
    ``doc.spans["passages"]``, the id is ``doc.user_data["document_id"]``. A mention without type
    gets the label "MENTION".

    gold: keep the gold codes: as `kb_id_` of the mention (first alternatives, joined by "+") and in
        full in ``doc.user_data["gold_mentions"]``, rows of [start, end, type, codes].
    """
    doc = nlp.make_doc(record.text)
    doc.user_data["document_id"] = record.id
    mentions = [_span(doc, annotation, gold) for annotation in record.annotations]
    # Widening to tokens can make two annotations of different offsets the same mention.
    distinct = list(dict.fromkeys(mention for mention in mentions if mention is not None))
    ents = filter_spans(distinct)
    doc.set_ents(ents)
    kept = set(ents)
    overlapping = [mention for mention in distinct if mention not in kept]
    if overlapping:
        doc.spans[OVERLAPPING] = overlapping
    passages = [
        doc.char_span(start, end, alignment_mode="expand") for start, end in record.passages
    ]
    doc.spans["passages"] = [passage for passage in passages if passage is not None]
    if gold:
        doc.user_data["gold_mentions"] = [
            [annotation.start, annotation.end, annotation.type, annotation.codes]
            for annotation in record.annotations
        ]
    return doc


def _span(doc: Doc, annotation: Annotation, gold: bool) -> Span | None:
    text = doc.text[annotation.start : annotation.end]
    # spaCy refuses entities that begin or end with a whitespace token.
    start = annotation.start + len(text) - len(text.lstrip())
    end = annotation.end - len(text) + len(text.rstrip())
    if start >= end:
        return None
    return doc.char_span(
        start,
        end,
        label=annotation.type or DEFAULT_LABEL,
        kb_id=code_string(annotation.codes) if gold else "",
        alignment_mode="expand",
    )


def example_reader(
    records: Callable[[], Iterator[CorpusDocument]], *, gold_mentions: bool = True
) -> Callable[[Language], Iterator[Example]]:
    """A spaCy reader: for each record an Example whose reference holds mentions and gold codes.

    gold_mentions: mark the mentions, without codes, in the predicted document as well, so that
        linking is trained and scored apart from mention detection.
    """

    def read_examples(nlp: Language) -> Iterator[Example]:
        for record in records():
            predicted = (
                to_doc(record, nlp, gold=False) if gold_mentions else nlp.make_doc(record.text)
            )
            yield Example(predicted, to_doc(record, nlp))

    return read_examples
