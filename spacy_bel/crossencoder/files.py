"""Cross-encoders on disk: what transformers writes, and the layout they were trained in."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForTokenClassification

from spacy_bel.errors import ModelError, SettingsError
from spacy_bel.pretrained import load_pretrained

from .layouts import Layout

_LAYOUT = "spacy_bel_crossencoder.json"
#: What weights are trained for; the other settings only say how much is read at once.
_TRAINED = ("name", "attention", "repeat_mention", "markers")


def read_layout(model: str | Path, asked: Layout | None) -> Layout:
    """The layout of a checkpoint, or for an encoder without one the layout asked for.

    Raises ModelError if a checkpoint was trained in another layout than the one asked for.
    """
    file = Path(model) / _LAYOUT
    if not file.is_file():
        return asked or Layout()
    try:
        stored = Layout(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, SettingsError) as error:
        raise ModelError(f"'{file}' is damaged ({error}): copy the model again.") from error
    if asked is None:
        return stored
    for field in _TRAINED:
        if getattr(stored, field) != getattr(asked, field):
            raise ModelError(
                f"'{model}' was trained with {field}={getattr(stored, field)!r}, not "
                f"{getattr(asked, field)!r}: leave the layout out, or train a model in yours."
            )
    return asked


def load_model(model: str | Path, *, seed: int) -> tuple[Any, Any]:
    """A model with a head of two labels, in evaluation mode and float32, and its tokenizer.

    An encoder without such a head gets one with random weights. seed: for these.
    Nothing is unpickled, see `load_pretrained`. Raises ModelError if it cannot be read.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network, report, tokenizer = load_pretrained(
                AutoModelForTokenClassification,
                model,
                num_labels=2,
                # Other implementations take no mask for each pair of tokens.
                attn_implementation="sdpa",
            )
    except ModelError:
        raise
    except Exception as error:  # transformers raises many classes
        raise ModelError(
            f"Cannot read an encoder from '{model}': {error} Give a hub id, or a directory with "
            "config.json, model.safetensors and tokenizer files."
        ) from error
    prefix = f"{network.base_model_prefix}."
    trained = (Path(model) / _LAYOUT).is_file()
    missing = [name for name in report["missing_keys"] if trained or name.startswith(prefix)]
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise ModelError(f"The weights of '{model}' lack {names}: copy the complete model.")
    if hasattr(network.config, "reference_compile"):
        network.config.reference_compile = False  # inputs have too many shapes to compile each
    return network.float().eval(), tokenizer


def write_directory(path: Path, model: Any, tokenizer: Any, layout: Layout) -> None:
    """Write a directory that `load_model` and transformers read; weights become safetensors."""
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path, safe_serialization=True)
    tokenizer.save_pretrained(path)
    text = json.dumps(asdict(layout), indent=2, sort_keys=True)
    (path / _LAYOUT).write_text(text + "\n", encoding="utf-8")
