"""Records to files. A format is one function and one line of ``WRITERS``."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from spacy_bel.corpora.bigbio_writer import write_bigbio
from spacy_bel.corpora.bioc_writer import write_bioc
from spacy_bel.corpora.docbin import write_docbin
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.errors import ReadError

if TYPE_CHECKING:
    from spacy.language import Language

TEXT_WRITERS: dict[str, Callable[..., None]] = {"bioc": write_bioc, "bigbio": write_bigbio}
WRITERS = ("docbin", *TEXT_WRITERS)


def write_documents(
    documents: Iterable[CorpusDocument],
    stream: IO[bytes],
    format: str,
    nlp: Language | None = None,
) -> None:
    """Write records, as they come, to a binary stream.

    format: one of `WRITERS`.
    nlp: tokenises the texts of a DocBin; a blank English pipeline if None.

    Raises ReadError for an unknown format.
    """
    if format not in WRITERS:
        raise ReadError(f"Cannot write {format!r}: choose one of {', '.join(WRITERS)}.")
    if format == "docbin":
        write_docbin(documents, stream, nlp or _blank())
        return
    # Half of a surrogate pair, as JSON can hold it, is written as JSON escapes it.
    text = io.TextIOWrapper(
        cast(BinaryIO, stream), "utf-8", errors="backslashreplace", newline="\n"
    )
    try:
        TEXT_WRITERS[format](documents, text)
    finally:
        text.flush()
        text.detach()


def _blank() -> Any:
    import spacy

    return spacy.blank("en")
