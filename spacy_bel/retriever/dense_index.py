"""All names of a terminology as vectors: what is searched, and how it is stored."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spacy_bel.disk import explains_full_disk
from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError
from spacy_bel.kb import storage
from spacy_bel.kb.atomic import new_directory
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import clean, fold
from spacy_bel.retriever.distinct import search_keys
from spacy_bel.retriever.index import CandidateIndex, Hit, Mixture
from spacy_bel.retriever.name_table import NameTable
from spacy_bel.retriever.stored import described

if TYPE_CHECKING:
    from spacy_bel.retriever.encoder import Encoder
    from spacy_bel.retriever.vectors import VectorIndex

KIND = "dense index"
#: Subdirectories of a saved index.
ARRAYS, ENCODER = "index", "encoder"
#: Mentions that go through the vectors together.
_MENTIONS_AT_ONCE = 64
_CACHED_QUERIES = 20_000

_Parts = tuple[tuple[str, float], ...]
_Key = tuple[_Parts, bytes]


class DenseIndex(CandidateIndex):
    """All names of a knowledge base as vectors, searched by inner product.

    Scores are cosines, in [-1, 1] up to the rounding of stored vectors, if the encoder normalises,
    else inner products of any size. Every name is scored, so that a mention gets k concepts
    wherever its groups have as many.

    encoder: makes the vectors of mentions; a function that loads it when the first is searched.
    vectors: one row for each name of ``names``.
    meta: what is stored beside them; see ``DenseRetriever.build``.
    """

    def __init__(
        self,
        kb: KnowledgeBase,
        encoder: Encoder | Callable[[], Encoder],
        names: NameTable,
        vectors: VectorIndex,
        meta: Mapping[str, Any],
    ) -> None:
        if len(vectors.matrix) != len(names):
            raise FingerprintMismatchError(
                f"There are {len(vectors.matrix)} vectors for {len(names)} names of "
                f"{kb.meta.name!r}: build the index again."
            )
        self.kb = kb
        self.names = names
        self.vectors = vectors
        self.meta = meta
        self._encoder: Encoder | None = None
        self._load = encoder
        self._queries: OrderedDict[str, np.ndarray] = OrderedDict()
        #: How another process opens the same: what ``__reduce__`` returns.
        self.reopen: tuple[Any, ...] | None = None

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when it is first asked for.

        Raises FingerprintMismatchError if it is not the one that made the vectors of the names.
        """
        if self._encoder is None:
            from spacy_bel.retriever.encoder import Encoder

            loaded = self._load if isinstance(self._load, Encoder) else self._load()
            if loaded.width != self.vectors.matrix.width:
                raise FingerprintMismatchError(
                    f"The encoder gives vectors of width {loaded.width}, those of the names have "
                    f"{self.vectors.matrix.width}: use the encoder that made them, or build the "
                    "index again."
                )
            if loaded.fingerprint != self.meta["encoder_fingerprint"]:
                raise FingerprintMismatchError(
                    "The vectors of the names were made by another encoder, or with other "
                    "settings: use that one, or build the index again."
                )
            self._encoder = loaded
        return self._encoder

    def __len__(self) -> int:
        """Number of distinct names."""
        return len(self.names)

    def search(
        self, mentions: Sequence[str], group_masks: np.ndarray | None = None, k: int = 25
    ) -> list[list[Hit]]:
        """The k best concepts of each mention; see ``CandidateIndex.search``.

        The approximate indexes of faiss may miss some. An empty mention finds nothing.
        """
        return self.search_mixtures([Mixture(((m, 1.0),)) for m in mentions], group_masks, k)

    def search_mixtures(
        self,
        mixtures: Sequence[Mixture],
        group_masks: np.ndarray | None = None,
        k: int = 25,
    ) -> list[list[Hit]]:
        """The k best concepts by the sums of vectors; see ``CandidateIndex.search_mixtures``.

        Scores are inner products with the sum, which is not normalised, and so the sums of shares
        times scores. Empty strings add nothing.
        """
        masks = search_keys([mixture.text for mixture in mixtures], group_masks, k, str)
        keys = [(self._parts(m), mask) for m, (_, mask) in zip(mixtures, masks, strict=True)]
        # Equal masks together, so that few filters are needed at once.
        distinct = sorted({key for key in keys if key[0]}, key=lambda key: (key[1], key[0]))
        vectors = self._mixed_vectors([parts for parts, _ in distinct])
        found: dict[_Key, list[Hit]] = {}
        for start in range(0, len(distinct), _MENTIONS_AT_ONCE):
            some = slice(start, start + _MENTIONS_AT_ONCE)
            results = self._search(distinct[some], vectors[some], k)
            found.update(zip(distinct[some], results, strict=True))
        return [list(found.get(key, ())) for key in keys]

    def _parts(self, mixture: Mixture) -> _Parts:
        """The strings of a mixture as they are embedded, with their shares."""
        form = fold if self.names.folded else clean
        formed = ((form(text), share) for text, share in mixture.parts)
        return tuple((text, share) for text, share in formed if text)

    def _search(self, keys: Sequence[_Key], vectors: np.ndarray, k: int) -> list[list[Hit]]:
        allowed = [self.names.allowed(mask) if mask else None for _, mask in keys]
        filters = [None if one is None else one.names for one in allowed]
        surfaces = [parts[0][0] for parts, _ in keys]
        results: list[list[Hit]] = [[] for _ in keys]
        wanted = 4 * k  # several names of a concept may be among the best
        left = list(range(len(keys)))
        while left:
            found = self.vectors.search(vectors[left], wanted, [filters[i] for i in left])
            again = []
            for i, (rows, scores) in zip(left, found, strict=True):
                entries = self.names.entries(rows, scores, allowed[i])
                if len(rows) >= wanted and self.names.concepts(entries) < k:
                    again.append(i)
                else:
                    results[i] = self.names.ranked(surfaces[i], entries, k)
            left, wanted = again, 4 * wanted
        return results

    def _mixed_vectors(self, mixtures: Sequence[_Parts]) -> np.ndarray:
        """Sums of the vectors of strings by their shares, float32, one row for each mixture."""
        parts = [part for mixture in mixtures for part in mixture]
        vectors = self._query_vectors([text for text, _ in parts])
        vectors *= np.array([share for _, share in parts], np.float32)[:, None]
        starts = np.cumsum([0, *map(len, mixtures)])[:-1]
        return np.add.reduceat(vectors, starts, axis=0)

    def _query_vectors(self, surfaces: Sequence[str]) -> np.ndarray:
        """Vectors of strings, each embedded once as long as it is remembered."""
        new = [s for s in dict.fromkeys(surfaces) if s not in self._queries]
        fresh = dict(zip(new, self.encoder.encode(new), strict=True)) if new else {}
        rows = np.empty((len(surfaces), self.vectors.matrix.width), np.float32)
        for row, surface in enumerate(surfaces):
            rows[row] = fresh[surface] if surface in fresh else self._queries[surface]
            if surface in self._queries:
                self._queries.move_to_end(surface)
        self._queries.update(fresh)
        while len(self._queries) > _CACHED_QUERIES:
            self._queries.popitem(last=False)
        return rows

    def _columns(self) -> storage.Columns:
        arrays = {
            "vectors": self.vectors.matrix.array,
            **self.names.arrays,
            **self.vectors.arrays(),
        }
        return storage.Columns(arrays, {})

    def to_disk(self, path: str | Path, *, force: bool = False) -> None:
        """Write vectors, tables and the encoder; ``force`` replaces an index that is there."""
        path = Path(path).absolute()
        if force and path.exists() and not (path / ARRAYS / storage.META).is_file():
            raise KnowledgeBaseError(
                f"{path} holds no {KIND}, it is not replaced: choose another path."
            )
        columns = self._columns()
        try:
            with explains_full_disk(path), new_directory(path, force=force) as temporary:
                self.encoder.to_disk(temporary / ENCODER)
                meta = described(self.meta, columns)
                storage.write_directory(temporary / ARRAYS, meta, columns)
        except FileExistsError as error:
            raise KnowledgeBaseError(
                f"{path} exists already: choose another path or pass force=True."
            ) from error

    def to_bytes(self) -> bytes:
        """Vectors, tables and the encoder, without the knowledge base, as one msgpack message."""
        import srsly

        columns = self._columns()
        with tempfile.TemporaryDirectory() as folder:
            self.encoder.to_disk(folder)
            files = {
                file.relative_to(folder).as_posix(): file.read_bytes()
                for file in sorted(Path(folder).rglob("*"))
                if file.is_file()
            }
        content = storage.to_bytes(described(self.meta, columns), columns)
        return srsly.msgpack_dumps({ARRAYS: content, ENCODER: files})

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the same files instead of receiving their content.
        if self.reopen is None:
            raise TypeError("This dense index was put together by hand: write it to disk first.")
        return self.reopen
