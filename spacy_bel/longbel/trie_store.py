"""Tries of names, built once for each knowledge base and way of writing names, then opened."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from ..errors import FingerprintMismatchError, KnowledgeBaseError
from ..kb import KnowledgeBase
from ..kb.default import cache_directory
from .models.base import tokenizer_fingerprint
from .name_trie import NameTrie
from .tokenization import PromptTokenizer

logger = logging.getLogger(__name__)


def open_name_trie(
    kb: KnowledgeBase, tokenizer: PromptTokenizer, stored: Path | None = None
) -> NameTrie:
    """The names of a knowledge base as a tokenizer writes them; from the cache if they are there.

    stored: directory of a trie that comes before the cache, if it was written by the same tokenizer
    and for the same kind of prompt. Where the cache cannot be written, the trie is kept in memory.
    Raises FingerprintMismatchError if the one that is stored has the names of another knowledge
    base.
    """
    if stored is not None and NameTrie.is_written_by(stored, tokenizer):
        return NameTrie.from_disk(stored, kb, tokenizer)
    # In-memory knowledge bases are small and short-lived: not worth a place in the cache.
    if kb.path is None:
        return NameTrie.build(kb, tokenizer)
    written = hashlib.sha256(tokenizer.name_format.encode()).hexdigest()
    made_from = (kb.fingerprint, tokenizer_fingerprint(tokenizer.tokenizer), written)
    cached = cache_directory() / "token_tries" / "-".join(each[:16] for each in made_from)
    try:
        if cached.is_dir():
            return NameTrie.from_disk(cached, kb, tokenizer)
    except (KnowledgeBaseError, FingerprintMismatchError) as error:
        logger.warning("The cached token trie is built again: %s", error)
    trie = NameTrie.build(kb, tokenizer, _progress(kb.n_names))
    try:
        trie.to_disk(cached, tokenizer)
        # By memory map it takes next to nothing of this process.
        return NameTrie.from_disk(cached, kb, tokenizer)
    except (OSError, KnowledgeBaseError, FingerprintMismatchError) as error:
        logger.info("The token trie was not cached: %s", error)
    return trie


def _progress(total: int) -> Callable[[Iterable[str]], Iterable[str]]:
    return lambda names: tqdm(names, "Tokenizing names", total, unit="name", disable=None)
