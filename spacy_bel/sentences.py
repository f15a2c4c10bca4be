"""Where the sentences of a document begin, whether or not a component has marked them."""

from __future__ import annotations

from spacy.pipeline import Sentencizer
from spacy.tokens import Doc

_SENTENCIZER = Sentencizer()


def sentence_starts(doc: Doc) -> set[int]:
    """Character offsets of sentences: of the document's own, otherwise of spaCy's rule-based ones.

    Empty for an empty document.
    """
    if not len(doc):
        return set()
    if doc.has_annotation("SENT_START"):
        return {sentence.start_char for sentence in doc.sents}
    (flags,) = _SENTENCIZER.predict([doc])
    return {token.idx for token, flag in zip(doc, flags, strict=True) if flag}
