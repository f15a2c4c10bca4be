"""Gold codes of the mentions of a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spacy.tokens import Doc, Span

from spacy_bel.corpora.document import code_string, parse_code_string

Codes = list[list[str]]


def gold_codes(doc: Doc, mentions: Iterable[Span]) -> Iterator[tuple[Span, Codes]]:
    """Mentions of which somebody has said what they stand for, with their codes (AND of ORs).

    These are all codes of ``doc.user_data["gold_mentions"]`` where a corpus reader has left them
    there, otherwise those of `kb_id_`; "NIL" and the like give an empty list. Mentions whose
    `kb_id_` is empty are not annotated and left out.
    """
    full: dict[tuple[int, int, str], Codes] = {
        (start, end, label): [list(part) for part in codes]
        for start, end, label, codes in doc.user_data.get("gold_mentions", ())
    }
    for span in mentions:
        place = (span.start_char, span.end_char)
        codes = full.get((*place, span.label_), full.get((*place, "")))
        # Codes that were changed since are left alone.
        if codes is not None and code_string(codes) == span.kb_id_:
            yield span, codes
        elif span.kb_id_:
            yield span, parse_code_string(span.kb_id_)
