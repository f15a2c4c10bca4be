"""From what a configuration says to a model."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from ... import hub
from ...default import default_model_directory
from ...errors import ModelError
from .base import LanguageModel
from .causal_lm import CausalLanguageModel

ModelReference = str | Path | LanguageModel | Callable[[], LanguageModel] | None

#: What a model directory may hold that is worth copying: weights, configuration, tokenizer. Pickled
#: files are neither opened nor passed on.
_SUFFIXES = {".json", ".safetensors", ".txt", ".model", ".md"}


#: Types whose configurations do not always say that they are encoder-decoders.
_ENCODER_DECODERS = {"bart", "mbart", "t5", "mt5", "encoder-decoder"}


def resolve_model(
    reference: ModelReference, *, device: str | None = None, dtype: str | None = None
) -> LanguageModel:
    """Load a directory, a hub id, what a function returns, or a model; None for the default.

    device, dtype: see `CausalLanguageModel.from_pretrained`. Raises ModelError if it cannot be
    read.
    """
    if reference is None:
        reference = default_model_directory()
    if isinstance(reference, (str, Path)):
        from .copy_lm import ARCHITECTURE, CopyLanguageModel
        from .encoder_decoder import EncoderDecoderLanguageModel

        config = _config(reference)
        if config.get("architecture") == ARCHITECTURE:
            return CopyLanguageModel.from_directory(reference, device=device or "cpu")
        if config.get("is_encoder_decoder", config.get("model_type") in _ENCODER_DECODERS):
            return EncoderDecoderLanguageModel.from_pretrained(
                reference, device=device, dtype=dtype
            )
        return CausalLanguageModel.from_pretrained(reference, device=device, dtype=dtype)
    if callable(reference) and not hasattr(reference, "forward"):
        return reference()
    return reference  # type: ignore[return-value]


def copy_model(model: LanguageModel, target: Path) -> None:
    """Write a model to a directory: its own files if it was read from one."""
    source = model.directory
    if source is not None and Path(source).resolve() == target.resolve():
        return
    target.mkdir(parents=True, exist_ok=True)
    if source is None:
        # Weights may be mapped from the very files that are written: these are replaced whole.
        with tempfile.TemporaryDirectory(dir=target.parent) as written:
            model.save(Path(written))  # type: ignore[attr-defined]
            for file in sorted(Path(written).iterdir()):
                file.replace(target / file.name)
        return
    for file in sorted(Path(source).iterdir()):
        if file.is_file() and file.suffix in _SUFFIXES:
            shutil.copyfile(file, target / file.name)


def _config(reference: str | Path) -> dict[str, Any]:
    """The configuration of a directory or hub model; empty if there is none that can be had."""
    directory = Path(reference)
    if not directory.is_dir():
        # Whoever reads the model next says what is wrong with it.
        if directory.is_absolute() or str(reference).startswith((".", "~")):
            return {}
        with suppress(OSError, ValueError):
            cached = hub.cached_directory(str(reference))
            if cached is None:
                config = AutoConfig.from_pretrained(reference, trust_remote_code=False)
                return dict(config.to_dict())
            directory = cached
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    except ValueError as error:
        raise ModelError(
            f"'{directory / 'config.json'}' is not valid JSON ({error}). Copy the model again."
        ) from error
    return config if isinstance(config, dict) else {}
