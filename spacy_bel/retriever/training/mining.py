"""Hard negatives: concepts whose names an encoder cannot yet tell apart."""

from __future__ import annotations

import numpy as np

from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.training.names import TrainingNames

_BLOCK = 1024
_ROWS = 64


def confusable_concepts(
    encoder: Encoder,
    names: TrainingNames,
    concepts: int,
    rng: np.random.Generator,
    *,
    nearest: int = 10,
    progress: bool = False,
) -> np.ndarray:
    """For each concept the labels of those most similar to it: int32, shape (concepts, nearest).

    Compared are a random name of each of ``concepts`` concepts, drawn at random; rows of concepts
    that were not drawn, and missing entries, are -1. Concepts that share the compared name are not
    told apart by it and do not count.
    """
    labels = np.flatnonzero(names.name_counts)
    if len(labels) > concepts:
        labels = np.sort(rng.choice(labels, concepts, replace=False))
    texts = np.array([rng.choice(names.names_of(label)) for label in labels.tolist()])
    embeddings = encoder.encode([names.texts[text] for text in texts.tolist()], progress=progress)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings = embeddings / np.maximum(norms, np.finfo(np.float32).tiny)
    found = np.full((len(names.codes), nearest), -1, np.int32)
    count = min(nearest, len(labels) - 1)
    for start in range(0, len(labels), _BLOCK):
        similarity = embeddings[start : start + _BLOCK] @ embeddings.T
        # The indices of a sorted row take twice the memory of the row.
        for row in range(0, len(similarity), _ROWS):
            block = slice(start + row, start + min(row + _ROWS, len(similarity)))
            of_rows = similarity[row : row + _ROWS]
            of_rows[texts[block, None] == texts] = -np.inf
            best = np.argpartition(-of_rows, count, axis=1)[:, :count]
            shared = np.take_along_axis(of_rows, best, axis=1) == -np.inf
            found[labels[block], :count] = np.where(shared, -1, labels[best])
    return found
