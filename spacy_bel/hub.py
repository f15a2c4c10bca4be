"""Models of the Hugging Face hub: what is their id, what is cached, what can be fetched."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, try_to_load_from_cache

from .errors import ModelError

_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[\w.-]+", re.ASCII)
_CACHED_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
_TIMEOUT_SECONDS = 10.0


def check_id(model: str) -> None:
    """Raise ModelError for what is no model directory and must not be asked for on the hub.

    That is everything but "owner/name", unless a folder "owner" is here, so that a path with a typo
    is not sent anywhere; and names of models that are in the cache already.
    """
    if _ID.fullmatch(model) and not Path(model).parent.is_dir():
        return
    if (_ID.fullmatch(model) or _CACHED_NAME.fullmatch(model)) and is_cached(model):
        return
    raise ModelError(
        f"There is no model directory '{model}'. Give a directory with config.json, "
        "model.safetensors and tokenizer files, or a hub id with its owner, such as "
        "'google-bert/bert-base-uncased'."
    )


def is_cached(model: str) -> bool:
    """Whether a model was fetched before, at least in part; asks the disk only."""
    return cached_directory(model) is not None


def cached_directory(model: str) -> Path | None:
    """Where the files of a model are that was fetched before; asks the disk only."""
    config = try_to_load_from_cache(model, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def check_reachable(model: str) -> None:
    """Raise ModelError if the hub does not answer, or has no such model that may be read.

    transformers would ask for one file after another, each several times, for a minute in all.
    """
    try:
        HfApi().model_info(model, timeout=_TIMEOUT_SECONDS)
    except Exception as error:  # classes of requests or httpx, by the version of huggingface_hub
        raise ModelError(
            f"There is no model directory '{model}', and the hub model of that name can be had "
            f"neither from the cache nor from the hub ({type(error).__name__}). Give an "
            "existing directory, or check the name, the connection and HF_HUB_OFFLINE."
        ) from error
