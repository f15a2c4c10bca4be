"""Sentences of a user's corpus that show how its texts are written."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.kb.concept import Concept
from spacy_bel.synthesis.prompt import one_line

#: Words of sentences that are shown; shorter ones are headings, longer ones tables and lists.
_WORDS = range(8, 41)

Groups = Callable[[str], Sequence[str] | None]
Split = Callable[[CorpusDocument], Iterable[tuple[int, int]]]


class StyleSentences:
    """Sentences with a mention, by its semantic group.

    sentences: by group. most: of them that a prompt shows. seed: of what is drawn.

    The same concept is always shown the same ones, so that its prompt stays the same.
    """

    def __init__(
        self, sentences: Mapping[str, Sequence[str]], *, most: int = 5, seed: int = 0
    ) -> None:
        self.sentences = {group: list(dict.fromkeys(texts)) for group, texts in sentences.items()}
        self.most, self.seed = most, seed

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[CorpusDocument],
        groups: Groups,
        split: Split,
        *,
        most: int = 5,
        seed: int = 0,
    ) -> StyleSentences:
        """Sentences of documents, without marks.

        documents: of training. groups: semantic groups of a mention's label, None to leave it
        alone. split: characters of the sentences of a document.
        """
        found: dict[str, list[str]] = {}
        for document in documents:
            for start, end in split(document):
                text = one_line(document.text[start:end])
                if len(text.split()) not in _WORDS:
                    continue
                inside = [a for a in document.annotations if start <= a.start and a.end <= end]
                labels = dict.fromkeys(annotation.type for annotation in inside)
                for group in dict.fromkeys(g for label in labels for g in groups(label) or ()):
                    found.setdefault(group, []).append(text)
        return cls(found, most=most, seed=seed)

    def draw(self, concept: Concept) -> list[str]:
        """Sentences for the prompt of a concept, at most so many as are shown."""
        pool = [text for group in concept.groups for text in self.sentences.get(group, ())]
        pool = list(dict.fromkeys(pool))
        draw = random.Random(f"{self.seed} {concept.code}")
        return draw.sample(pool, min(self.most, len(pool)))
