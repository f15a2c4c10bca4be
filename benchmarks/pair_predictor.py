"""Our cross-encoder as a model of sentence-transformers, which is optional here."""

from __future__ import annotations

import os
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from spacy_bel.crossencoder.scorer import CrossEncoder


class PairPredictor:
    """`CrossEncoder.predict` of sentence-transformers with the weights of one of our encoders.

    Its model reads the logits at the mask of "[CLS] sentence [SEP] mention [MASK] candidate [SEP]";
    tokenising, sorting, batches and padding are its own.
    """

    def __init__(self, encoder: CrossEncoder) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from sentence_transformers.base.modules import Module  # type: ignore[import-not-found]
        from sentence_transformers.cross_encoder import (  # type: ignore[import-not-found]
            CrossEncoder as Peer,
        )

        tokenizer = encoder.tokenizer
        network = encoder.model

        class AtMask(Module):  # type: ignore[misc]
            """Text to the logits at its mask."""

            def __init__(self) -> None:
                super().__init__()
                self.model = network
                self.tokenizer = tokenizer

            def preprocess(self, inputs: list[list[str]], **_: Any) -> dict[str, Any]:
                # Token types are all alike, as the method was published.
                return dict(
                    tokenizer(
                        inputs, padding=True, return_tensors="pt", return_token_type_ids=False
                    )
                )

            def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
                ids = features["input_ids"]
                logits = network(input_ids=ids, attention_mask=features["attention_mask"]).logits
                rows = torch.arange(len(ids))
                places = (ids == tokenizer.mask_token_id).int().argmax(1)
                return {**features, "scores": logits[rows, places]}

            def save(self, *_: Any, **__: Any) -> None:
                raise NotImplementedError

        self._tokenizer = tokenizer
        self._peer = Peer(modules=[AtMask()], device="cpu", activation_fn=torch.nn.Identity())

    @staticmethod
    def installed() -> bool:
        """Whether there is sentence-transformers."""
        return find_spec("sentence_transformers") is not None

    @staticmethod
    def version() -> str:
        """Its version."""
        return metadata.version("sentence-transformers")

    def predict(self, pairs: list[tuple[str, str, str]]) -> np.ndarray[Any, Any]:
        """The logits of each (sentence, mention, candidate), shape (pairs, 2)."""
        mask = self._tokenizer.mask_token
        texts = [[sentence, f"{mention}{mask} {name}"] for sentence, mention, name in pairs]
        found: np.ndarray[Any, Any] = self._peer.predict(texts, show_progress_bar=False)
        return found
