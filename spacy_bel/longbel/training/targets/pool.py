"""Names of a concept that may be generated for a mention."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ....kb import KnowledgeBase
from ....kb.name_groups import concepts_within
from ...tokenization import PromptTokenizer


class NamePool:
    """Names of concepts within semantic groups, such as the trie of all names holds.

    kb: the knowledge base. tokenizer: if given, names whose tokens do not read as the name are left
    out, for want of characters in the vocabulary.
    """

    def __init__(self, kb: KnowledgeBase, tokenizer: PromptTokenizer | None = None) -> None:
        self.kb = kb
        self._tokenizer = tokenizer
        self._names: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._writable: dict[tuple[str, ...], tuple[str, ...]] = {}

    def names(self, code: str, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the concept of a main code in some groups, the preferred one first."""
        key = code, groups
        if key not in self._names:
            concept, mask = self.kb.concept_id(code), self.kb.group_mask(groups)
            self._names[key] = tuple(
                self.kb.name(name)
                for name in map(int, self.kb.names_of_concept(concept))
                if concept in concepts_within(self.kb, name, mask)
            )
        return self._names[key]

    def writable(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some names that survive tokenisation."""
        if self._tokenizer is None:
            return names
        if names not in self._writable:
            self._writable[names] = tuple(_surviving(names, self._tokenizer))
        return self._writable[names]


def _surviving(names: Sequence[str], tokenizer: PromptTokenizer) -> list[str]:
    survived = []
    for name, tokens in zip(names, tokenizer.split_sequences(names), strict=True):
        written = tokenizer.generated_names(tokens)
        if len(written) == 1 and _letters(written[0]) == _letters(tokenizer.prompt.name_text(name)):
            survived.append(name)
    return survived


def _letters(text: str) -> str:
    """What tokenizers keep that know neither case nor accents, or set words apart."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in plain if not c.isspace() and not unicodedata.combining(c))
