"""From corpus records to spaCy documents and training examples."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import filter_spans

from spacy_bel.corpora.document import Annotation, CorpusDocument, code_string

DEFAULT_LABEL = "MENTION"
MENTIONS = "mentions"


def to_doc(record: CorpusDocument, nlp: Language, *, gold: bool = True) -> Doc:
    """Tokenise a record and mark its mentions.

    Mentions become ``doc.spans["mentions"]`` and, where they do not overlap, `doc.ents` (of
    overlapping ones the longest). Tokens are split where a mention begins or ends within one, so
    that the mentions keep their offsets, save for surrounding white space. Passages become
    ``doc.spans["passages"]``, the id ``doc.user_data["document_id"]``. A mention without type gets
    the label "MENTION".

    gold: keep the gold codes: as `kb_id_` of the mention (first alternatives, joined by "+") and in
        full in ``doc.user_data["gold_mentions"]``, rows of [start, end, type, codes].
    """
    doc = nlp.make_doc(record.text)
    doc.user_data["document_id"] = record.id
    offsets = [_trimmed(record.text, annotation) for annotation in record.annotations]
    _split_tokens(doc, {offset for pair in offsets for offset in pair})
    mentions = [
        doc.char_span(
            start,
            end,
            label=annotation.type or DEFAULT_LABEL,
            kb_id=code_string(annotation.codes) if gold else "",
        )
        for annotation, (start, end) in zip(record.annotations, offsets, strict=True)
        if start < end
    ]
    # The same mention may be annotated twice.
    distinct = list(dict.fromkeys(mention for mention in mentions if mention is not None))
    doc.spans[MENTIONS] = distinct
    doc.set_ents(filter_spans(distinct))
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


def _trimmed(text: str, annotation: Annotation) -> tuple[int, int]:
    """Offsets without surrounding white space, with which spaCy lets no entity begin or end."""
    mention = text[annotation.start : annotation.end]
    start = annotation.end - len(mention.lstrip())
    return start, max(start, annotation.start + len(mention.rstrip()))


def _split_tokens(doc: Doc, borders: set[int]) -> None:
    starts = [token.idx for token in doc]
    cuts: dict[int, list[int]] = defaultdict(list)
    for border in sorted(borders):
        token = doc[bisect_right(starts, border) - 1]
        if 0 < border - token.idx < len(token):
            cuts[token.i].append(border - token.idx)
    with doc.retokenize() as retokenizer:
        for i, inside in cuts.items():
            bounds = [0, *inside, len(doc[i])]
            pieces = [doc[i].text[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
            retokenizer.split(doc[i], pieces, heads=[(doc[i], 0)] * len(pieces))


def examples(
    records: Iterable[CorpusDocument], nlp: Language, *, gold_mentions: bool = True
) -> Iterator[Example]:
    """For each record an Example whose reference holds mentions and gold codes.

    gold_mentions: mark the mentions, without codes, in the predicted document as well, so that
        linking is trained and scored apart from mention detection.
    """
    for record in records:
        predicted = to_doc(record, nlp, gold=False) if gold_mentions else nlp.make_doc(record.text)
        yield Example(predicted, to_doc(record, nlp))
