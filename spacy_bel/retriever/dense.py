"""Candidates by a bi-encoder: concepts whose names have the vectors nearest to the mention's."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacy_bel.default import default_encoder_directory
from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb import storage
from spacy_bel.kb.default import cache_directory
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.retriever.dense_index import ARRAYS, ENCODER, KIND, DenseIndex
from spacy_bel.retriever.index import Retriever
from spacy_bel.retriever.name_table import NameTable
from spacy_bel.retriever.stored import (
    check_made_from,
    check_setting,
    described,
    made_from,
    open_index,
    write_index,
)

# torch and transformers are imported when a model is needed: these settings are made by every
# pipeline that names them.
if TYPE_CHECKING:
    from spacy_bel.retriever.embedding import EmbeddingKey
    from spacy_bel.retriever.encoder import Dtype, Encoder
    from spacy_bel.retriever.presets import Pooling
    from spacy_bel.retriever.vectors import HalfDtype, HalfMatrix, IndexKind, VectorIndex


@dataclass(frozen=True)
class DenseRetriever(Retriever):
    """Finds names by a bi-encoder: mention and name each become a vector.

    model: a directory with an encoder of transformers or sentence-transformers, or a hub id;
        all-MiniLM-L6-v2 of the extra "default-model" if None.
    preset: how published encoders are meant to be used, a name of ``presets.PRESETS``; None as
        ``Encoder.from_pretrained`` says.
    pooling, normalize, max_length, lower_case: settings that differ from the preset's; None to
        keep it.
    index: "exact" compares all names; "int8" does with half the memory and the same result;
        "faiss-flat", "faiss-hnsw", "faiss-ivfpq" need the extra "faiss", and the last two miss
        some names.
    dtype: how the vectors of names are stored, "float16" or "bfloat16"; the latter is searched
        faster where the processor multiplies it, the former is finer.
    arithmetic: what the encoder computes in, "float32" or "bfloat16", which some processors do
        twice as fast at a cosine of about 0.9999.
    device: of the encoder; the best available if None.
    directory: where the vectors of a terminology are kept and an interrupted run is resumed; a
        folder for each terminology and encoder under the cache directory if None.
    """

    model: str | None = None
    preset: str | None = None
    pooling: Pooling | None = None
    normalize: bool | None = None
    max_length: int | None = None
    lower_case: bool | None = None
    index: IndexKind = "exact"
    dtype: HalfDtype = "float16"
    arithmetic: Dtype = "float32"
    device: str | None = None
    directory: str | None = None

    def build(self, kb: KnowledgeBase, *, progress: bool = False) -> DenseIndex:
        """Embed all names, or open what an earlier call embedded, and index the vectors."""
        from spacy_bel.retriever.embedding import EmbeddingKey, embed_names
        from spacy_bel.retriever.vectors import check_kind

        check_kind(self.index)  # before hours of embedding
        encoder = self.load_encoder()
        names = NameTable(kb, folded=encoder.ignores_case)
        key = EmbeddingKey.of(names, encoder, self.dtype)
        directory = Path(self.directory) if self.directory else _cached(key)
        matrix = embed_names(
            names, encoder, directory, dtype=self.dtype, key=key, progress=progress
        )
        meta = made_from(
            KIND,
            kb,
            encoder_fingerprint=key.encoder,
            folded=names.folded,
            index=self.index,
            dtype=self.dtype,
        )
        vectors = _index_beside(directory, matrix, self.index)
        index = DenseIndex(kb, encoder, names, vectors, meta)
        index.reopen = (_build, (self, kb))
        return index

    def load_encoder(self, path: str | Path | None = None) -> Encoder:
        """The encoder; ``path`` is a copy of it that takes the place of ``model``."""
        from spacy_bel.retriever.encoder import Encoder

        if path is not None:
            return Encoder.from_pretrained(path, device=self.device, dtype=self.arithmetic)
        return Encoder.from_pretrained(
            default_encoder_directory() if self.model is None else self.model,
            preset=self.preset,
            device=self.device,
            dtype=self.arithmetic,
            **self._overrides(),
        )

    def from_disk(self, path: str | Path, kb: KnowledgeBase) -> DenseIndex:
        """Open what ``DenseIndex.to_disk`` wrote; its own copy of the encoder is used.

        Raises FingerprintMismatchError if it was made from another knowledge base or with other
        settings, KnowledgeBaseError if it is missing or damaged.
        """
        path = Path(path).resolve()
        meta, columns = open_index(path, KIND, inside=ARRAYS)
        self._check_settings(path / ENCODER)
        index = self._assemble(kb, meta, columns, lambda: self.load_encoder(path / ENCODER))
        index.reopen = (_open, (self, path, kb))
        return index

    def from_bytes(self, data: bytes, kb: KnowledgeBase) -> DenseIndex:
        """Read what ``DenseIndex.to_bytes`` gave; raises the errors of ``from_disk``."""
        import srsly

        try:
            message = srsly.msgpack_loads(data)
            content, files = message[ARRAYS], dict(message[ENCODER])
        except Exception as error:  # msgpack raises a different class for each kind of damage
            raise KnowledgeBaseError("These bytes hold no dense index. Build it again.") from error
        meta, columns = storage.from_bytes(content)
        with tempfile.TemporaryDirectory() as folder:
            for name, bytes_ in files.items():
                target = Path(folder, name).resolve()
                if not target.is_relative_to(Path(folder).resolve()):
                    raise KnowledgeBaseError(f"These bytes hold an unexpected file name {name!r}.")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(bytes_)
            self._check_settings(Path(folder))
            encoder = self.load_encoder(folder)
        index = self._assemble(kb, meta, columns, encoder)
        index.reopen = (_read, (self, data, kb))
        return index

    def _assemble(
        self,
        kb: KnowledgeBase,
        meta: Mapping[str, Any],
        columns: storage.Columns,
        encoder: Encoder | Callable[[], Encoder],
    ) -> DenseIndex:
        from spacy_bel.retriever.vectors import HalfMatrix, index_vectors

        check_made_from(meta, KIND, kb)
        check_setting(KIND, "index", meta["index"], self.index)
        check_setting(KIND, "dtype", meta["dtype"], self.dtype)
        arrays = columns.arrays
        table = {name: arrays[name] for name in NameTable.COLUMNS}
        names = NameTable(kb, folded=bool(meta["folded"]), arrays=table)
        own = {"vectors", *NameTable.COLUMNS}
        rest = {name: array for name, array in arrays.items() if name not in own}
        vectors = index_vectors(HalfMatrix(arrays["vectors"]), self.index, rest)
        return DenseIndex(kb, encoder, names, vectors, meta)

    def _overrides(self) -> dict[str, Any]:
        names = ("pooling", "normalize", "max_length", "lower_case")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}

    def _check_settings(self, encoder: Path) -> None:
        """Compare what is asked for with the settings of a copied encoder."""
        from spacy_bel.retriever.encoder_files import read_settings
        from spacy_bel.retriever.presets import FROM_FILES, preset_settings

        stored = asdict(read_settings(encoder, None, {})[0])
        wanted: dict[str, Any] = {}
        if self.preset is not None and self.preset != FROM_FILES:
            wanted = asdict(preset_settings(self.preset))
        for name, value in {**wanted, **self._overrides()}.items():
            check_setting(KIND, name, stored[name], value)


def _cached(key: EmbeddingKey) -> Path:
    digest = hashlib.sha256(json.dumps(asdict(key), sort_keys=True).encode("ascii"))
    return cache_directory() / "embeddings" / digest.hexdigest()[:24]


def _index_beside(directory: Path, matrix: HalfMatrix, kind: IndexKind) -> VectorIndex:
    """The index of embedded names, kept beside them, since some take long to build."""
    from spacy_bel.retriever.vectors import index_vectors

    path = directory.with_name(f"{directory.name}.{kind}").absolute()
    embedded = storage.open_directory(directory.absolute(), verify=False)[0]["fingerprint"]
    if path.exists():
        meta, columns = storage.open_directory(path, verify=None)
        if meta.get("embeddings") == embedded:
            return index_vectors(matrix, kind, columns.arrays)
    vectors = index_vectors(matrix, kind)
    columns = storage.Columns(dict(vectors.arrays()), {})
    meta = described({"kind": f"{kind} vectors", "embeddings": embedded}, columns)
    write_index(path, meta, columns, force=True)
    # What was written is mapped instead of held.
    return index_vectors(matrix, kind, storage.open_directory(path, verify=False)[1].arrays)


def _build(retriever: DenseRetriever, kb: KnowledgeBase) -> DenseIndex:
    return retriever.build(kb)


def _open(retriever: DenseRetriever, path: Path, kb: KnowledgeBase) -> DenseIndex:
    return retriever.from_disk(path, kb)


def _read(retriever: DenseRetriever, data: bytes, kb: KnowledgeBase) -> DenseIndex:
    return retriever.from_bytes(data, kb)
