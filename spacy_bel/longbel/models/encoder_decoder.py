"""Encoder-decoder models of Hugging Face behind the engine's model protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

from ...errors import ModelError
from ...pretrained import load_pretrained
from .base import Segment
from .cross_cache import CrossCache
from .decoders import Attention, Module, build_decoder, first_position
from .opening import added_tokens, decoder_opening
from .padded import read_padded

#: Names under which configurations state how many positions can be read.
_WINDOW_KEYS = ("max_position_embeddings", "n_positions")
#: Window of models with relative positions, which have no limit of their own.
_RELATIVE_WINDOW = 1024


class EncoderDecoderLanguageModel:
    """BART, mBART, T5, mT5, or two BERT-type models joined, reading through a `CrossCache`.

    The encoder reads the prompt, the decoder writes the name. Prompts are encoded whole, so none
    is read in part (`bidirectional_prompt`); the decoder begins with `decoder_prompt`.

    Of the generation configuration only the tokens with which the decoder begins are used
    (decoder_start_token_id, forced_bos_token_id): sampling, temperatures, penalties for repetition,
    length limits and tokens that are forced or suppressed elsewhere are not.

    model: the transformers model, put into evaluation mode. tokenizer: its tokenizer. directory:
    where both can be copied from; None for models made in memory or read from pickled weights,
    which `save` writes as safetensors. opening: token ids with which the decoder begins; see
    `decoder_opening` for the default.

    counted_prompt_tokens: tokens of the opening that generation would have written, and which
    therefore count in the length by which log-probabilities are divided (each with probability 1).
    """

    bidirectional_prompt = True

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        directory: Path | None = None,
        *,
        opening: Sequence[int] | None = None,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.directory = directory
        self.device: torch.device = model.device
        self._encoder = model.get_encoder()
        self._decoder = build_decoder(model)
        self.vocab_size = int(model.get_output_embeddings().out_features)
        self.opening = list(decoder_opening(model, tokenizer) if opening is None else opening)
        if not self.opening:
            raise ModelError("`opening` needs one token at least: the one the decoder starts with.")
        self.counted_prompt_tokens = len(self.opening) - 1
        # What the tokenizer puts behind a text: prompts come without, encoders are trained with it.
        self._closing = added_tokens(tokenizer)[1]
        windows = map(_window, (self._encoder.config, model.get_decoder().config))
        self.max_length = min(windows) - len(self._closing)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, device: str | None = None, dtype: str | None = None
    ) -> EncoderDecoderLanguageModel:
        """Read a model from a local directory or, if there is none, a hub id.

        device, dtype: see `CausalLanguageModel.from_pretrained`. Weights are read from safetensors,
        or from a pytorch_model.bin as weights only; remote code is never run. Raises ModelError if
        the model or tokenizer cannot be read, or lacks weights.
        """
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind: Any = dtype or ("float32" if target.type == "cpu" else "auto")
        try:
            model, info, tokenizer = load_pretrained(AutoModelForSeq2SeqLM, path, torch_dtype=kind)
        except ModelError:
            raise
        except Exception as error:  # transformers raises many classes
            raise ModelError(
                f"Cannot read an encoder-decoder model from '{path}': {error} Give a directory "
                "with config.json, safetensors weights and tokenizer files, or a hub id."
            ) from error
        if info["missing_keys"]:
            missing = ", ".join(sorted(info["missing_keys"])[:3])
            raise ModelError(
                f"The weights in '{path}' lack {len(info['missing_keys'])} of the model's: "
                f"{missing}. Copy the model again, or give one that was trained to generate."
            )
        directory = Path(path)
        # Pickled weights are not copied with pipelines: those models are written anew.
        kept = directory.is_dir() and any(directory.glob("*.safetensors"))
        return cls(model.to(target), tokenizer, directory if kept else None)

    def save(self, path: str | Path) -> None:
        """Write weights (safetensors) and tokenizer to a directory."""
        self.model.save_pretrained(path, safe_serialization=True)
        self.tokenizer.save_pretrained(path)

    def decoder_prompt(self, ids: list[int]) -> list[int]:
        """Token ids that the decoder reads before it writes a name, whatever the prompt."""
        return list(self.opening)

    def new_cache(self, rows: int, capacity: int) -> CrossCache:
        """An empty cache for `rows` sequences of up to `capacity` slots."""
        return CrossCache(rows, capacity, self.device, self._closing)

    def read(self, segments: Sequence[Segment], cache: CrossCache) -> Tensor:
        """Log-probabilities of the next token; see `LanguageModel.read`.

        Segments are those of the decoder: `decoder_prompt`, then what a search writes.
        """
        return read_padded(self.forward, segments, cache, self.device)

    @torch.no_grad()
    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        mask: Tensor,
        cache: CrossCache,
        rows: slice | Tensor,
        keep: int,
    ) -> Tensor:
        """Segments side by side; see `PaddedForward`."""
        cache.encode_pending(self._encode)
        cache.select(rows, slots, mask.shape[-1])
        decoder = self._decoder
        distance = positions[:, :, None] - cache.place(positions)[:, None]
        # The opening, too, is read from left to right.
        readable = (mask & (distance >= 0))[:, None]
        if decoder.bias is not None:
            bias = decoder.bias(distance)
            readable = bias.masked_fill(~readable, torch.finfo(bias.dtype).min)
        states = decoder.embed(ids, positions)
        for index, layer in enumerate(decoder.layers):
            parts: list[Module] = [
                partial(_read_own, layer.own, cache, index, readable),
                partial(_read_source, layer.cross, cache, index),
                layer.feed_forward,
            ]
            for part, norm in zip(parts, layer.norms, strict=True):
                if decoder.norm_first:
                    states = states + part(norm(states))
                else:
                    states = norm(states + part(states))
        return torch.log_softmax(decoder.output(states[:, -keep:]).float(), dim=-1)

    def _encode(self, ids: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of what every layer of the decoder reads of prompts (b, s)."""
        states = self._decoder.source(self._encoder(input_ids=ids, attention_mask=mask)[0])
        return [layer.cross.project(states) for layer in self._decoder.layers]


def _read_own(
    attention: Attention, cache: CrossCache, layer: int, mask: Tensor, states: Tensor
) -> Tensor:
    keys, values = cache.update(*attention.project(states), layer)
    return attention.read(states, keys, values, mask)


def _read_source(attention: Attention, cache: CrossCache, layer: int, states: Tensor) -> Tensor:
    return attention.read(states, *cache.source(layer), cache.source_mask())


def _window(config: Any) -> int:
    """Number of tokens that an encoder or decoder can read."""
    limits = [int(value) for key in _WINDOW_KEYS if (value := getattr(config, key, None))]
    if not limits:
        return _RELATIVE_WINDOW
    return min(limits) - first_position(config)
