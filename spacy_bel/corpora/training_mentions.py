"""Mentions of training documents as further names of the concepts that they stand for.

What annotators have linked before is then found again. Results are no longer those of the
terminology alone, so the knowledge base says in its name that this was done.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.flags import main_code
from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.expansion import expand_abbreviations, find_abbreviations
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.merging import merge
from spacy_bel.kb.text import clean, fold


@dataclass(slots=True)
class TrainingMentionsReport:
    """What became of the mentions of training documents.

    documents, mentions: how many were read.
    names: names added, to so many concepts; present: pairs of mention string and concept that the
        terminology had already.
    nil, unknown: mentions without code, or with codes that the knowledge base does not have.
    discontinuous: mentions in several pieces, left out, since no text has them in one piece.
    """

    documents: int = 0
    mentions: int = 0
    names: int = 0
    concepts: int = 0
    present: int = 0
    nil: int = 0
    unknown: int = 0
    discontinuous: int = 0


def add_training_mentions(
    kb: KnowledgeBase,
    documents: Iterable[CorpusDocument],
    *,
    report: TrainingMentionsReport | None = None,
) -> KnowledgeBase:
    """Make every mention of annotated documents a name of its gold concepts.

    documents: training documents. Never those on which results are reported.
    report: where to count what was done.

    A mention of several concepts becomes a name of each of them; of an abbreviation that its
    document defines the long form does, too, by which such mentions are looked up. Names that a
    concept has already, up to case and white space, are not added, and its own names stay first.
    The result counts how often each concept is mentioned (`KnowledgeBase.training_mentions`): where
    names are equally like a mention, retrieval puts the more frequent concept first. Its name is
    that of ``kb`` and "+ training mentions (… documents)".

    Raises KnowledgeBaseError if no mention has a code that ``kb`` knows.
    """
    report = TrainingMentionsReport() if report is None else report
    before = report.documents
    spellings: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    mentioned: Counter[str] = Counter()
    for document in documents:
        report.documents += 1
        long_forms = _long_forms(document)
        for number, annotation in enumerate(document.annotations):
            report.mentions += 1
            codes = _codes(kb, annotation, report)
            mentioned.update(codes)
            for name in filter(None, map(clean, (annotation.text, *long_forms[number]))):
                for code in codes:
                    spellings[code][fold(name)][name] += 1
    if not mentioned:
        raise KnowledgeBaseError(
            f"None of the {report.mentions:,} mentions of the training documents has a code that "
            f"{kb.meta.name!r} knows: check with `bel corpus check` that they fit each other."
        )
    names = f"{kb.meta.name} + training mentions ({report.documents - before:,} documents)"
    builder, merged = merge(kb, _additions(kb, spellings, report), name=names)
    builder.training_mentions.update(mentioned)
    report.names += merged.names
    report.concepts += merged.concepts
    return builder.build()


def _long_forms(document: CorpusDocument) -> list[list[str]]:
    """For each mention the long form that the document gives its abbreviation, if it has one."""
    spans = [(annotation.start, annotation.end) for annotation in document.annotations]
    abbreviations = find_abbreviations(document.text, spans)
    return [
        [long] if (long := expand_abbreviations(document.text[start:end], abbreviations)) else []
        for start, end in spans
    ]


def _codes(kb: KnowledgeBase, annotation: Annotation, report: TrainingMentionsReport) -> list[str]:
    """Main codes of a mention whose string is to become a name of them."""
    codes = (main_code(kb, code) for part in annotation.codes for code in part)
    known = list(dict.fromkeys(filter(None, codes)))
    if not annotation.codes:
        report.nil += 1
    elif annotation.fragments:
        report.discontinuous += 1
    elif not known:
        report.unknown += 1
    else:
        return known
    return []


def _additions(
    kb: KnowledgeBase,
    spellings: dict[str, dict[str, Counter[str]]],
    report: TrainingMentionsReport,
) -> Iterator[Concept]:
    """The names to add, of each concept the most frequent first, of a name its usual spelling."""
    for code in sorted(spellings):
        known = {fold(name) for name in kb[code].names}
        new = []
        for folded, variants in spellings[code].items():
            if folded in known:
                report.present += 1
            else:
                spelling = min(variants, key=lambda name: (-variants[name], name))
                new.append((-variants.total(), spelling))
        if new:
            yield Concept(code, tuple(name for _, name in sorted(new)), ())
