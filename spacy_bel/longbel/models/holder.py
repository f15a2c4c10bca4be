"""What components with a language model share: storing it with the pipeline."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import Any

from .base import LanguageModel
from .loading import ModelReference, copy_model


class LanguageModelHolder:
    """A component part that copies its language model to wherever the pipeline is stored."""

    _model_reference: ModelReference
    _model: LanguageModel | None

    # Not called `model`: spaCy asks every component for that when a pipeline is put together.
    @property
    @abstractmethod
    def language_model(self) -> LanguageModel:
        """The language model, loaded on first use."""

    @abstractmethod
    def set_model(self, reference: ModelReference) -> None:
        """Use another language model from now on."""

    @abstractmethod
    def _forget_model(self) -> None:
        """Forget the model and what was made from it."""

    def _model_to_disk(self, path: Path) -> None:
        copy_model(self.language_model, path)

    def _model_from_disk(self, path: Path) -> None:
        if path.is_dir():
            self._model_reference = path
            self._forget_model()

    def _model_to_bytes(self) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as directory:
            copy_model(self.language_model, Path(directory))
            return {file.name: file.read_bytes() for file in sorted(Path(directory).iterdir())}

    def _model_from_bytes(self, files: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            for name, content in files.items():
                (Path(directory) / Path(name).name).write_bytes(content)
            self.set_model(Path(directory))
        # The directory is gone: from here on the model is known by itself.
        self.language_model.directory = None
        self._model_reference = self.language_model

    def _model_state(self) -> dict[str, Any]:
        """What replaces the model for another process, which opens the same files."""
        if self._model is not None and self._model.directory is not None:
            return {"_model_reference": self._model.directory, "_model": None}
        return {}
