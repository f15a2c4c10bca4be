"""The model of a member of an ensemble that has one of its own."""

from __future__ import annotations

from typing import Any

from .models.base import LanguageModel
from .models.holder import LanguageModelHolder
from .models.loading import ModelReference, resolve_model


class MemberModel(LanguageModelHolder):
    """A language model beside that of the component, loaded on first use.

    reference, device, dtype: see `resolve_model`.
    """

    def __init__(self, reference: ModelReference, device: str | None, dtype: str | None) -> None:
        self._model_reference = reference
        self._model: LanguageModel | None = None
        self._options = {"device": device, "dtype": dtype}

    @property
    def language_model(self) -> LanguageModel:
        """The language model, loaded on first use."""
        if self._model is None:
            self._model = resolve_model(self._model_reference, **self._options)
        return self._model

    def set_model(self, reference: ModelReference) -> None:
        """Use another language model from now on."""
        # At once: the files may be there for a moment only.
        self._model = resolve_model(reference, **self._options)
        self._model_reference = reference

    def _forget_model(self) -> None:
        self._model = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **self._model_state()}
