"""Any Hugging Face causal language model behind the decoder's model protocol."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import Cache

from ...errors import ModelError
from ...kb.token_trie import IntArray
from ...memory import is_out_of_memory
from .base import Segment
from .checkpoint import plain_config, released_prompt
from .padded import read_padded
from .ragged import RaggedAttention, RaggedCache
from .static_cache import StaticCache

#: Names under which model configurations state how many positions they can read.
_WINDOW_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "seq_length",
    # Further back than a sliding window a token may not read: nothing longer is read at all.
    "sliding_window",
)
#: Slots between a prompt and a token that is tried behind it, more than windows of 256 have.
_FAR = 300
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
)


class CausalLanguageModel:
    """A Hugging Face causal language model that reads through a `StaticCache`.

    model: the transformers model, in evaluation mode. tokenizer: its tokenizer. directory: where
    both were read from; None for models made in memory. prompt: name of the prompt that it was
    trained on, None if that is not known.
    """

    bidirectional_prompt = False
    counted_prompt_tokens = 0

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        directory: Path | None = None,
        prompt: str | None = None,
    ) -> None:
        self.model = model.eval()
        self.prompt = prompt
        self.tokenizer = tokenizer
        self.directory = directory
        self.device: torch.device = model.device
        config = model.config.get_text_config()
        self.vocab_size = int(config.vocab_size)
        windows = [int(v) for k in _WINDOW_KEYS if (v := getattr(config, k, None))]
        self.max_length = min(windows) if windows else 2048
        self._logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        # On a GPU a call costs more than the padding that it saves.
        self._join_rows = self.device.type != "cpu"
        self._ragged = self._reads_ragged()

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, device: str | None = None, dtype: str | None = None
    ) -> CausalLanguageModel:
        """Read a model from a local directory or, if there is none, a hub id.

        device: "cpu", "cuda", …; the best available if None. dtype: "float32", "bfloat16", …;
        float32 on CPU and the checkpoint's own elsewhere if None. Weights are read from safetensors
        only and remote code is never run. Raises ModelError if the model or tokenizer cannot be
        read.
        """
        directory = Path(path)
        local = directory.is_dir()
        if not local and (directory.is_absolute() or str(path).startswith((".", "~"))):
            raise ModelError(f"There is no model directory '{path}'. Give an existing directory.")
        if local and not any((directory / name).is_file() for name in _TOKENIZER_FILES):
            raise ModelError(
                f"Model directory '{path}' has no tokenizer. Copy the tokenizer files "
                "(tokenizer.json, tokenizer_config.json, …) of the model into it."
            )
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        kind: Any = dtype or ("float32" if target.type == "cpu" else "auto")
        try:
            config = plain_config(directory) if local else None
            options = {} if config is None else {"config": config}
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, **options)
            model, loading = AutoModelForCausalLM.from_pretrained(
                path,
                trust_remote_code=False,
                use_safetensors=True,
                torch_dtype=kind,
                output_loading_info=True,
                **options,
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"Cannot read a causal language model from '{path}': {error} Give a directory with "
                "config.json, safetensors weights and tokenizer files, or a hub id."
            ) from error
        if missing := sorted(loading["missing_keys"]):
            raise ModelError(
                f"The weights in '{path}' lack {len(missing)} of what the model needs, such as "
                f"'{missing[0]}'. Copy the model again; its safetensors files are not whole, or of "
                "another kind of model."
            )
        prompt = None
        if local:
            with suppress(ModelError):  # raised where no prompt is chosen
                prompt = released_prompt(directory)
        return cls(model.to(target), tokenizer, directory if local else None, prompt)

    def save(self, path: str | Path) -> None:
        """Write weights (safetensors) and tokenizer to a directory."""
        self.model.save_pretrained(path, safe_serialization=True)
        self.tokenizer.save_pretrained(path)

    def new_cache(self, rows: int, capacity: int) -> StaticCache:
        """An empty cache for `rows` sequences of up to `capacity` slots."""
        return StaticCache(rows, capacity)

    def decoder_prompt(self, ids: list[int]) -> list[int]:
        """The prompt itself."""
        return ids

    def read(self, segments: Sequence[Segment], cache: StaticCache) -> Tensor:
        """Log-probabilities of the next token; see `LanguageModel.read`."""
        if self._ragged:
            return self.read_ragged(segments, cache)
        return read_padded(self.forward, segments, cache, self.device)

    @torch.no_grad()
    def read_ragged(self, segments: Sequence[Segment], cache: StaticCache) -> Tensor:
        """All segments in one row without padding."""
        view = RaggedCache(cache, segments, self.model.dtype, self.device, join=self._join_rows)
        ends = np.cumsum([len(segment.ids) for segment in segments])
        kept = np.concatenate(
            [
                np.arange(end - segment.keep, end)
                for segment, end in zip(segments, ends, strict=True)
            ]
        )
        keep = torch.from_numpy(kept).to(self.device)
        places = torch.arange(view.tokens, device=self.device)
        with RaggedAttention(view) as mode:
            logits = self.model(
                input_ids=self._joined([segment.ids for segment in segments]),
                position_ids=self._joined([segment.positions for segment in segments]),
                # Who reads what is decided in attention: this mask only keeps models from theirs.
                attention_mask=torch.zeros(
                    1, 1, 1, view.tokens, dtype=self.model.dtype, device=self.device
                ),
                past_key_values=view,
                cache_position=places,
                use_cache=True,
                **({"logits_to_keep": keep} if self._logits_to_keep else {}),
            ).logits[0]
        if not mode.calls:
            raise ModelError("The model computes attention by itself.")
        logits = logits if self._logits_to_keep else logits[keep]
        return torch.log_softmax(logits.float(), dim=-1)

    @torch.no_grad()
    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        mask: Tensor,
        cache: StaticCache,
        rows: slice | Tensor,
        keep: int,
    ) -> Tensor:
        """Segments side by side; see `PaddedForward`."""
        length = mask.shape[-1]
        cache.select(rows, slots, length)
        dtype = self.model.dtype
        bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        bias.masked_fill_(~mask, torch.finfo(dtype).min)
        extra = {"logits_to_keep": keep} if self._logits_to_keep else {}
        logits = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=bias[:, None],
            past_key_values=_CacheAdapter(cache, length - ids.shape[1]),
            cache_position=torch.arange(length - ids.shape[1], length, device=ids.device),
            use_cache=True,
            **extra,
        ).logits
        return torch.log_softmax(logits[:, -keep:].float(), dim=-1)

    def _joined(self, parts: Sequence[IntArray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts).astype(np.int64)).to(self.device)[None]

    def _reads_ragged(self) -> bool:
        """Whether attention can be taken over: found by trying, on a few tokens.

        Some architectures compute it by themselves, or put more into it than a mask. Raises
        ModelError if the model cannot even be read side by side.
        """
        ids = np.arange(6) % min(self.vocab_size, 6)
        first = Segment(0, ids[:5], np.arange(5), np.arange(5), None, 5)
        second = Segment(2, ids[1:4], np.arange(3), np.arange(3), None, 3)
        # Far behind, as tokens of a search may stand: some old attention has windows of slots.
        seen = np.zeros((1, _FAR + 1), bool)
        seen[0, [*range(5), _FAR]] = True
        third = Segment(0, ids[5:], np.array([5]), np.array([_FAR]), seen, 1)
        expected = torch.cat([*map(self._alone, (first.ids, second.ids)), self._alone(ids)[-1:]])

        def right(read: Callable[[list[Segment], StaticCache], Tensor]) -> bool:
            cache = self.new_cache(3, _FAR + 1)
            try:
                found = torch.cat([read([first, second], cache), read([third], cache)])
            except (
                TypeError,
                ValueError,
                RuntimeError,
                AttributeError,
                IndexError,
                ModelError,
            ) as error:
                if is_out_of_memory(error):
                    raise
                return False
            # Not a number where no numbers are meant to be is for the engine to say.
            apart = torch.nan_to_num(found - expected).abs().mean(dim=-1).max()
            # In half precision each of many logits may be off by a tenth; on average they are not.
            tolerance = 1e-3 if self.model.dtype == torch.float32 else 0.2
            return torch.equal(found.isnan(), expected.isnan()) and bool(apart < tolerance)

        if right(self.read_ragged):
            return True
        if right(lambda segments, cache: read_padded(self.forward, segments, cache, self.device)):
            return False
        raise ModelError(
            f"Models of the type '{self.model.config.model_type}' cannot be read through the cache "
            "that names are searched with. Use one of the Llama, Qwen, Mistral, Gemma or GPT types."
        )

    @torch.no_grad()
    def _alone(self, ids: IntArray) -> Tensor:
        """Log-probabilities after every token of a text, without any cache."""
        return torch.log_softmax(self.model(self._joined([ids])).logits[0].float(), dim=-1)


class _CacheAdapter(Cache):
    """Shows a `StaticCache` to transformers models for one forward pass."""

    def __init__(self, cache: StaticCache, past: int) -> None:
        # Not the base class's: it sets up storage of its own, differently in each version.
        self.cache = cache
        self.past = past
        self.layers: list[Any] = []  # transformers 5 looks for sliding windows among them

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        return self.cache.update(key_states, value_states, layer_idx)

    def get_seq_length(self, layer_idx: int | None = 0) -> int:
        return self.past

    def get_mask_sizes(self, cache_position: Any, layer_idx: int = 0) -> tuple[int, int]:
        return self.cache.selected_length, 0

    def get_max_cache_shape(self, *args: Any) -> int | None:
        return None
