"""Which mentions and codes a system may know before it sees a test document."""

from __future__ import annotations

from collections.abc import Iterable

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.flags import main_code
from spacy_bel.evaluation.gold import GoldMention
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold


class Seen:
    """What a retriever may know from training documents and the names of a knowledge base."""

    def __init__(self, train: Iterable[CorpusDocument], kb: KnowledgeBase) -> None:
        self._kb = kb
        self._surfaces: set[str] = set()
        self._codes: set[str] = set()
        for document in train:
            for annotation in document.annotations:
                self._surfaces.add(fold(annotation.text))
                self._codes.update(
                    main_code(kb, code) or code for part in annotation.codes for code in part
                )

    def mention(self, surface: str) -> bool:
        """Whether a mention equals a training mention or a name, up to case and white space."""
        return fold(surface) in self._surfaces or self._kb.folded_id(surface) >= 0

    def code(self, mention: GoldMention) -> bool:
        """Whether any concept of a mention occurs in training; true of mentions without."""
        return not mention.parts or any(self._codes & part for part in mention.parts)
