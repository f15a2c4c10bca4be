"""Encoders on disk: weights and tokenizers of transformers, the layout of sentence-transformers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import AutoModel

from spacy_bel import hub
from spacy_bel.errors import ModelError
from spacy_bel.pretrained import load_pretrained
from spacy_bel.retriever import presets
from spacy_bel.retriever.presets import EncoderSettings

# What sentence-transformers cannot express (padding without a mask) stands in a file of our own,
# which it passes over.
_OWN = "spacy_bel_encoder.json"
_MODULES = "modules.json"
_SENTENCE = "sentence_bert_config.json"
_PACKAGE = "sentence_transformers.models"
_POOLINGS = {"cls": "cls_token", "mean": "mean_tokens"}
_LONGEST_DEFAULT = 512


def read_settings(
    model: str | Path, preset: str | None, overrides: dict[str, Any]
) -> tuple[EncoderSettings, Path | str]:
    """The settings of an encoder, and where its weights are.

    Overrides win over the preset, the preset over the files of a directory, these over what is
    known of a published model, and that over ``presets.DEFAULT``.
    """
    presets.check_overrides(overrides)
    directory = Path(model)
    weights: Path | str = model
    settings = None
    if directory.is_dir():
        settings, weights = _read_directory(directory)
        if settings is None:
            settings = presets.known_model(
                _json(directory / "config.json").get("_name_or_path") or ""
            )
    else:
        hub.check_id(str(model))
        settings = presets.known_model(str(model))
    if preset is not None and preset != presets.FROM_FILES:
        settings = presets.preset_settings(preset)
    elif preset is not None and not (directory / _MODULES).is_file():
        raise ModelError(
            f"'{model}' has no {_MODULES}, so the preset {preset!r} finds nothing to read: give "
            "the directory of a sentence-transformers model, or pooling and normalize."
        )
    return replace(settings or presets.DEFAULT, **overrides), weights


def load_model(weights: str | Path, *, pooler: bool) -> tuple[Any, Any]:
    """Model, in evaluation mode and float32, and tokenizer.

    pooler: whether the model's pooling layer is needed. Nothing is unpickled: weights come from
    safetensors, or from a ``pytorch_model.bin`` that torch reads as weights only.
    Raises ModelError if they cannot be read or are incomplete.
    """
    try:
        model, report, tokenizer = load_pretrained(AutoModel, weights)
    except ModelError:
        raise
    except Exception as error:  # transformers raises many classes, from OSError to UnpicklingError
        raise ModelError(
            f"Cannot read an encoder from '{weights}': {error} Give a directory with config.json, "
            "model.safetensors and tokenizer files, or a hub id."
        ) from error
    if tokenizer.pad_token_id is None:
        raise ModelError(f"The tokenizer of '{weights}' has no padding token: it is no encoder's.")
    if model.config.is_encoder_decoder:
        raise ModelError(f"'{weights}' is an encoder-decoder: give an encoder such as BERT.")
    missing = set(report["missing_keys"])
    unread = sorted(name for name in missing if not name.startswith("pooler."))
    if unread or (missing and pooler):
        names = ", ".join((unread or sorted(missing))[:3])
        raise ModelError(
            f"The weights of '{weights}' lack {names}: copy the complete model"
            + ("." if unread else ', or use pooling="cls".')
        )
    if missing:
        model.pooler = None  # made up by transformers, and not needed
    return model.float().eval(), tokenizer


def write_directory(path: Path, model: Any, tokenizer: Any, settings: EncoderSettings) -> None:
    """Write a directory that sentence-transformers reads as well, as far as it knows the settings.

    It knows neither padding without a mask nor the pooling layer of a model.
    """
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path, safe_serialization=True)
    tokenizer.save_pretrained(path)
    modules = ["Transformer", "Pooling", *["Normalize"] * settings.normalize]
    folders = ["", *(f"{i}_{name}" for i, name in enumerate(modules) if i)]
    rows = zip(modules, folders, strict=True)
    _write(
        path / _MODULES,
        [
            {"idx": i, "name": str(i), "path": folder, "type": f"{_PACKAGE}.{name}"}
            for i, (name, folder) in enumerate(rows)
        ],
    )
    pooling = {f"pooling_mode_{key}": False for key in ("cls_token", "mean_tokens", "max_tokens")}
    kind = "mean" if settings.pooling.startswith("mean") else "cls"
    pooling[f"pooling_mode_{_POOLINGS[kind]}"] = True
    for folder in folders[1:]:
        (path / folder).mkdir(exist_ok=True)
    _write(
        path / folders[1] / "config.json",
        {"word_embedding_dimension": model.config.hidden_size, **pooling},
    )
    sentence = {"max_seq_length": settings.max_length, "do_lower_case": settings.lower_case}
    _write(path / _SENTENCE, sentence)
    _write(path / "config_sentence_transformers.json", {"similarity_fn_name": "dot"})
    _write(path / _OWN, asdict(settings))


def _read_directory(directory: Path) -> tuple[EncoderSettings | None, Path]:
    if (directory / _OWN).is_file():
        try:
            return EncoderSettings(**_json(directory / _OWN)), directory
        except TypeError as error:
            raise ModelError(f"'{directory / _OWN}' is damaged ({error}): delete it.") from error
    if not (directory / _MODULES).is_file():
        return None, directory
    weights, settings = directory, EncoderSettings(pooling="mean")
    for module in _json(directory / _MODULES):
        kind, folder = str(module["type"]).rsplit(".", 1)[-1], directory / str(module["path"])
        if kind == "Transformer":
            weights = folder
            settings = replace(settings, **_sentence_settings(folder))
        elif kind == "Pooling":
            settings = replace(settings, pooling=_pooling(folder / "config.json"))
        elif kind == "Normalize":
            settings = replace(settings, normalize=True)
        else:
            raise ModelError(
                f"'{directory}' has a module {kind!r}, which cannot be used here: give a model of "
                "Transformer, Pooling and Normalize."
            )
    prompts = directory / "config_sentence_transformers.json"
    if prompts.is_file() and _json(prompts).get("default_prompt_name"):
        raise ModelError(f"'{directory}' puts prompts before strings, which cannot be used here.")
    return settings, weights


def _sentence_settings(folder: Path) -> dict[str, Any]:
    found = _json(folder / _SENTENCE) if (folder / _SENTENCE).is_file() else {}
    config = _json(folder / "config.json")
    length = found.get("max_seq_length")
    if not length:  # sentence-transformers then asks the model; two of its positions may be unused
        length = min(int(config.get("max_position_embeddings", _LONGEST_DEFAULT)), _LONGEST_DEFAULT)
    return {"max_length": int(length), "lower_case": bool(found.get("do_lower_case"))}


def _pooling(file: Path) -> presets.Pooling:
    config = _json(file)
    modes = {key.removeprefix("pooling_mode_") for key, value in config.items() if value is True}
    modes &= {"cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken"}
    if isinstance(config.get("pooling_mode"), str):
        modes = {_POOLINGS.get(config["pooling_mode"], config["pooling_mode"])}
    if modes == {"cls_token"}:
        return "cls"
    if modes == {"mean_tokens"}:
        return "mean"
    raise ModelError(
        f"'{file}' asks for the pooling {' + '.join(sorted(modes)) or 'none'}: only cls and mean "
        "can be used here."
    )


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ModelError(
            f"'{file}' cannot be read as JSON ({error}). Copy the model again."
        ) from error


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
