"""The retrievers that a command is asked for, by name or by config."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy_bel.retriever.index import Retriever


class Named(str, Enum):
    """Retrievers that need no config."""

    exact = "exact"
    ngrams = "ngrams"
    dense = "dense"


def chosen_retrievers(
    configs: list[Path], named: list[Named], model: str | None
) -> dict[str, Retriever]:
    """Retrievers by name, those of configs first; n-grams if none is given.

    model: of the dense retriever, which it asks for. Raises ReadError for a config of none.
    """
    from spacy_bel.retriever.component import resolve_retriever

    chosen = {}
    for path in configs:
        chosen[path.stem if path.stem not in chosen else str(path)] = _from_config(path)
    if model and Named.dense not in named:
        named = [*named, Named.dense]
    for choice in named or ([] if configs else [Named.ngrams]):
        if choice is Named.dense:
            from spacy_bel.retriever.dense import DenseRetriever

            chosen[f"dense {Path(model).name}" if model else "dense"] = DenseRetriever(model)
        elif choice is Named.exact:
            from spacy_bel.retriever.exact import ExactRetriever

            chosen["exact"] = ExactRetriever()
        else:
            chosen["n-grams"] = resolve_retriever(None)
    return chosen


def _from_config(path: Path) -> Retriever:
    """The retriever of a config file: its block [retriever], or that of its bel_retriever."""
    from confection import ConfigValidationError
    from spacy import util
    from spacy.util import registry

    from spacy_bel.errors import ReadError
    from spacy_bel.retriever.component import resolve_retriever

    try:
        config = util.load_config(path)
        block = config.get("retriever")
        if block is None:
            components = config.get("components", {}).values()
            block = next(c for c in components if c.get("factory") == "bel_retriever")["retriever"]
        return resolve_retriever(registry.resolve({"retriever": block})["retriever"])
    except StopIteration as error:
        raise ReadError(
            f"{path} has no block [retriever] and no bel_retriever: add a block with a line such "
            'as @misc = "spacy_bel.NgramRetriever.v1".'
        ) from error
    except (OSError, ValueError, ConfigValidationError) as error:
        raise ReadError(f"{path} is no config of a retriever ({error}): mend it.") from error
