"""Readers of annotated corpora and plain texts, and the way from their records to `Doc`."""

from spacy_bel.corpora.bigbio import read_bigbio
from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.pubtator import read_pubtator
from spacy_bel.corpora.reading import read_documents
from spacy_bel.corpora.text import read_jsonl, read_plain_text

__all__ = [
    "Annotation",
    "CorpusDocument",
    "read_bigbio",
    "read_documents",
    "read_jsonl",
    "read_plain_text",
    "read_pubtator",
]
