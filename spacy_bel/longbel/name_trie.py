"""The names of a knowledge base as a model's tokenizer writes them, ready for decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import FingerprintMismatchError, KnowledgeBaseError
from ..kb import KnowledgeBase, storage
from ..kb.name_groups import concepts_within, name_group_masks
from ..kb.token_trie import IntArray, MaskArray, TokenTrie
from .answers import GeneratedName
from .best_first import longest_below
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

    kb: the knowledge base; sequence i of the trie is its name i. tokenizer: wrote the names.
    end_token, name_format: its own, see `PromptTokenizer`.
    """

    def __init__(self, kb: KnowledgeBase, trie: TokenTrie, tokenizer: PromptTokenizer) -> None:
        self.kb = kb
        self.trie = trie
        self.end_token = tokenizer.end_token
        self.name_format = tokenizer.name_format

    @classmethod
    def build(
        cls,
        kb: KnowledgeBase,
        tokenizer: PromptTokenizer,
        progress: Callable[[Iterable[str]], Iterable[str]] = iter,
    ) -> NameTrie:
        """Tokenize every name. progress: wraps the iteration over names."""
        tokens, offsets = tokenizer.name_sequences(progress(kb.names()))
        trie = TokenTrie.build(tokens, offsets, name_group_masks(kb))
        return cls(kb, trie, tokenizer)

    def to_disk(self, path: str | Path, tokenizer: PromptTokenizer) -> None:
        """Write to a directory, with the fingerprints of what it was made from."""
        columns = storage.Columns({name: getattr(self.trie, name) for name in _ARRAYS}, {})
        files = storage.describe(columns)
        meta = {
            "format_version": storage.FORMAT_VERSION,
            "files": files,
            "groups": {},
            "fingerprint": storage.fingerprint(files, []),
            "depth": self.trie.depth,
            **_made_from(self.kb, tokenizer),
        }
        storage.write_directory(Path(path), meta, columns, force=Path(path).exists())

    @classmethod
    def from_disk(cls, path: str | Path, kb: KnowledgeBase, tokenizer: PromptTokenizer) -> NameTrie:
        """Open by memory map.

        Raises FingerprintMismatchError if it was made from another knowledge base or tokenizer,
        KnowledgeBaseError if a file is missing or damaged.
        """
        meta, columns = storage.open_directory(Path(path), verify=None)
        for key, expected in _made_from(kb, tokenizer).items():
            if meta.get(key) != expected:
                raise FingerprintMismatchError(
                    f"The token trie in '{path}' was made from another "
                    f"{key.removesuffix('_fingerprint').replace('_', ' ')}. {_REBUILD}"
                )
        if not columns.arrays.keys() >= set(_ARRAYS):
            raise KnowledgeBaseError(f"'{path}' is no token trie. {_REBUILD}")
        trie = TokenTrie(**{name: columns.arrays[name] for name in _ARRAYS}, depth=meta["depth"])
        return cls(kb, trie, tokenizer)

    @staticmethod
    def is_written_by(path: str | Path, tokenizer: PromptTokenizer) -> bool:
        """Whether the names in a directory are as a tokenizer writes them behind its prompt.

        Raises KnowledgeBaseError if there is no whole trie.
        """
        meta, _ = storage.open_directory(Path(path), verify=None)
        return all(meta.get(key) == value for key, value in _written_by(tokenizer).items())

    @cached_property
    def longest_below(self) -> IntArray:
        """Tokens of the longest name beyond each node."""
        return longest_below(self.trie)

    def generated(
        self, hypothesis: Hypothesis, group_mask: MaskArray, tokenizer: PromptTokenizer
    ) -> GeneratedName:
        """What a hypothesis may mean within some groups.

        A name that several concepts bear means all of them. What was generated freely means what is
        called so; nothing if no concept is.
        """
        nodes: Iterable[int] = hypothesis.nodes
        if not nodes:
            # As the tokenizer would write the names, whichever way the model took.
            names = tokenizer.generated_names(hypothesis.tokens)
            nodes = map(self.trie.find, tokenizer.split_sequences(names))
        parts = [
            [
                (int(concept), self.kb.name(name))
                for name in map(int, self.trie.sequences_at(node))
                for concept in concepts_within(self.kb, name, group_mask)
            ]
            for node in nodes
        ]
        return GeneratedName(parts, hypothesis.log_probability, hypothesis.log_score)


def _made_from(kb: KnowledgeBase, tokenizer: PromptTokenizer) -> dict[str, Any]:
    return {"knowledge_base_fingerprint": kb.fingerprint, **_written_by(tokenizer)}


def _written_by(tokenizer: PromptTokenizer) -> dict[str, Any]:
    return {
        "tokenizer_fingerprint": tokenizer_fingerprint(tokenizer.tokenizer),
        "name_format": tokenizer.name_format,
    }
