"""spaCy's own `DocBin` files (``.spacy``)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.files import FREE_BYTES, MAX_RATIO, Source, open_bytes, source_name
from spacy_bel.corpora.jsonlines import OnError
from spacy_bel.errors import ReadError

if TYPE_CHECKING:
    from spacy.language import Language


def read_docbin(source: Source, *, on_error: OnError = None) -> Iterator[CorpusDocument]:
    """Read the documents of a DocBin; see `spacy_bel.corpora.docs.from_doc`.

    Raises ReadError if it is no DocBin, or damaged; there is no telling which document is.
    """
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    from spacy_bel.corpora.docs import from_doc

    name = source_name(source)
    try:
        with open_bytes(source) as stream:
            content = stream.read()
        _check_size(content)
        for number, doc in enumerate(DocBin().from_bytes(content).get_docs(Vocab()), 1):
            record = from_doc(doc)
            record.id = record.id or str(number)
            yield record
    except (MemoryError, ReadError):
        raise
    except Exception as error:  # whatever spaCy, msgpack and zlib make of damaged bytes
        raise ReadError(
            f"{name}: not a DocBin, or damaged ({type(error).__name__}: {error}). Write it with "
            "DocBin(store_user_data=True).to_disk."
        ) from error


def write_docbin(
    documents: Iterable[CorpusDocument],
    stream: IO[bytes],
    nlp: Language,
    *,
    sentences: bool = False,
) -> None:
    """Write documents, tokenised by a pipeline, with their gold codes and everything else.

    sentences: also mark sentences, see `spacy_bel.corpora.docs.split_sentences`.
    """
    from spacy.tokens import DocBin

    from spacy_bel.corpora.docs import split_sentences, to_doc

    # ENT_KB_ID and spans are kept by default; user data holds what spans cannot say.
    docs = DocBin(store_user_data=True)
    for document in documents:
        try:
            doc = to_doc(document, nlp)
            if sentences:
                split_sentences(doc)
            docs.add(doc)
        except (ValueError, OverflowError, TypeError) as error:
            raise ReadError(
                f"Document {document.id} cannot be stored in a DocBin ({error}): leave it out."
            ) from error
    stream.write(docs.to_bytes())


def _check_size(content: bytes) -> None:
    """Raise ValueError at bytes that would unpack to far more than a corpus does."""
    most = max(FREE_BYTES, MAX_RATIO * len(content))
    unpacker, size = zlib.decompressobj(), 0
    while content and size <= most:
        size += len(unpacker.decompress(content, 1 << 20))
        content = unpacker.unconsumed_tail
    if size > most:
        raise ValueError(f"unpacks to more than {MAX_RATIO} times its size")
