"""What a linker opens, and what of that is stored with the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language

from ..kb.reference import KBReference
from ..learning_pipe import LearningPipe
from .learning import thinc_model
from .member_model import MemberModel
from .models.base import LanguageModel, tokenizer_fingerprint
from .models.checkpoint import released_directory, released_prompt
from .models.holder import LanguageModelHolder
from .models.loading import ModelReference, resolve_model
from .name_trie import NameTrie
from .prompts import PROMPTS, Prompt, get_prompt
from .released_kb import released_kb
from .tokenization import PromptTokenizer
from .trie_store import open_name_trie

DEFAULT_PROMPT = "hybrid_long"


class LinkerResources(LearningPipe, LanguageModelHolder):
    """A linking component with a language model, a prompt format and the names it may generate.

    model, prompt, device, dtype: see `LongBELLinker`. member_models: further models by what names
    them. learning_tokens: see `LearningPipe`. The other arguments are those of `LinkingPipe`.
    """

    #: What `calibrate` fits, as entries of `cfg`.
    calibration_keys = ("temperature", "retriever_weight")

    def __init__(
        self,
        nlp: Language,
        name: str,
        *,
        model: ModelReference,
        prompt: str | Prompt | None,
        device: str | None,
        dtype: str | None,
        member_models: dict[str, MemberModel],
        learning_tokens: int,
        **settings: Any,
    ) -> None:
        super().__init__(nlp, name, thinc_model(), learning_tokens=learning_tokens, **settings)
        self.device, self.dtype = device, dtype
        self.cfg.update(temperature=1.0, retriever_weight=0.0)
        self._prompt = None if prompt is None else get_prompt(prompt)
        self._model_reference = model
        self._model: LanguageModel | None = None
        self._member_models = member_models
        self._tries: dict[tuple[str, str], NameTrie] = {}
        self._trie_directory: Path | None = None
        self._engine: Any = None

    def set_kb(self, reference: KBReference) -> None:
        """Link to another knowledge base from now on; None is that of the model, if it has one."""
        released = released_directory(self._model_reference) if reference is None else None
        super().set_kb(reference if released is None else partial(released_kb, released))

    def set_model(self, reference: ModelReference) -> None:
        """Decode with another language model from now on."""
        self._model_reference = reference
        self._model = resolve_model(reference, device=self.device, dtype=self.dtype)
        self._trie_directory = self._engine = None

    def set_prompt(self, prompt: str | Prompt) -> None:
        """Put mentions before the model in another format from now on."""
        self._prompt = get_prompt(prompt)
        self._trie_directory = self._engine = None

    @property
    def language_model(self) -> LanguageModel:
        """The language model, loaded on first use."""
        if self._model is None:
            self._model = resolve_model(self._model_reference, device=self.device, dtype=self.dtype)
        return self._model

    @property
    def prompt(self) -> Prompt:
        """The prompt format."""
        if self._prompt is None:
            model = self.language_model
            known = getattr(model, "prompt", None)
            if known is None and model.directory is not None:
                known = released_prompt(model.directory)
            self._prompt = get_prompt(known or DEFAULT_PROMPT)
        return self._prompt

    @property
    def trie(self) -> NameTrie:
        """The names that can be generated, opened or built on first use."""
        return self._trie_of(PromptTokenizer(self.language_model.tokenizer, self.prompt))

    def _calibration(self) -> dict[str, float]:
        return {key: self.cfg[key] for key in self.calibration_keys}

    def _trie_of(self, tokenizer: PromptTokenizer) -> NameTrie:
        """The names as a tokenizer writes them behind a prompt; shared by all that agree on it."""
        key = tokenizer_fingerprint(tokenizer.tokenizer), tokenizer.name_format
        if key not in self._tries:
            self._tries[key] = open_name_trie(self.kb, tokenizer, self._trie_directory)
        return self._tries[key]

    def _kb_changed(self) -> None:
        super()._kb_changed()
        self._tries = {}
        self._trie_directory = self._engine = None

    def _disk_writers(self) -> dict[str, Callable[[Path], None]]:
        return {
            "model": self._model_to_disk,
            **{key: m._model_to_disk for key, m in self._members_by_place().items()},
            "token_trie": self._trie_to_disk,
            "calibration.json": lambda path: srsly.write_json(path, self._calibration()),
            "prompt.json": lambda path: srsly.write_json(path, self.prompt.name),
        }

    def _disk_readers(self) -> dict[str, Callable[[Path], None]]:
        return {
            "model": self._model_from_disk,
            **{key: m._model_from_disk for key, m in self._members_by_place().items()},
            "token_trie": self._trie_from_disk,
            "calibration.json": self._calibration_from_disk,
            "prompt.json": self._prompt_from_disk,
        }

    def _members_by_place(self) -> dict[str, MemberModel]:
        return {f"model_{i}": m for i, m in enumerate(self._member_models.values(), 2)}

    def _calibration_from_disk(self, path: Path) -> None:
        if path.is_file():
            self.cfg.update(srsly.read_json(path))

    def _prompt_from_disk(self, path: Path) -> None:
        # What a model was trained for is told by its files, not all of which outlast `to_bytes`.
        if self._prompt is None and path.is_file() and (name := srsly.read_json(path)) in PROMPTS:
            self._prompt = get_prompt(name)

    def _forget_model(self) -> None:
        self._model = self._engine = None
        self._tries = {}

    def _trie_to_disk(self, path: Path) -> None:
        if self.store_kb and self._trie_directory != path.resolve():
            tokenizer = PromptTokenizer(self.language_model.tokenizer, self.prompt)
            self.trie.to_disk(path, tokenizer)

    def _trie_from_disk(self, path: Path) -> None:
        if path.is_dir():
            self._trie_directory = path.resolve()
            self._tries, self._engine = {}, None

    def _bytes_writers(self) -> dict[str, Callable[[], Any]]:
        return {
            "model": self._model_to_bytes,
            **{key: m._model_to_bytes for key, m in self._members_by_place().items()},
            "calibration": lambda: srsly.json_dumps(self._calibration()),
        }

    def _bytes_readers(self) -> dict[str, Callable[[Any], None]]:
        return {
            "model": self._model_from_bytes,
            **{key: m._model_from_bytes for key, m in self._members_by_place().items()},
            "calibration": lambda data: self.cfg.update(srsly.json_loads(data)),
        }

    def _state(self) -> dict[str, Any]:
        return {
            **super()._state(),
            "model": thinc_model(),
            "_engine": None,
            "_tries": {},
            **self._model_state(),
        }
