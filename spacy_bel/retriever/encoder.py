"""Strings to vectors with a transformer encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from spacy_bel.errors import ModelError
from spacy_bel.retriever import encoder_files
from spacy_bel.retriever.presets import EncoderSettings

#: Tokens of one forward pass in ``encode``.
TOKENS_AT_ONCE = 2048
_FEWEST_TOKENS = 8

Dtype = Literal["float32", "bfloat16"]


class Encoder:
    """A transformer that gives one vector for each string.

    model: a transformers encoder. tokenizer: its tokenizer. settings: from string to vector.
    dtype: the arithmetic of ``encode``; "bfloat16" keeps the weights in float32.
    """

    def __init__(
        self, model: Any, tokenizer: Any, settings: EncoderSettings, *, dtype: Dtype = "float32"
    ) -> None:
        if dtype not in ("float32", "bfloat16"):
            raise ModelError(f"dtype is {dtype!r}: use 'float32' or 'bfloat16'.")
        longest = _longest(model.config)
        if settings.max_length > longest:
            raise ModelError(
                f"max_length is {settings.max_length}, but the model reads at most {longest} "
                "tokens: give a smaller max_length."
            )
        self.model = model
        self.tokenizer = tokenizer
        self.settings = settings
        self.dtype = dtype

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        preset: str | None = None,
        device: str | None = None,
        dtype: Dtype | None = None,
        **overrides: Any,
    ) -> Encoder:
        """Read an encoder from a local directory or, if there is none, a hub id.

        preset: a name of ``presets.PRESETS``, or "sentence-transformers" to insist on what the
            directory says. Without, a directory of sentence-transformers or ``to_disk`` is asked,
            then what is known of a published model; else mean pooling, normalised, 128 tokens.
        device: "cpu", "cuda", …; the best available if None.
        dtype: the arithmetic of ``encode``, "float32" if None.
        overrides: fields of ``EncoderSettings``, stronger than everything else; None is no
            override.
        Raises ModelError if the model cannot be read without running or unpickling anything.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        settings, weights = encoder_files.read_settings(model, preset, given)
        network, tokenizer = encoder_files.load_model(weights, pooler=settings.pooling == "pooler")
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(network.to(target), tokenizer, settings, dtype=dtype or "float32")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.model.config.hidden_size)

    @property
    def ignores_case(self) -> bool:
        """Whether strings that differ only in case get the same vector."""
        cased, lower = self.tokenize(["ABC Xyz", "abc xyz"])
        return cased == lower

    @property
    def fingerprint(self) -> str:
        """The sha256 of weights, tokenizer and settings; taken anew each time, in about a second.

        The order of the weights does not matter, nor does a pooling layer that is not used.
        """
        digest = hashlib.sha256()
        state = self.model.state_dict()
        for name in sorted(state):
            if name.startswith("pooler.") and self.settings.pooling != "pooler":
                continue
            tensor = state[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        digest.update(self._tokenizer_content().encode("utf-8"))
        digest.update(json.dumps(asdict(self.settings), sort_keys=True).encode("ascii"))
        return digest.hexdigest()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each string, special ones included, cut to ``max_length``."""
        if not texts:
            return []
        strings = [text.lower() for text in texts] if self.settings.lower_case else list(texts)
        # Rust strings cannot hold a lone surrogate.
        strings = [s.encode("utf-8", "replace").decode("utf-8") for s in strings]
        return self.tokenizer(
            strings,
            truncation=True,
            max_length=self.settings.max_length,
            return_attention_mask=False,
        )["input_ids"]

    def embed(self, texts: Sequence[str]) -> Tensor:
        """One vector for each string, shape (texts, width), with gradients where enabled."""
        return self.embed_tokens(self.tokenize(texts))

    def embed_tokens(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """One vector for each list that ``tokenize`` gave, all in one forward pass."""
        if not len(tokens):
            return torch.zeros(0, self.width, device=self.device)
        settings = self.settings
        lengths = torch.tensor([len(ids) for ids in tokens])
        width = settings.max_length if settings.padding == "max_length" else int(lengths.max())
        ids = torch.full((len(tokens), width), self.tokenizer.pad_token_id)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        real = (torch.arange(width)[None] < lengths[:, None]).to(self.device)
        seen = real if settings.mask_padding else torch.ones_like(real)
        output = self.model(input_ids=ids.to(self.device), attention_mask=seen.long())
        vectors = _pool(output, seen, settings.pooling).float()
        return torch.nn.functional.normalize(vectors, dim=-1) if settings.normalize else vectors

    def encode(self, texts: Sequence[str], *, progress: bool = False) -> np.ndarray:
        """One vector for each string, float32, shape (texts, width); no gradients, no dropout.

        Strings of the same tokens are embedded once and get the same vector; the order is kept.
        Raises ModelError if the model gives NaN or infinity for a string.
        """
        tokens = [tuple(ids) for ids in self.tokenize(texts)]
        order = sorted(dict.fromkeys(tokens), key=lambda ids: (len(ids), ids))
        row_of = {ids: row for row, ids in enumerate(order)}
        vectors = np.empty((len(order), self.width), np.float32)
        lengths = np.array([len(ids) for ids in order], np.int64)
        with tqdm(
            total=len(order), desc="Embedding", unit="name", disable=None if progress else True
        ) as bar:
            for start, end in self.batches(lengths):
                vectors[start:end] = found = self.encode_tokens(order[start:end])
                check_finite(found, partial(_text_of, texts, tokens, order, start))
                bar.update(end - start)
        return vectors[[row_of[ids] for ids in tokens]]

    def batches(self, lengths: np.ndarray) -> Iterator[tuple[int, int]]:
        """Cut strings in order of their length (in tokens) into passes of ``TOKENS_AT_ONCE``.

        Each pass has strings of one length, so that nothing is padded and a vector does not depend
        on what it was embedded with.
        """
        fixed = self.settings.max_length if self.settings.padding == "max_length" else 0
        borders = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
        if fixed:
            borders = [0, len(lengths)]
        for first, last in pairwise(borders):
            if first < last:
                rows = max(1, TOKENS_AT_ONCE // (fixed or int(lengths[first])))
                for start in range(first, last, rows):
                    yield start, min(start + rows, last)

    def encode_tokens(self, tokens: Sequence[Sequence[int]]) -> np.ndarray:
        """Vectors (float32) of one batch, without gradients or dropout, in ``dtype`` arithmetic."""
        # Matrices of very few rows are multiplied by other code, whose last digits differ.
        rows = len(tokens)
        tokens = [*tokens, *[tokens[0]] * max(0, -(-_FEWEST_TOKENS // len(tokens[0])) - rows)]
        training = self.model.training
        self.model.eval()
        arithmetic: Any = nullcontext()
        if self.dtype == "bfloat16":
            arithmetic = torch.autocast(self.device.type, torch.bfloat16)
        try:
            with torch.inference_mode(), arithmetic:
                return self.embed_tokens(tokens)[:rows].float().cpu().numpy()
        finally:
            self.model.train(training)

    def to_disk(self, path: str | Path) -> None:
        """Write a directory that ``from_pretrained`` and sentence-transformers read.

        Weights become safetensors. sentence-transformers masks padding and has no pooling layer of
        the model, so that CODER's vectors come only from ``from_pretrained``.
        """
        encoder_files.write_directory(Path(path), self.model, self.tokenizer, self.settings)

    def _tokenizer_content(self) -> str:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            vocabulary = sorted(self.tokenizer.get_vocab().items())
            return json.dumps([type(self.tokenizer).__name__, vocabulary])
        content = json.loads(backend.to_str())
        for transient in ("truncation", "padding"):  # left behind by the last call
            content.pop(transient, None)
        return json.dumps(content, sort_keys=True)


def check_finite(vectors: np.ndarray, text_of: Callable[[int], str]) -> None:
    """Raise ModelError if a vector holds NaN or infinity, with the string of its row."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        text = text_of(int(np.flatnonzero(~finite)[0]))
        shown = text if len(text) <= 60 else f"{text[:60]}…"
        raise ModelError(
            f"The model gives NaN or infinity for {shown!r}: its weights are damaged, or need "
            'dtype "float32".'
        )


def _text_of(
    texts: Sequence[str],
    tokens: list[tuple[int, ...]],
    order: list[tuple[int, ...]],
    at: int,
    i: int,
) -> str:
    return texts[tokens.index(order[at + i])]


def _pool(output: Any, seen: Tensor, pooling: str) -> Tensor:
    if pooling == "pooler":
        if getattr(output, "pooler_output", None) is None:
            raise ModelError('The model has no pooling layer: use pooling="cls" or "mean".')
        return output.pooler_output
    hidden = output.last_hidden_state
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "mean_all":
        return hidden.float().mean(1)
    weights = seen[..., None].float()
    return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)


def _longest(config: Any) -> int:
    """How many tokens a model reads at most."""
    longest = getattr(config, "max_position_embeddings", None)
    if longest is None or longest < 0:
        return 1 << 30
    # The RoBERTa family numbers positions from behind its padding token.
    offset = config.pad_token_id + 1 if "roberta" in config.model_type else 0
    return int(longest) - offset
