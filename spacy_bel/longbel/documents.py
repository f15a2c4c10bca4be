"""From spaCy documents to what the engine reads."""

from __future__ import annotations

from collections.abc import Callable

from spacy.tokens import Doc, Span

from ..candidates import Candidate, get_candidates
from ..expansion import written_out
from ..linking_pipe import MarkedDoc, MentionSpan
from ..sentences import sentence_starts
from .document import JOINT, Document, Mention, Passage

PASSAGES = "passages"


def to_document(
    marked: MarkedDoc,
    mentions: list[MentionSpan],
    *,
    pinned: Callable[[Span], Candidate | None] = lambda span: None,
    retrieved: bool = False,
    abbreviations: bool = False,
) -> Document:
    """A document and some of its mentions, in the order given, as strings and offsets.

    pinned: gives the link of a mention for which none is to be found. retrieved: whether the
    candidates of mentions are part of it. abbreviations: whether short forms that the document
    defines are written out in mentions, though not in their context.

    `doc.spans["passages"]` are its passages; without them the whole document is one. Sentences are
    those of the document if it has any, otherwise spaCy's rule-based ones.
    """
    doc = marked.doc
    texts = [m.span.text for m in mentions]
    if abbreviations:
        texts = written_out(doc.text, [(m.span.start_char, m.span.end_char) for m in mentions])
    spans = sorted(doc.spans[PASSAGES]) if PASSAGES in doc.spans else []
    passages = tuple(Passage(span.start_char, span.text) for span in spans)
    return Document(
        passages or (Passage(0, doc.text),),
        tuple(
            Mention(
                m.span.start_char,
                m.span.end_char,
                text,
                _prompt_group(m),
                m.groups,
                pinned(m.span),
                tuple(get_candidates(m.span)) if retrieved else (),
            )
            for m, text in zip(mentions, texts, strict=True)
        ),
        _sentences(doc, passages, mentions),
    )


def reading_order(mentions: list[MentionSpan]) -> list[MentionSpan]:
    """Mentions as they are linked: by start, then by end."""
    return sorted(mentions, key=lambda m: (m.span.start_char, m.span.end_char))


def _prompt_group(mention: MentionSpan) -> str:
    # As in LongBEL's training data; a longer list says no more than the mention's own label.
    return JOINT.join(mention.groups) if len(mention.groups) <= 3 else mention.span.label_


def _sentences(
    doc: Doc, passages: tuple[Passage, ...], mentions: list[MentionSpan]
) -> tuple[tuple[int, int], ...]:
    """Sentence spans without surrounding whitespace; no boundary lies inside a mention."""
    if not len(doc):
        return ()
    starts = sentence_starts(doc) | {passage.start for passage in passages}
    inside = set()
    for mention in mentions:
        inside |= set(range(mention.span.start_char + 1, mention.span.end_char))
    whole = doc.text  # spaCy joins the tokens again each time it is asked
    bounds = [*sorted({0, *starts} - inside), len(whole)]
    sentences = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        text = whole[start:end]
        if text.strip():
            sentences.append((start + len(text) - len(text.lstrip()), start + len(text.rstrip())))
    return tuple(sentences)
