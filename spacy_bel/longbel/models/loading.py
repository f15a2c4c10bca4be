"""From what a configuration says to a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from ...default import default_model_directory
from ...errors import ModelError
from .base import LanguageModel
from .causal_lm import CausalLanguageModel

ModelReference = str | Path | LanguageModel | Callable[[], LanguageModel] | None

#: What a model directory may hold that is worth copying: weights, configuration, tokenizer. Pickled
#: files are neither opened nor passed on.
_SUFFIXES = {".json", ".safetensors", ".txt", ".model", ".md"}


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

        if _architecture(Path(reference)) == ARCHITECTURE:
            return CopyLanguageModel.from_directory(reference, device=device or "cpu")
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
        model.save(target)  # type: ignore[attr-defined]
        return
    for file in sorted(Path(source).iterdir()):
        if file.is_file() and file.suffix in _SUFFIXES:
            shutil.copyfile(file, target / file.name)


def _architecture(directory: Path) -> str | None:
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    except ValueError as error:
        raise ModelError(
            f"'{directory / 'config.json'}' is not valid JSON ({error}). Copy the model again."
        ) from error
    return config.get("architecture") if isinstance(config, dict) else None
