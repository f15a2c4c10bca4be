"""From corpus records to spaCy documents and training examples."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans

from spacy_bel.candidates import get_candidates, set_candidates
from spacy_bel.corpora.document import (
    Annotation,
    CorpusDocument,
    code_string,
    parse_code_string,
)
from spacy_bel.corpora.standoff import typed_passages
from spacy_bel.sentences import sentence_starts

DEFAULT_LABEL = "MENTION"
MENTIONS = "mentions"
PASSAGES = "passages"
RECORD = "corpus_document"


def to_doc(record: CorpusDocument, nlp: Language, *, gold: bool = True) -> Doc:
    """Tokenise a record and mark its mentions.

    Mentions become ``doc.spans["mentions"]`` and, where they do not overlap, `doc.ents` (of
    overlapping ones the longest). Tokens are split where a mention begins or ends within one, so
    that the mentions keep their offsets, save for surrounding white space. Passages become
    ``doc.spans["passages"]``, the id ``doc.user_data["document_id"]``. A mention without type gets
    the label "MENTION". Ranked links of annotations become ``Span._.kb_candidates``, and never
    `kb_id_`. Sentences of the record become those of the document; without them it has none.

    gold: keep the gold codes: as `kb_id_` of the mention (first alternatives, joined by "+") and in
        full in ``doc.user_data["gold_mentions"]``, rows of [start, end, type, codes]. The rest of
        the record goes to ``doc.user_data["corpus_document"]``, for `from_doc`.
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
        doc.char_span(start, end, label=type, alignment_mode="expand")
        for start, end, type in typed_passages(record)
    ]
    doc.spans[PASSAGES] = [passage for passage in passages if passage is not None]
    if record.sentences:
        _mark_sentences(doc, {start for start, _ in record.sentences})
    for annotation in record.annotations:
        span = mention_span(doc, annotation) if annotation.links else None
        if span is not None:
            set_candidates(span, annotation.links)
    if gold:
        doc.user_data["gold_mentions"] = [
            [annotation.start, annotation.end, annotation.type, annotation.codes]
            for annotation in record.annotations
        ]
        doc.user_data[RECORD] = {
            "passages": [list(passage) for passage in typed_passages(record)],
            "meta": record.meta,
            "mentions": [
                [a.text, [list(fragment) for fragment in a.fragments], a.id, a.meta]
                for a in record.annotations
            ],
        }
    return doc


def split_sentences(doc: Doc) -> None:
    """Mark the sentences of a document that `to_doc` made, unless it has some.

    They are those of spaCy's rules. Passages begin sentences, too, and none begins in a mention.
    """
    if len(doc) and not doc.has_annotation("SENT_START", require_complete=True):
        inside = {
            offset for m in doc.spans[MENTIONS] for offset in range(m.start_char + 1, m.end_char)
        }
        passages = {passage.start_char for passage in doc.spans[PASSAGES]}
        text = doc.text
        # By spaCy's rules white space after a full stop would be a sentence of its own.
        starts = {
            len(text) - len(text[start:].lstrip()) for start in sentence_starts(doc) | passages
        }
        _mark_sentences(doc, {0, *starts} - inside)


def mention_span(doc: Doc, annotation: Annotation) -> Span | None:
    """The span that `to_doc` made of an annotation; None of one of white space."""
    start, end = _trimmed(doc.text, annotation)
    label = annotation.type or DEFAULT_LABEL
    return doc.char_span(start, end, label=label) if start < end else None


def from_doc(doc: Doc) -> CorpusDocument:
    """The record of a document: all of it if `to_doc` made it, else what its spans say.

    Then mentions are ``doc.spans["mentions"]``, or the entities where there is no such group, and
    their `kb_id_` is gold where they carry no ranked candidates.
    """
    document = CorpusDocument(str(doc.user_data.get("document_id", "")), doc.text)
    # spaCy takes a single token for a sentence in any case.
    if len(doc) > 1 and doc.has_annotation("SENT_START"):
        document.sentences = [(s.start_char, s.end_char) for s in doc.sents]
    kept = doc.user_data.get(RECORD)
    if kept is None:
        passages = doc.spans.get(PASSAGES, [])
        document.passages = [(p.start_char, p.end_char) for p in passages]
        document.passage_types = [p.label_ for p in passages]
        document.annotations = [_annotation(s) for s in doc.spans.get(MENTIONS, doc.ents)]
        return document
    document.passages = [(start, end) for start, end, _ in kept["passages"]]
    document.passage_types = [type for _, _, type in kept["passages"]]
    document.meta = _lists(kept["meta"])
    for gold, rest in zip(doc.user_data["gold_mentions"], kept["mentions"], strict=True):
        (start, end, type, codes), (text, fragments, identifier, meta) = gold, rest
        annotation = Annotation(
            start, end, text, type, _lists(codes), [(a, b) for a, b in fragments], identifier, [],
            _lists(meta),
        )  # fmt: skip
        span = mention_span(doc, annotation)
        annotation.links = get_candidates(span) if span is not None else []
        document.annotations.append(annotation)
    return document


def _lists(value: Any) -> Any:
    """Undo what serialisation makes of lists, tuples."""
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists(inner) for inner in value]
    return value


def _annotation(span: Span) -> Annotation:
    links = get_candidates(span)
    codes = [] if links else parse_code_string(span.kb_id_)
    return Annotation(
        span.start_char, span.end_char, span.text, span.label_, codes, [], span.id_, links
    )


def _trimmed(text: str, annotation: Annotation) -> tuple[int, int]:
    """Offsets without surrounding white space, with which spaCy lets no entity begin or end."""
    mention = text[annotation.start : annotation.end]
    start = annotation.end - len(mention.lstrip())
    return start, max(start, annotation.start + len(mention.rstrip()))


def _mark_sentences(doc: Doc, starts: Collection[int]) -> None:
    """Let sentences begin at the first token at or after each character, and nowhere else."""
    offsets = [token.idx for token in doc]
    first = {bisect_left(offsets, start) for start in starts}
    for token in doc:
        token.is_sent_start = token.i in first


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
        linking is trained and scored apart from mention detection. Where the records have ranked
        links, mentions carry them as candidates on both sides, so that re-rankers need no retriever
        before them.
    """
    for record in records:
        predicted = to_doc(record, nlp, gold=False) if gold_mentions else nlp.make_doc(record.text)
        yield Example(predicted, to_doc(record, nlp))
