"""The directory format of a knowledge base or index: ``meta.json``, numpy arrays, marisa tries.

Nothing here knows what the columns mean. Files are written and digested in sorted order without
timestamps, so equal content gives byte-identical directories.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
import srsly

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb.atomic import new_directory

FORMAT_VERSION = 1
META = "meta.json"
# Full digests are checked at opening up to this size; reading more would cost seconds.
VERIFY_BELOW_BYTES = 256 * 1024 * 1024
_BLOCK = 1 << 20
_REBUILD = "Rebuild it from its source."


@dataclass(slots=True)
class Columns:
    """The content of a directory: arrays and tries by name (file name without suffix)."""

    arrays: dict[str, np.ndarray]
    tries: dict[str, marisa_trie.Trie]

    def files(self) -> Iterator[tuple[str, Callable[[], Iterator[bytes | memoryview]]]]:
        """File names in sorted order, each with a function that gives its bytes block by block.

        Blocks of an array are views, so that writing takes no memory beside it.
        """
        parts: dict[str, Callable[[], Iterator[bytes | memoryview]]] = {}
        for name, array in self.arrays.items():
            parts[f"{name}.npy"] = partial(_array_blocks, array)
        for name, trie in self.tries.items():
            parts[f"{name}.marisa"] = partial(_trie_blocks, trie)
        yield from sorted(parts.items())


def describe(columns: Columns) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file the columns are written as."""
    entries = {}
    for name, blocks in columns.files():
        sha256, size = hashlib.sha256(), 0
        for block in blocks():
            sha256.update(block)
            size += len(block)
        entries[name] = {"size": size, "sha256": sha256.hexdigest()}
    return entries


def fingerprint(files: Mapping[str, Mapping[str, Any]], groups: list[str]) -> str:
    """The sha256 of all content: the digests of the files in sorted order, then the group names."""
    digests = [[name, files[name]["sha256"]] for name in sorted(files)]
    payload = json.dumps([FORMAT_VERSION, digests, groups], ensure_ascii=True)
    return hashlib.sha256(payload.encode("ascii")).hexdigest()


def write_directory(
    path: Path, meta: Mapping[str, Any], columns: Columns, *, force: bool = False
) -> None:
    """Write all files beside ``path`` and rename them into place.

    Raises KnowledgeBaseError if ``path`` exists, unless ``force`` and it was written by this.
    """
    # force replaces a knowledge base, never somebody's home directory.
    if force and path.exists() and not (path / META).is_file():
        raise KnowledgeBaseError(f"{path} has no {META}, it is not replaced: choose another path.")
    try:
        with new_directory(path, force=force) as temporary:
            for name, blocks in columns.files():
                with (temporary / name).open("wb") as stream:
                    stream.writelines(blocks())
            (temporary / META).write_bytes(_meta_bytes(meta))
    except FileExistsError as error:
        raise KnowledgeBaseError(
            f"{path} exists already: choose another path or pass force=True."
        ) from error


def open_directory(path: Path, *, verify: bool | None) -> tuple[dict[str, Any], Columns]:
    """Memory-map the files of a directory after checking them against ``meta.json``.

    verify: True compares every sha256, False only sizes, None digests if they are quick to take.
    """
    if not path.is_dir():
        raise KnowledgeBaseError(
            f"There is no directory {path}: give the directory that a build wrote, or build it."
        )
    try:
        meta = _read_meta((path / META).read_bytes())
    except OSError as error:
        raise KnowledgeBaseError(
            f"{path / META} cannot be read, so {path} cannot be used. {_REBUILD}"
        ) from error
    total = sum(int(entry["size"]) for entry in meta["files"].values())
    digests = verify or (verify is None and total <= VERIFY_BELOW_BYTES)
    for name, entry in meta["files"].items():
        _check_file(path / name, entry, digest=digests)
    columns = Columns({}, {})
    for name in meta["files"]:
        file = path / name
        try:
            if file.suffix == ".npy":
                columns.arrays[file.stem] = np.load(file, mmap_mode="r", allow_pickle=False)
            else:
                columns.tries[file.stem] = marisa_trie.Trie().mmap(str(file))
        except (OSError, ValueError, RuntimeError) as error:
            raise KnowledgeBaseError(f"{file} is damaged ({error}). {_REBUILD}") from error
    return meta, columns


def to_bytes(meta: Mapping[str, Any], columns: Columns) -> bytes:
    """The directory as one msgpack message."""
    files = {name: b"".join(blocks()) for name, blocks in columns.files()}
    return srsly.msgpack_dumps({META: _meta_bytes(meta), **files})


def from_bytes(data: bytes) -> tuple[dict[str, Any], Columns]:
    """Read what ``to_bytes`` gave; every digest is checked."""
    try:
        message = srsly.msgpack_loads(data)
        meta = _read_meta(message[META])
    except KnowledgeBaseError:
        raise
    except Exception as error:  # msgpack raises a different class for each kind of damage
        raise KnowledgeBaseError(f"These bytes cannot be read. {_REBUILD}") from error
    columns = Columns({}, {})
    for name, entry in meta["files"].items():
        content = message.get(name)
        if content is None or hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise KnowledgeBaseError(f"{name} is missing or damaged in these bytes. {_REBUILD}")
        stem, suffix = name.rsplit(".", 1)
        if suffix == "npy":
            columns.arrays[stem] = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            columns.tries[stem] = marisa_trie.Trie().frombytes(content)
    return meta, columns


def _array_blocks(array: np.ndarray) -> Iterator[bytes | memoryview]:
    array = np.ascontiguousarray(array)
    yield _npy_header(array)
    content = memoryview(array.reshape(-1).view(np.uint8).data)
    for start in range(0, len(content), _BLOCK):
        yield content[start : start + _BLOCK]


def _npy_header(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    description = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _trie_blocks(trie: marisa_trie.Trie) -> Iterator[bytes]:
    yield trie.tobytes()


def _meta_bytes(meta: Mapping[str, Any]) -> bytes:
    return (json.dumps(meta, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def _read_meta(data: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(data)
        version = meta["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise KnowledgeBaseError(f"{META} is damaged ({error}). {_REBUILD}") from error
    if version != FORMAT_VERSION:
        raise KnowledgeBaseError(
            f"{META} has format version {version}, this version of spacy-bel reads "
            f"{FORMAT_VERSION}. {_REBUILD}"
        )
    try:
        for name, entry in meta["files"].items():
            # Names come from a file: they must not lead out of the directory.
            if Path(name).name != name or not name.endswith((".npy", ".marisa")):
                raise ValueError(f"unexpected file name {name!r}")
            int(entry["size"]), str(entry["sha256"])
        intact = meta["fingerprint"] == fingerprint(meta["files"], list(meta.get("groups", ())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KnowledgeBaseError(f"{META} is damaged ({error}). {_REBUILD}") from error
    if not intact:
        raise KnowledgeBaseError(f"{META} does not match its fingerprint. {_REBUILD}")
    return meta


def _check_file(file: Path, entry: Mapping[str, Any], *, digest: bool) -> None:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise KnowledgeBaseError(f"{file} is missing. {_REBUILD}") from error
    if size != entry["size"]:
        raise KnowledgeBaseError(
            f"{file} has {size} bytes instead of {entry['size']}: it is damaged. {_REBUILD}"
        )
    if digest:
        sha256 = hashlib.sha256()
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                sha256.update(block)
        if sha256.hexdigest() != entry["sha256"]:
            raise KnowledgeBaseError(f"{file} was altered: its sha256 differs. {_REBUILD}")
