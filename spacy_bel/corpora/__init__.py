"""Readers and writers of annotated corpora, and the way from their records to `Doc` and back."""

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.flags import gold_flags
from spacy_bel.corpora.reading import FORMATS, infer_format, read_documents
from spacy_bel.corpora.writing import WRITERS, write_documents

__all__ = [
    "FORMATS",
    "WRITERS",
    "Annotation",
    "CorpusDocument",
    "gold_flags",
    "infer_format",
    "read_documents",
    "write_documents",
]
