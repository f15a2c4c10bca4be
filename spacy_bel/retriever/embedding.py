"""Embedding all names of a terminology, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from spacy_bel.disk import is_full
from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError, NoSpaceError
from spacy_bel.kb import storage
from spacy_bel.retriever.embedding_plan import EmbeddingPlan
from spacy_bel.retriever.encoder import Encoder, check_finite
from spacy_bel.retriever.known_vectors import KnownVectors
from spacy_bel.retriever.name_table import NameTable
from spacy_bel.retriever.stored import described
from spacy_bel.retriever.vectors.matrix import HalfDtype, HalfMatrix, to_half

_KIND = "embeddings of names"
_VECTORS, _DIGESTS = "vectors", "digests"
_STATE, _JOURNAL, _LOCK = "state.json", "journal.txt", "lock"
#: At most so much work is lost when a run is stopped.
FLUSH_SECONDS = 10.0


@dataclass(frozen=True)
class EmbeddingKey:
    """What vectors were made from; all of it must agree for them to be used.

    arithmetic: the ``Encoder.dtype`` they were computed in.
    """

    kb: str
    encoder: str
    arithmetic: str
    dtype: HalfDtype
    folded: bool

    @classmethod
    def of(cls, names: NameTable, encoder: Encoder, dtype: HalfDtype) -> EmbeddingKey:
        """The key of all names of a table."""
        return cls(names.kb.fingerprint, encoder.fingerprint, encoder.dtype, dtype, names.folded)


def embed_names(
    names: NameTable,
    encoder: Encoder,
    directory: str | Path,
    *,
    dtype: HalfDtype = "float16",
    key: EmbeddingKey | None = None,
    progress: bool = False,
) -> HalfMatrix:
    """One vector for each name, in the order of the table; opened if the directory has them.

    Vectors of names that another terminology beside it has, from the same encoder, are taken from
    there: of a new release only the new names are embedded. The result is the same.

    Until all are there, they stand in ``<directory>.partial``, from which the next call goes on;
    the result does not depend on interruptions. Another process that wants the same waits.
    Raises FingerprintMismatchError if either directory belongs to another knowledge base, encoder
    or dtype; NoSpaceError if the disk is full; ModelError if the model gives NaN.
    """
    directory = Path(directory).absolute()
    key = key or EmbeddingKey.of(names, encoder, dtype)
    if directory.exists():
        return open_embeddings(directory, key)
    partial = directory.with_name(f"{directory.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    with _locked(partial / _LOCK):
        if directory.exists():  # another process was faster
            return open_embeddings(directory, key)
        partial.mkdir(parents=True, exist_ok=True)
        needed = len(names) * encoder.width * 2
        with _explain_full_disk(partial, needed):
            _embed(names, encoder, partial, key, _known(directory, key), progress)
            _finish(partial, directory, key)
    return open_embeddings(directory, key)


def open_embeddings(directory: Path, key: EmbeddingKey) -> HalfMatrix:
    """Map the vectors of a directory; raises FingerprintMismatchError if the key differs."""
    meta, columns = storage.open_directory(directory, verify=None)
    if meta.get("kind") != _KIND:
        raise KnowledgeBaseError(f"{directory} holds no {_KIND}: choose another directory.")
    _compare(meta.get("key"), key, directory)
    return HalfMatrix(columns.arrays[_VECTORS])


def _known(directory: Path, key: EmbeddingKey) -> KnownVectors:
    """What stands beside a directory and was made by the same encoder in the same way."""
    sources = []
    for other in sorted(directory.parent.iterdir()):
        try:
            meta, columns = storage.open_directory(other, verify=None)
        except KnowledgeBaseError:  # a run that is not finished, or something else
            continue
        made_from = meta.get("key") if meta.get("kind") == _KIND else None
        if made_from and all(
            made_from.get(name) == value
            for name, value in asdict(key).items()
            if name in ("encoder", "arithmetic", "dtype")
        ):
            sources.append((columns.arrays[_DIGESTS], columns.arrays[_VECTORS]))
    return KnownVectors(sources)


def _embed(
    names: NameTable,
    encoder: Encoder,
    partial: Path,
    key: EmbeddingKey,
    known: KnownVectors,
    progress: bool,
) -> None:
    state, journal, vectors = partial / _STATE, partial / _JOURNAL, partial / f"{_VECTORS}.npy"
    if state.is_file():
        _compare(json.loads(state.read_text(encoding="ascii")), key, partial)
    shape = (len(names), encoder.width)
    header = _header(shape, key.dtype)
    done = _done(journal)
    if not done:
        needed = len(header) + shape[0] * shape[1] * 2
        free = shutil.disk_usage(partial).free + _allocated(vectors)
        if free < needed:
            raise OSError(errno.ENOSPC, "too little space")
        with vectors.open("wb") as stream:
            stream.write(header)
            stream.truncate(needed)
        _write_synced(state, json.dumps(asdict(key)))
    plan = EmbeddingPlan(names, encoder)
    digests = plan.digests()
    np.save(partial / f"{_DIGESTS}.npy", plan.of_names(digests), allow_pickle=False)
    flushed = time.monotonic()
    # Rows are written, not stored into a memory map: on a full disk that would end the process.
    with (
        vectors.open("r+b", buffering=0) as stream,
        journal.open("a", encoding="ascii") as log,
        tqdm(
            total=len(plan.lengths),
            initial=done,
            desc="Embedding names",
            unit="name",
            disable=None if progress else True,
        ) as bar,
    ):
        for start, end in encoder.batches(plan.lengths):
            if end <= done:
                continue
            halves = np.empty((end - start, shape[1]), _stored(key.dtype))
            old, vectors_of_old = known.find(digests[start:end])
            if vectors_of_old:
                halves[old] = vectors_of_old
            if not old.all():
                items = start + np.flatnonzero(~old)
                tokens = plan.tokens(start, end)
                found = encoder.encode_tokens([tokens[item - start] for item in items.tolist()])
                check_finite(found, lambda i, items=items: plan.text(int(items[i])))  # type: ignore[misc]
                halves[~old] = to_half(found, key.dtype)
            for row, item in plan.rows(start, end):
                stream.seek(len(header) + row * halves.shape[1] * 2)
                stream.write(halves[item - start].tobytes())
            bar.update(end - start)
            if end == len(plan.lengths) or time.monotonic() - flushed > FLUSH_SECONDS:
                os.fsync(stream.fileno())  # before the journal says so
                log.write(f"{end}\n")
                log.flush()
                os.fsync(log.fileno())
                flushed = time.monotonic()


def _finish(partial: Path, directory: Path, key: EmbeddingKey) -> None:
    arrays = {
        name: np.load(partial / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in (_VECTORS, _DIGESTS)
    }
    meta = described({"kind": _KIND, "key": asdict(key)}, storage.Columns(arrays, {}))
    _write_synced(partial / storage.META, json.dumps(meta, indent=2, sort_keys=True) + "\n")
    partial.rename(directory)
    for name in (_STATE, _JOURNAL, _LOCK):  # only now, or hours of work could be lost here
        (directory / name).unlink(missing_ok=True)


def _compare(found: Any, key: EmbeddingKey, directory: Path) -> None:
    wanted = asdict(key)
    if found == wanted:
        return
    known = found if isinstance(found, dict) else {}
    differing = [name for name, value in wanted.items() if known.get(name) != value]
    raise FingerprintMismatchError(
        f"The vectors in {directory} were made with another {' and another '.join(differing)}: "
        "choose another directory, or delete this one."
    )


def _done(journal: Path) -> int:
    """How many items are certainly on disk: the last line that was written to its end."""
    if not journal.is_file():
        return 0
    lines = journal.read_text(encoding="ascii").split("\n")[:-1]
    return int(lines[-1]) if lines else 0


def _header(shape: tuple[int, int], dtype: HalfDtype) -> bytes:
    """The head of a .npy file; bfloat16 is stored as uint16."""
    stream = io.BytesIO()
    description = {"descr": _stored(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _stored(dtype: HalfDtype) -> np.dtype[Any]:
    """What 16-bit numbers are in a file."""
    return np.dtype(np.float16 if dtype == "float16" else np.uint16).newbyteorder("<")


def _allocated(file: Path) -> int:
    return file.stat().st_blocks * 512 if file.is_file() and hasattr(os, "pread") else 0


def _write_synced(file: Path, content: str) -> None:
    with file.open("w", encoding="ascii") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _explain_full_disk(partial: Path, needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise NoSpaceError(
            error.errno,
            f"The vectors need {needed / 1e6:,.0f} MB in {partial.parent}, where too little is "
            f"free. Make room and run this again: what is done stands in {partial.name} and is "
            "not computed twice.",
        ) from error


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Wait until no other process of this machine holds the file; no lock where there is none."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
