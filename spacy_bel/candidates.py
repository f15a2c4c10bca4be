"""Ranked candidates on a span, stored so that they survive every spaCy serialisation.

The store is ``doc.user_data[("._.", "kb_candidates", start_char, end_char)]``, the key that spaCy
itself shifts in ``Span.as_doc`` and ``Doc.from_docs``. Its value maps ``"label\\tspan id"`` to
three columns of plain strings and floats, so that two spans with the same boundaries keep their own
candidates, and msgpack, ``DocBin`` and other processes read them back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span

EXTENSION = "kb_candidates"


class Candidate(NamedTuple):
    """A concept proposed for a mention.

    code: identifier of the concept in the knowledge base.
    name: the alias that was matched or generated.
    score: higher is better; its scale is documented by the component that set it.
    """

    code: str
    name: str
    score: float


def get_candidates(span: Span) -> list[Candidate]:
    """Candidates of a span, best first; empty if no component has linked it.

    A span without label (``doc[3:5]``) reads the candidates of the only mention at its boundaries.
    """
    user_data: dict[Any, Any] = span.doc.user_data
    stored = user_data.get(_position(span), {})
    columns = stored.get(_identity(span))
    if columns is None and not span.label and len(stored) == 1:
        (columns,) = stored.values()
    if columns is None:
        return []
    codes, names, scores = columns
    return [Candidate(c, n, float(s)) for c, n, s in zip(codes, names, scores, strict=True)]


def set_candidates(span: Span, candidates: Iterable[Candidate]) -> None:
    """Store candidates on a span, best first, one entry per code.

    Raises ValueError if scores increase or a code occurs twice.
    """
    rows = [Candidate(*candidate) for candidate in candidates]
    if any(a.score < b.score for a, b in zip(rows, rows[1:], strict=False)):
        raise ValueError("Candidates must be ordered by score, best first: sort them by -score.")
    if len({row.code for row in rows}) != len(rows):
        raise ValueError("A code occurs twice among the candidates: keep its best entry only.")
    columns = [
        [str(row.code) for row in rows],
        [str(row.name) for row in rows],
        [float(row.score) for row in rows],
    ]
    # A new dict each time: the one in place may be shared with a copy of the document.
    user_data: dict[Any, Any] = span.doc.user_data
    user_data[_position(span)] = {**user_data.get(_position(span), {}), _identity(span): columns}


def nil_probability(span: Span) -> float:
    """The probability that a mention is none of its candidates: what their scores lack of one.

    It is as lasting as the candidates, and 1 for a mention without any. It has a meaning after
    `bel_setwise`, and after `bel_crossencoder` with its list-wise objective, if all candidates that
    were read were kept.
    """
    return min(1.0, max(0.0, 1 - fsum(candidate.score for candidate in get_candidates(span))))


def register_extension() -> None:
    """Make ``Span._.kb_candidates`` available; safe to call more than once."""
    from spacy.tokens import Span  # here, so that engines can use `Candidate` without spaCy

    if not Span.has_extension(EXTENSION):
        Span.set_extension(EXTENSION, getter=get_candidates, setter=set_candidates)


def has_candidates(doc: Doc) -> bool:
    """Whether any span of the document carries candidates."""
    return any(isinstance(key, tuple) and key[:2] == ("._.", EXTENSION) for key in doc.user_data)


def _position(span: Span) -> tuple[str, str, int, int]:
    return ("._.", EXTENSION, span.start_char, span.end_char)


def _identity(span: Span) -> str:
    return f"{span.label_}\t{span.id_}"
