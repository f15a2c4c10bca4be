"""Gold mentions of corpora, as strings to learn from and as strings to find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.flags import main_code
from spacy_bel.expansion import expand
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.retriever.training.selection import DevelopmentMention


def training_mentions(
    kb: KnowledgeBase, documents: Iterable[CorpusDocument]
) -> Iterator[tuple[str, str]]:
    """Mentions with their main codes, abbreviations as the long forms that their documents give.

    Left out are mentions of several concepts or of none that the knowledge base has, and those in
    several pieces.
    """
    for document in documents:
        annotations = [a for a in document.annotations if not a.fragments]
        spans = [(a.start, a.end) for a in annotations]
        expanded = expand(document.text, spans, composites=False)
        for annotation, queries in zip(annotations, expanded, strict=True):
            codes = _main_codes(kb, annotation)
            if len(annotation.codes) == len(codes) == 1 and None not in codes:
                yield queries[0].text, str(codes.pop())


def development_mentions(
    kb: KnowledgeBase,
    documents: Iterable[CorpusDocument],
    label_groups: Mapping[str, str | Sequence[str]] | None = None,
) -> Iterator[DevelopmentMention]:
    """Mentions with a concept that the knowledge base has; one of several is enough.

    label_groups: semantic groups to look for each label in; all if None.
    """
    for document in documents:
        spans = [(a.start, a.end) for a in document.annotations]
        expanded = expand(document.text, spans)
        for annotation, queries in zip(document.annotations, expanded, strict=True):
            gold = frozenset(code for code in _main_codes(kb, annotation) if code)
            groups: str | Sequence[str] = kb.groups
            if label_groups is not None:
                groups = label_groups[annotation.type]
            mask = kb.group_mask([groups] if isinstance(groups, str) else groups)
            if gold:
                yield DevelopmentMention(queries, gold, mask)


def _main_codes(kb: KnowledgeBase, annotation: Annotation) -> set[str | None]:
    return {main_code(kb, code) for part in annotation.codes for code in part}
