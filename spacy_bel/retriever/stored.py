"""What the metadata of a stored index says, and whether it fits what it is opened for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spacy_bel.disk import explains_full_disk
from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError
from spacy_bel.kb import storage
from spacy_bel.kb.knowledge_base import KnowledgeBase

#: What to do about an index that does not fit.
REBUILD = "build it again (Retriever.build, or build_index of bel_retriever)"


def made_from(kind: str, kb: KnowledgeBase, **settings: Any) -> dict[str, Any]:
    """Metadata of an index: what it is, the knowledge base and the settings it was made with."""
    return {"kind": kind, "kb_name": kb.meta.name, "kb_fingerprint": kb.fingerprint, **settings}


def described(meta: Mapping[str, Any], columns: storage.Columns) -> dict[str, Any]:
    """Metadata with the digests of the files that columns are written as."""
    files = storage.describe(columns)
    return {
        **meta,
        "format_version": storage.FORMAT_VERSION,
        "files": files,
        "fingerprint": storage.fingerprint(files, []),
    }


def write_index(
    path: str | Path, meta: Mapping[str, Any], columns: storage.Columns, *, force: bool = False
) -> None:
    """Write the directory of an index; ``force`` replaces one that is there.

    Raises KnowledgeBaseError if ``path`` exists and is not to be replaced, NoSpaceError if the disk
    is full.
    """
    path = Path(path).absolute()
    with explains_full_disk(path):
        storage.write_directory(path, meta, columns, force=force)


def open_index(
    path: str | Path, kind: str, *, inside: str = "", verify: bool | None = None
) -> tuple[dict[str, Any], storage.Columns]:
    """Map the files of an index, or of a folder ``inside`` it; see `storage.open_directory`.

    Raises KnowledgeBaseError if they are missing or damaged, or of another retriever.
    """
    path = Path(path).resolve()
    if path.is_dir() and not (path / inside / storage.META).is_file():
        raise KnowledgeBaseError(
            f"{path} holds no {kind}: it is of another retriever, or damaged. Use the retriever "
            f"that made it, or {REBUILD}."
        )
    return storage.open_directory(path / inside, verify=verify)


def check_made_from(meta: Mapping[str, Any], kind: str, kb: KnowledgeBase) -> None:
    """Raise KnowledgeBaseError for another kind, FingerprintMismatchError for another terminology.

    kind: as given to `made_from`. kb: the knowledge base that is to be searched.
    """
    if meta.get("kind") != kind:
        raise KnowledgeBaseError(
            f"This is no {kind}, but {meta.get('kind', 'a knowledge base')!r}: give what to_disk "
            f"of such an index wrote, or {REBUILD}."
        )
    if meta["kb_fingerprint"] != kb.fingerprint:
        raise FingerprintMismatchError(
            f"The {kind} was made from another knowledge base ({meta['kb_name']!r}) than "
            f"{kb.meta.name!r} (release {kb.release or 'not known'}): {REBUILD}."
        )


def check_setting(kind: str, name: str, stored: Any, wanted: Any) -> None:
    """Raise FingerprintMismatchError if an index was made with another value of a setting."""
    if stored != wanted:
        raise FingerprintMismatchError(
            f"The {kind} was made with {name} {stored!r}, not {wanted!r}: use that setting, or "
            f"{REBUILD}."
        )
