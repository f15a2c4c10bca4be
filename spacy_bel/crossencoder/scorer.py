"""Mention–candidate pairs to scores with a transformer encoder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from spacy_bel.errors import ModelError
from spacy_bel.memory import free_memory, is_out_of_memory

from . import files
from .attention import forward_of, longest_input
from .document import Document
from .inputs import Batch, PackedInput, by_length, collate, next_batch
from .layouts import Layout
from .packing import Packer
from .report import PackingReport
from .tokenization import PieceTokenizer

logger = logging.getLogger(__name__)

#: Tokens of one forward pass.
TOKENS_AT_ONCE = 8192

Dtype = Literal["float32", "bfloat16"]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of all pairs.

    logits: for each document and mention an array of shape (candidates, 2), in the order in which
    the candidates were given, whatever order they were read in. report: what packing had to do.
    """

    logits: list[list[FloatArray]]
    report: PackingReport

    @property
    def probabilities(self) -> list[list[FloatArray]]:
        """The probability of label 1 (the candidate is meant), shape (candidates,) for each."""
        return [[_probability(array) for array in document] for document in self.logits]


class CrossEncoder:
    """An encoder with a head of two labels, read at the mask of each pair.

    model: a token classification model of transformers with two labels. tokenizer: its fast
    tokenizer. layout: how pairs are put into inputs. tokens_at_once: the most tokens of a forward
    pass; halved when memory runs out. dtype: the arithmetic; "bfloat16" keeps the
    weights in float32.
    Raises ModelError if the model cannot be used in this layout, SettingsError if the layout does
    not suit it.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        layout: Layout,
        *,
        tokens_at_once: int = TOKENS_AT_ONCE,
        dtype: Dtype = "float32",
    ) -> None:
        if dtype not in ("float32", "bfloat16"):
            raise ModelError(f"dtype is {dtype!r}: use 'float32' or 'bfloat16'.")
        if model.config.num_labels != 2:
            raise ModelError(f"The model has {model.config.num_labels} labels: give one with 2.")
        self.model = model
        self.tokenizer = tokenizer
        self.layout = layout
        self.tokens_at_once = tokens_at_once
        self.dtype = dtype
        self.packer = Packer(PieceTokenizer(tokenizer), layout, longest_input(model))
        self._read = forward_of(model, layout.attention)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        layout: Layout | None = None,
        *,
        device: str | None = None,
        seed: int = 0,
        tokens_at_once: int = TOKENS_AT_ONCE,
        dtype: Dtype = "float32",
    ) -> CrossEncoder:
        """Read a cross-encoder, or an encoder to be trained, from a directory or a hub id.

        layout: of an encoder to be trained; None for that of the checkpoint, or "parallel".
        device: "cpu", "cuda", …; the best available if None. seed: for the head of an encoder that
        has none. Raises ModelError if the model cannot be read without running or unpickling
        anything, or is a checkpoint of another layout.
        """
        layout = files.read_layout(model, layout)
        network, tokenizer = files.load_model(model, seed=seed)
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(
            network.to(target), tokenizer, layout, tokens_at_once=tokens_at_once, dtype=dtype
        )

    def to_disk(self, path: str | Path) -> None:
        """Write a directory that ``from_pretrained`` reads; encoder and head become safetensors."""
        files.write_directory(Path(path), self.model, self.tokenizer, self.layout)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def pack(
        self, documents: Iterable[Document], *, seed: int | None = None
    ) -> tuple[list[PackedInput], PackingReport]:
        """The inputs of documents; see ``Packer.pack``."""
        return self.packer.pack(documents, seed=seed)

    def collate(self, inputs: Sequence[PackedInput]) -> Batch:
        """Inputs in one row, for ``forward``."""
        return collate(inputs, self.layout)

    def forward(self, batch: Batch) -> Tensor:
        """The logits of each pair of a batch, shape (pairs, 2), with gradients where enabled."""
        low = self.dtype == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            logits: Tensor = self._read(self.model, batch)
        return logits[torch.from_numpy(batch.masks).to(logits.device)].float()

    def score(self, documents: Sequence[Document], *, seed: int | None = None) -> Scores:
        """Score every candidate of every mention, without gradients or dropout.

        seed: shuffle the order in which candidates are read; see ``Packer.pack``.
        Raises ModelError if the model gives NaN or infinity, or if memory does not suffice for a
        single input.
        """
        inputs, report = self.pack(documents, seed=seed)
        logits = [
            [np.zeros((len(mention.candidates), 2), np.float32) for mention in document.mentions]
            for document in documents
        ]
        for pairs, found in self._score(by_length(inputs)):
            finite = np.isfinite(found).all(axis=1)
            if not finite.all():
                document, mention, _ = pairs[int(np.flatnonzero(~finite)[0])]
                raise ModelError(
                    "The model gives NaN or infinity for a candidate of "
                    f"{documents[document].mentions[mention].text[:60]!r}: its weights are "
                    'damaged, or need dtype "float32".'
                )
            for (document, mention, candidate), row in zip(pairs.tolist(), found, strict=True):
                logits[document][mention][candidate] = row
        return Scores(logits, report)

    def _score(self, inputs: list[PackedInput]) -> Iterable[tuple[npt.NDArray[Any], FloatArray]]:
        """Pairs and logits, batch by batch; memory that runs out halves the batches to come."""
        at = 0
        while at < len(inputs):
            together = next_batch(inputs, at, self.tokens_at_once)
            batch = self.collate(together)
            try:
                found = self._infer(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(together) == 1:
                    raise ModelError(
                        f"There is too little memory for one input of {len(together[0])} tokens: "
                        "lower max_length or input_tokens of the layout."
                    ) from error
                self.tokens_at_once = min(self.tokens_at_once, batch.ids.size) // 2
            else:
                at += len(together)
                yield batch.pairs, found
                continue
            # Only here, where the failed tensors are no longer held by the error.
            del batch
            free_memory()
            logger.warning("Memory ran out: going on with %d tokens at once.", self.tokens_at_once)

    def _infer(self, batch: Batch) -> FloatArray:
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                return self.forward(batch).cpu().numpy()
        finally:
            self.model.train(training)


def _probability(logits: FloatArray) -> FloatArray:
    """Softmax of label 1 against label 0, shape (candidates, 2) to (candidates,)."""
    difference = (logits[:, 0] - logits[:, 1]).astype(np.float64)
    return (1 / (1 + np.exp(np.clip(difference, -700, 700)))).astype(np.float32)
