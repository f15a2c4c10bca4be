"""What is special about gold mentions. Readers drop nothing; policies are for the evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.standoff import is_misplaced

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase

FLAGS = (
    "composite", "nil", "obsolete", "out_of_kb", "overlapping", "discontinuous", "misplaced"
)  # fmt: skip


def gold_flags(document: CorpusDocument, kb: KnowledgeBase | None = None) -> list[set[str]]:
    """For each annotation of a document, which of `FLAGS` are true of it.

    composite: more than one concept. nil: no concept. overlapping: shares characters with another
    mention. discontinuous: of several fragments. misplaced: the text at its offsets is another.
    With a knowledge base also obsolete, some code is, and out_of_kb: some part has no code that the
    knowledge base knows.
    """
    flags: list[set[str]] = [set() for _ in document.annotations]
    for annotation, found in zip(document.annotations, flags, strict=True):
        if len(annotation.codes) > 1:
            found.add("composite")
        if not annotation.codes:
            found.add("nil")
        if annotation.fragments:
            found.add("discontinuous")
        if is_misplaced(document, annotation):
            found.add("misplaced")
        if kb is not None:
            if any(not any(main_code(kb, code) for code in part) for part in annotation.codes):
                found.add("out_of_kb")
            if any(is_obsolete(kb, code) for part in annotation.codes for code in part):
                found.add("obsolete")
    for index in _overlapping(document):
        flags[index].add("overlapping")
    return flags


def main_code(kb: KnowledgeBase, code: str) -> str | None:
    """The code under which a knowledge base has a gold code; None if it has not.

    Corpora and terminologies differ in whether they write the vocabulary: "UMLS:C0004134" is also
    looked for as "C0004134".
    """
    found = kb.resolve(code)
    if found is None and ":" in code:
        found = kb.resolve(code.partition(":")[2])
    return found


def is_obsolete(kb: KnowledgeBase, code: str) -> bool:
    """Whether a knowledge base has replaced a gold code; alternative codes are not obsolete."""
    main = main_code(kb, code)
    if main is None:
        return False
    forms = {code, code.partition(":")[2]}
    return main not in forms and not forms & set(kb[main].alternative_codes)


def _overlapping(document: CorpusDocument) -> set[int]:
    order = sorted(
        range(len(document.annotations)),
        key=lambda i: (document.annotations[i].start, -document.annotations[i].end),
    )
    overlapping: set[int] = set()
    furthest, holder = -1, -1
    for index in order:
        annotation = document.annotations[index]
        if annotation.start < furthest:
            overlapping |= {index, holder}
        if annotation.end > furthest:
            furthest, holder = annotation.end, index
    return overlapping
