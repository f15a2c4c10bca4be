"""scispaCy's candidate generator over a knowledge base of ours, to compare with.

Neumann, King, Beltagy and Ammar 2019, doi 10.18653/v1/W19-5034. Needs the extra ``scispacy``.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_bel.errors import (
    FingerprintMismatchError,
    KnowledgeBaseError,
    MissingExtraError,
    SettingsError,
)
from spacy_bel.kb import storage
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold
from spacy_bel.retriever.distinct import search_keys
from spacy_bel.retriever.index import DECIMALS, CandidateIndex, Hit, Retriever
from spacy_bel.retriever.stored import (
    check_made_from,
    described,
    made_from,
    open_index,
    write_index,
)

_KIND = "scispaCy index"
_INDEX, _VECTORS, _NAMES = "nmslib_index.bin", "tfidf_vectors_sparse.npz", "concept_aliases.json"


class ScispacyIndex(CandidateIndex):
    """scispaCy's approximate nearest names, by cosine of its TF-IDF vectors of 3-grams.

    Made by `ScispacyRetriever`. Scores are in [0, 1]; a concept has that of its most similar name.
    """

    def __init__(
        self, kb: KnowledgeBase, meta: Mapping[str, Any], columns: storage.Columns, neighbours: int
    ) -> None:
        check_made_from(meta, _KIND, kb)
        self.kb = kb
        self.neighbours = neighbours
        self._meta, self._columns = meta, columns
        self._generator = _generator(kb, columns.arrays, meta["ef_search"])

    def search(
        self, mentions: Sequence[str], group_masks: np.ndarray | None = None, k: int = 25
    ) -> list[list[Hit]]:
        """The k best concepts among the names that scispaCy finds.

        Its index knows no groups. If too few of the concepts it finds belong to the groups of a
        mention, it is asked for four times as many names, until all were asked for.
        """
        keys = search_keys(mentions, group_masks, k)
        todo = list(dict.fromkeys(keys))
        found: dict[tuple[str, bytes], list[Hit]] = {}
        neighbours = self.neighbours
        while todo:
            candidates = self._generator([surface for surface, _ in todo], neighbours)
            for key, of_mention in zip(todo, candidates, strict=True):
                found[key] = self._ranked(*key, of_mention)
            todo = [key for key in todo if key[1] and len(found[key]) < k]
            if neighbours >= self.kb.n_names:
                break
            neighbours *= 4
        return [found[key][:k] for key in keys]

    def _ranked(self, surface: str, mask: bytes, candidates: Iterable[Any]) -> list[Hit]:
        kb, groups = self.kb, np.frombuffer(mask, np.uint64)
        mentioned = kb.training_mentions
        rows = []
        for candidate in candidates:
            concept = kb.concept_id(candidate.concept_id)
            if mask and not (kb.concept_group_masks[concept] & groups).any():
                continue
            code, preferred = kb.code(concept), kb.preferred_name(candidate.concept_id)
            frequency = 0 if mentioned is None else int(mentioned[concept])
            rows.append(
                min(
                    (-round(s, DECIMALS), fold(n) != surface, -frequency, n != preferred, code, n)
                    for n, s in zip(candidate.aliases, candidate.similarities, strict=True)
                )
            )
        return [(code, name, -score) for score, *_, code, name in sorted(rows)]

    def to_disk(self, path: str | Path, *, force: bool = False) -> None:
        """Write a directory of plain arrays; ``force`` replaces an index that is there."""
        write_index(path, self._meta, self._columns, force=force)

    def to_bytes(self) -> bytes:
        """The index, without its knowledge base, as one msgpack message."""
        return storage.to_bytes(self._meta, self._columns)


@dataclass(frozen=True)
class ScispacyRetriever(Retriever):
    """scispaCy's candidate generator.

    neighbours: how many names it looks up for a mention, its own k; several are of one concept.
    ef_search: how thoroughly it searches, as in scispaCy.
    directory: where scispaCy's ``create_tfidf_ann_index`` wrote the files of an index of the same
        names; None builds one, which takes some ten minutes per 75,000 names, and scipy < 1.11.

    scispaCy keeps its vectorizer as a joblib file, which runs code when it is read. That file is
    never opened: the vectorizer is fitted again on the names, with the same result.

    Raises SettingsError if neighbours or ef_search is below 1.
    """

    neighbours: int = 100
    ef_search: int = 200
    directory: str | None = None

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.ef_search < 1:
            raise SettingsError("neighbours and ef_search are numbers of at least 1.")

    def build(self, kb: KnowledgeBase, *, progress: bool = False) -> ScispacyIndex:
        """Build scispaCy's index of all names, or read the files of one.

        Raises MissingExtraError without scispaCy, or with a scipy that it cannot build with.
        """
        generation = _import("scispacy.candidate_generation")
        if self.directory is not None:
            arrays = _read(Path(self.directory), kb)
        else:
            # scispaCy prints, nmslib draws its own progress.
            with nullcontext() if progress else redirect_stdout(io.StringIO()):
                arrays = _build(kb, generation)
        columns = storage.Columns(arrays, {})
        meta = described(made_from(_KIND, kb, ef_search=self.ef_search), columns)
        return ScispacyIndex(kb, meta, columns, self.neighbours)

    def from_disk(self, path: str | Path, kb: KnowledgeBase) -> ScispacyIndex:
        """Open what ``ScispacyIndex.to_disk`` wrote."""
        return self._open(kb, *open_index(path, _KIND))

    def from_bytes(self, data: bytes, kb: KnowledgeBase) -> ScispacyIndex:
        """Read what ``ScispacyIndex.to_bytes`` gave."""
        return self._open(kb, *storage.from_bytes(data))

    def _open(self, kb: KnowledgeBase, meta: dict[str, Any], columns: Any) -> ScispacyIndex:
        return ScispacyIndex(kb, {**meta, "ef_search": self.ef_search}, columns, self.neighbours)


def _import(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"scispaCy's candidate generator cannot be imported ({error}): "
            "pip install 'spacy-bel[scispacy]'."
        ) from error


def _build(kb: KnowledgeBase, generation: Any) -> dict[str, np.ndarray]:
    """An index made by scispaCy."""
    try:
        names, vectorizer, index = generation.create_tfidf_ann_index(None, _scispacy_kb(kb))
    except RuntimeError as error:
        raise MissingExtraError(
            f"scispaCy cannot build an index here ({error}): pip install 'scipy<1.11', or give the "
            "directory of an index that was built elsewhere."
        ) from error
    except ValueError as error:
        raise KnowledgeBaseError(
            f"scispaCy finds too few names in {kb.meta.name!r} ({error}): it leaves out 3-grams "
            "of fewer than ten names."
        ) from error
    with tempfile.TemporaryDirectory() as directory:
        index.saveIndex(str(Path(directory) / _INDEX))
        content = np.fromfile(Path(directory) / _INDEX, np.uint8)
    return _arrays(names, vectorizer, vectorizer.transform(names), content)


def _read(directory: Path, kb: KnowledgeBase) -> dict[str, np.ndarray]:
    """The files of an index made by scispaCy, but for its vectorizer."""
    try:
        names = json.loads((directory / _NAMES).read_text(encoding="utf-8"))
        vectors = sp.load_npz(directory / _VECTORS).astype(np.float32)
        content = np.fromfile(directory / _INDEX, np.uint8)
    except (OSError, ValueError, KeyError) as error:
        raise KnowledgeBaseError(
            f"{directory} holds no index of scispaCy ({error}): give the directory that "
            "create_tfidf_ann_index wrote."
        ) from error
    own = set(kb.names())
    if not set(names) <= own or vectors.shape[0] != len(names):
        raise FingerprintMismatchError(
            f"The index in {directory} is of other names than {kb.meta.name!r} ({kb.release}): "
            "build it from the names of this knowledge base."
        )
    vectorizer = _vectorizer(min_df=10).fit(sorted(own))
    if vectors.shape[1] != len(vectorizer.vocabulary_):
        raise FingerprintMismatchError(
            f"The index in {directory} has other 3-grams than {kb.meta.name!r} ({kb.release}): "
            "build it from all names of this knowledge base."
        )
    return _arrays(names, vectorizer, vectors, content)


def _arrays(
    names: Sequence[str], vectorizer: TfidfVectorizer, vectors: sp.csr_matrix, index: np.ndarray
) -> dict[str, np.ndarray]:
    texts = {"ngrams": vectorizer.get_feature_names_out(), "names": names}
    return {
        **{f"{n}_text": np.frombuffer("\n".join(t).encode(), np.uint8) for n, t in texts.items()},
        "idf": vectorizer.idf_.astype(np.float64),
        "vector_offsets": vectors.indptr.astype(np.int64),
        "vector_ngrams": vectors.indices.astype(np.int32),
        "vector_weights": vectors.data.astype(np.float32),
        "ann_index": index,
    }


def _generator(kb: KnowledgeBase, arrays: Mapping[str, np.ndarray], ef_search: int) -> Any:
    """scispaCy's generator of stored arrays; files are written for it where it wants to read."""
    generation = _import("scispacy.candidate_generation")
    names, ngrams = (
        arrays[f"{column}_text"].tobytes().decode("utf-8").split("\n")
        for column in ("names", "ngrams")
    )
    vectors = sp.csr_matrix(
        (arrays["vector_weights"], arrays["vector_ngrams"], arrays["vector_offsets"]),
        shape=(len(names), len(ngrams)),
    )
    vectorizer = _vectorizer(vocabulary=ngrams)
    vectorizer.idf_ = np.asarray(arrays["idf"])
    with tempfile.TemporaryDirectory() as directory:
        sp.save_npz(Path(directory) / _VECTORS, vectors)
        arrays["ann_index"].tofile(Path(directory) / _INDEX)
        index = generation.load_approximate_nearest_neighbours_index(
            generation.LinkerPaths.from_directory(directory), ef_search=ef_search
        )
    return generation.CandidateGenerator(index, vectorizer, names, _scispacy_kb(kb))


def _scispacy_kb(kb: KnowledgeBase) -> Any:
    linking = _import("scispacy.linking_utils")
    concepts = (kb[code] for code in kb)
    return linking.KnowledgeBase(
        [linking.Entity(c.code, c.names[0], list(c.names[1:])) for c in concepts]
    )


def _vectorizer(**settings: Any) -> TfidfVectorizer:
    """A vectorizer with scispaCy's settings."""
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32, **settings)
