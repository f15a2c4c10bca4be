"""The names of a knowledge base as a model's tokenizer writes them, ready for decoding."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..candidates import Candidate
from ..errors import FingerprintMismatchError, KnowledgeBaseError
from ..kb import KnowledgeBase, storage
from ..kb.token_trie import MaskArray, TokenTrie
from ..ranking import ScoredName, rank
from .models.base import tokenizer_fingerprint
from .search import Hypothesis
from .tokenization import PromptTokenizer

_ARRAYS = (
    "first_edge",
    "edge_tokens",
    "edge_sets",
    "group_sets",
    "end_nodes",
    "first_end",
    "end_sequences",
)
_REBUILD = "Delete it: it is built again from the knowledge base and the model."


class NameTrie:
    """A token trie whose sequences are the names of a knowledge base.

    kb: the knowledge base; sequence i of the trie is its name i. end_token: token that ends names.
    """

    def __init__(self, kb: KnowledgeBase, trie: TokenTrie, end_token: int) -> None:
        self.kb = kb
        self.trie = trie
        self.end_token = end_token

    @classmethod
    def build(
        cls,
        kb: KnowledgeBase,
        tokenizer: PromptTokenizer,
        progress: Callable[[Iterable[str]], Iterable[str]] = iter,
    ) -> NameTrie:
        """Tokenize every name. progress: wraps the iteration over names."""
        tokens, offsets = tokenizer.name_sequences(progress(kb.names()))
        by_name = np.argsort(kb.alias_names, kind="stable")
        first = np.flatnonzero(np.diff(kb.alias_names[by_name], prepend=-1))
        masks = np.bitwise_or.reduceat(kb.concept_group_masks[kb.alias_concepts[by_name]], first)
        return cls(kb, TokenTrie.build(tokens, offsets, masks), tokenizer.end_token)

    def to_disk(self, path: str | Path, tokenizer: Any) -> None:
        """Write to a directory, with the fingerprints of what it was made from."""
        columns = storage.Columns({name: getattr(self.trie, name) for name in _ARRAYS}, {})
        files = storage.describe(columns)
        meta = {
            "format_version": storage.FORMAT_VERSION,
            "files": files,
            "groups": {},
            "fingerprint": storage.fingerprint(files, []),
            "depth": self.trie.depth,
            **_made_from(self.kb, tokenizer, self.end_token),
        }
        storage.write_directory(Path(path), meta, columns, force=Path(path).exists())

    @classmethod
    def from_disk(
        cls, path: str | Path, kb: KnowledgeBase, tokenizer: Any, end_token: int
    ) -> NameTrie:
        """Open by memory map.

        Raises FingerprintMismatchError if it was made from another knowledge base or tokenizer,
        KnowledgeBaseError if a file is missing or damaged.
        """
        meta, columns = storage.open_directory(Path(path), verify=None)
        for key, expected in _made_from(kb, tokenizer, end_token).items():
            if meta.get(key) != expected:
                raise FingerprintMismatchError(
                    f"The token trie in '{path}' was made from another "
                    f"{key.removesuffix('_fingerprint').replace('_', ' ')}. {_REBUILD}"
                )
        if not columns.arrays.keys() >= set(_ARRAYS):
            raise KnowledgeBaseError(f"'{path}' is no token trie. {_REBUILD}")
        trie = TokenTrie(**{name: columns.arrays[name] for name in _ARRAYS}, depth=meta["depth"])
        return cls(kb, trie, end_token)

    def candidates(
        self,
        mention: str,
        hypotheses: Sequence[Hypothesis],
        group_mask: MaskArray,
        linked: Container[str] = frozenset(),
    ) -> list[Candidate]:
        """Concepts of the generated names, best first, one entry per code (its best name).

        A name that several concepts bear gives all of them within the groups; those of `linked`,
        the codes of the document's earlier links, come first among equals.
        """
        scored = []
        for hypothesis in hypotheses:
            for name_id in map(int, self.trie.sequences_at(hypothesis.nodes[-1])):
                name = self.kb.name(name_id)
                for concept_id in map(int, self.kb.concepts_of_name(name_id)):
                    if (self.kb.concept_group_masks[concept_id] & group_mask).any():
                        scored.append(ScoredName(concept_id, name, hypothesis.score))
        return rank(self.kb, mention, scored, linked)


def _made_from(kb: KnowledgeBase, tokenizer: Any, end_token: int) -> dict[str, Any]:
    return {
        "knowledge_base_fingerprint": kb.fingerprint,
        "tokenizer_fingerprint": tokenizer_fingerprint(tokenizer),
        "end_token": end_token,
    }
