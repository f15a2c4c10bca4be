"""Released LongBEL and SynCABEL checkpoints, read without the code that comes along.

Such a directory holds a Llama of a class of its own (``model_type`` "llama_longbel" or
"llama_syncabel", whose Python code comes along), a tokenizer, and ``text_to_code.json``: {group:
{name: code}}. Weights and tokenizer are those of the plain model; neither the code nor the pickled
trie beside them is ever opened.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import srsly

from ...errors import ModelError

#: {group: {name: code}}, all names that a checkpoint was trained to generate.
TABLE = "text_to_code.json"
#: Ends of the model types of released checkpoints, and the family of prompts that each reads.
_FAMILIES = {"_longbel": "longbel", "_syncabel": "syncabel"}
_BRACKETS = {"[", "]", "{", "}"}
_SEPARATOR = "<SEP>"


def is_released_checkpoint(directory: str | Path) -> bool:
    """Whether a directory holds a released checkpoint, by its model type or its table of names."""
    directory = Path(directory)
    if not (directory / "config.json").is_file():
        return False
    return (directory / TABLE).is_file() or _family(_read_config(directory)) is not None


def released_directory(reference: object) -> Path | None:
    """The directory that a `model` setting names, if it holds a released checkpoint."""
    if isinstance(reference, (str, Path)) and is_released_checkpoint(reference):
        return Path(reference)
    return None


def plain_config(directory: str | Path) -> Any:
    """Configuration of a released checkpoint as a model of transformers; None for other models.

    The model type loses its ending, and the pointers to Python code go. Raises ModelError if
    transformers has no such model.
    """
    fields = _read_config(Path(directory))
    kind = str(fields.pop("model_type", ""))
    ending = next((e for e in _FAMILIES if kind.endswith(e)), None)
    if ending is None:
        return None
    from transformers import AutoConfig

    for key in ("auto_map", "architectures"):
        fields.pop(key, None)
    try:
        return AutoConfig.for_model(kind.removesuffix(ending), **fields)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"'{directory}' is of the type '{kind}', and transformers knows no model "
            f"'{kind.removesuffix(ending)}': {error} Update transformers, or correct model_type in "
            "config.json."
        ) from error


def released_prompt(directory: str | Path, language: str | None = None) -> str | None:
    """Name of the prompt that a released checkpoint was trained on; None for other models.

    By the model type; where that is a plain one, by the tokenizer: LongBEL declares the brackets as
    special tokens, and the separator too if it was trained on one stream, SynCABEL the separator
    alone. language: of a SynCABEL prompt, by default that of the model card. Raises ModelError if
    that is none that SynCABEL has been trained in.
    """
    directory = Path(directory)
    if not is_released_checkpoint(directory):
        return None
    family = _family(_read_config(directory))
    if family is None:
        special = special_tokens(directory)
        if special >= {*_BRACKETS, _SEPARATOR}:
            return "long"
        family = "syncabel" if _SEPARATOR in special else "longbel"
    if family == "longbel":
        return "hybrid_long"
    language = language or released_language(directory)
    if language not in ("en", "fr", "es"):
        raise ModelError(
            f"The SynCABEL checkpoint '{directory}' does not say whether it reads English, French "
            "or Spanish. Set prompt to 'syncabel_en', 'syncabel_fr' or 'syncabel_es'."
        )
    return f"syncabel_{language}"


def released_language(directory: str | Path) -> str | None:
    """Language of a checkpoint, such as "fr", by its model card; None if that names not one."""
    languages = model_card(directory).get("language")
    if isinstance(languages, list) and len(languages) == 1:
        languages = languages[0]
    return languages.lower() if isinstance(languages, str) and languages else None


def released_name(directory: str | Path) -> str:
    """What a checkpoint calls itself in its model card, else the name of its directory."""
    index = model_card(directory).get("model-index")
    named = index[0].get("name") if isinstance(index, list) and index else None
    return str(named or Path(directory).resolve().name)


def special_tokens(directory: str | Path) -> set[str]:
    """Special tokens that the tokenizer files of a directory declare."""
    directory = Path(directory)
    found: set[str] = set()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        content = _read_json(directory / name)
        decoder = content.get("added_tokens_decoder")
        listed = [
            *(content.get("added_tokens") or []),
            *(decoder.values() if isinstance(decoder, dict) else []),
        ]
        found |= {str(t["content"]) for t in listed if isinstance(t, dict) and t.get("special")}
        more = content.get("additional_special_tokens") or content.get("extra_special_tokens") or []
        found |= {_token(t) for t in (more.values() if isinstance(more, dict) else more)}
        found.add(_token(content.get("sep_token")))
    return found - {""}


def model_card(directory: str | Path) -> dict[str, Any]:
    """The metadata at the head of README.md; empty if there is none that can be read."""
    try:
        text = (Path(directory) / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    head, _, rest = text.partition("---")
    block, end, _ = rest.partition("\n---")
    if head.strip() or not end:
        return {}
    try:
        data = srsly.yaml_loads(block)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _token(value: Any) -> str:
    return str(value.get("content", "") if isinstance(value, dict) else value or "")


def _family(config: dict[str, Any]) -> str | None:
    kind = str(config.get("model_type", ""))
    return next((family for ending, family in _FAMILIES.items() if kind.endswith(ending)), None)


def _read_config(directory: Path) -> dict[str, Any]:
    return _read_json(directory / "config.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError:
        return {}
    except ValueError as error:
        raise ModelError(f"'{path}' is not valid JSON ({error}). Copy the model again.") from error
    return content if isinstance(content, dict) else {}
