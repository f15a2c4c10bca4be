"""The table of names of a released checkpoint as a knowledge base, built once and then opened."""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import KnowledgeBaseError, ReadError
from ..kb import Concept, KnowledgeBase, KnowledgeBaseBuilder
from ..kb.default import cache_directory
from ..kb.name_groups import restrict_names
from ..kb.packed import PackedStrings
from ..kb.readers.json_stream import nested_strings
from ..kb.storage import FORMAT_VERSION
from ..kb.text import clean
from ..kb.token_trie import IntArray
from .models.checkpoint import TABLE, released_name

log = logging.getLogger(__name__)

_BLOCK = 1 << 20


def released_kb(directory: str | Path) -> KnowledgeBase:
    """Names, codes and groups of a released checkpoint, from its ``text_to_code.json``.

    Codes are concepts, in all groups that list them; a concept bears a name in those groups only in
    which the table gives it that name. The first name of a code is its preferred one. Built into
    the cache directory on first use, under the digest of the table.

    Raises KnowledgeBaseError if the directory has no such table, ReadError, with file and line, if
    it is not {group: {name: code}} with codes as text.
    """
    path = Path(directory) / TABLE
    if not path.is_file():
        raise KnowledgeBaseError(
            f"The checkpoint '{directory}' has no {TABLE}, so the names that it may generate are "
            "not known. Copy that file from where the checkpoint comes from, or set kb to a "
            "knowledge base that `python -m spacy bel kb build` wrote."
        )
    target = cache_directory() / "kb" / f"released-{_digest(path)}"
    if target.exists():
        try:
            return KnowledgeBase.from_disk(target)
        except KnowledgeBaseError as error:
            log.warning("The cached names of the checkpoint are read again: %s", error)
    kb = read_released_table(path, name=released_name(directory), progress=True)
    try:
        kb.to_disk(target, force=target.exists())
    except OSError as error:
        log.info("The names of the checkpoint were not cached: %s", error)
        return kb
    except KnowledgeBaseError:
        if not target.exists():
            raise
        # Another process has built it meanwhile.
    return KnowledgeBase.from_disk(target)


def read_released_table(
    path: str | Path, *, name: str | None = None, progress: bool = False
) -> KnowledgeBase:
    """Read a table {group: {name: code}} into memory; see `released_kb`."""
    path = Path(path)
    names, groups = PackedStrings(), array("i")
    code_ids, code_of_row, group_ids = dict[str, int](), array("i"), dict[str, int]()
    for line, group, text, code in nested_strings(path, progress=progress):
        kind, name_text = clean(group), clean(text)
        clean_code = clean(code) if isinstance(code, str) else ""
        if not clean_code:
            raise ReadError(
                f"{path}, line {line}: the code of {text[:60]!r} is {code!r}; write codes as text, "
                "in quotes."
            )
        if not kind:
            raise ReadError(f"{path}, line {line}: a semantic group has no name; give it one.")
        if not name_text:
            raise ReadError(f"{path}, line {line}: an empty name has the code {code!r}; delete it.")
        names.append(name_text)
        groups.append(group_ids.setdefault(kind, len(group_ids)))
        code_of_row.append(code_ids.setdefault(clean_code, len(code_ids)))
    if not len(names):
        raise ReadError(
            f"{path} lists no name: copy it again from where the checkpoint comes from."
        )
    builder = KnowledgeBaseBuilder(name or path.parent.name, source=path.name)
    codes, group_names = list(code_ids), list(group_ids)
    del code_ids
    for code, rows in _rows_by_code(codes, code_of_row):
        builder.add(
            Concept(
                code=code,
                names=tuple(names[row] for row in rows),
                groups=tuple(dict.fromkeys(group_names[groups[row]] for row in rows)),
            )
        )
    kb = builder.build()
    del builder
    name_ids = np.fromiter(map(kb.name_id, names), np.int64, len(names))
    concepts = np.array([kb.concept_id(code) for code in codes])[np.frombuffer(code_of_row, "i")]
    bits = np.array([kb.groups.index(group) for group in group_names])[np.frombuffer(groups, "i")]
    _warn_of_shared_names(path, kb, name_ids, concepts, bits)
    return restrict_names(kb, name_ids, concepts, bits)


def _warn_of_shared_names(
    path: Path, kb: KnowledgeBase, name_ids: IntArray, concepts: IntArray, bits: IntArray
) -> None:
    """Tell of names that have several codes in one group: keys of JSON that differ in spaces."""
    pairs = np.unique(name_ids * len(kb.groups) + bits)
    triples = np.unique(np.stack([name_ids * len(kb.groups) + bits, concepts]), axis=1).shape[1]
    if shared := triples - len(pairs):
        log.warning(
            "%s: %d names have another code in the same group where white space at their ends is "
            "left aside. Each gives all of its codes.",
            path,
            shared,
        )


def _rows_by_code(codes: list[str], code_of_row: array[int]) -> Iterator[tuple[str, list[int]]]:
    """Codes in ascending order, each with the rows of its names in the order of the file."""
    ids = np.frombuffer(code_of_row, np.int32)
    order = np.argsort(ids, kind="stable")
    starts = np.searchsorted(ids[order], np.arange(len(codes) + 1))
    for code_id in sorted(range(len(codes)), key=codes.__getitem__):
        yield codes[code_id], order[starts[code_id] : starts[code_id + 1]].tolist()


def _digest(path: Path) -> str:
    digest = hashlib.sha256(f"format {FORMAT_VERSION}".encode())
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()[:16]
