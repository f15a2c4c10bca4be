"""Short ways of writing documents with gold codes or ranked links."""

from spacy_bel.candidates import Candidate
from spacy_bel.corpora.document import Annotation, CorpusDocument, parse_code_string
from spacy_bel.kb import Concept, KnowledgeBaseBuilder

TEXT = "ataxia with tremor and seizure then cough fever rash"


def place(words):
    """Offsets of the only occurrence of some words in the text."""
    start = TEXT.index(words)
    return start, start + len(words)


def gold(words, codes, label="P", fragments=()):
    """A gold mention; codes as a string "A+B", or as AND of ORs."""
    parts = parse_code_string(codes) if isinstance(codes, str) else codes
    return Annotation(*place(words), words, label, parts, list(fragments))


def ranked(words, *codes, label="P", decision=None, fragments=()):
    """A predicted mention with ranked codes."""
    links = [Candidate(code, code.lower(), -float(rank)) for rank, code in enumerate(codes)]
    meta = {} if decision is None else {"code": decision}
    return Annotation(*place(words), words, label, [], list(fragments), "", links, meta)


def document(*annotations, id="1"):
    return CorpusDocument(id, TEXT, annotations=list(annotations))


def knowledge_base():
    """A and B of group P, C of group D; ALT stands for A, OLD was replaced by B."""
    builder = KnowledgeBaseBuilder("test")
    builder.add(Concept("A", ("ataxia",), ("P",), alternative_codes=("ALT",)))
    builder.add(Concept("B", ("tremor",), ("P",)))
    builder.add(Concept("C", ("cough",), ("D",)))
    builder.retire("OLD", replaced_by="B")
    return builder.build()
