"""The small generator of the default pipeline: one Transformer stack with a copy head.

A BERT-style stack (Devlin et al. 2019, post-norm, learned positions) reads a prompt and writes a
concept name. Each next-token distribution mixes the vocabulary with a pointer into the mention
(See et al. 2017, "Get to the point"), which is confined to the tokens between the last ``[`` of the
prompt and the ``]`` that follows: names that occur in the context or in the document memory cannot
be copied by mistake.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from ...errors import ModelError
from .base import Segment
from .padded import read_padded
from .static_cache import StaticCache

ARCHITECTURE = "spacy_bel.copy_lm.v1"


@dataclass(frozen=True)
class CopyConfig:
    """Sizes of the network, the ids of the brackets around the mention, and how prompts are read.

    bidirectional: prompt tokens see the whole prompt instead of what precedes them. prompt,
    length_penalty: settings of `longbel_linker` that suit the weights, taken where it has none.
    """

    vocab_size: int
    open_id: int
    close_id: int
    hidden_size: int = 384
    layers: int = 4
    heads: int = 12
    intermediate_size: int = 1536
    max_length: int = 512
    copy_size: int = 128
    bidirectional: bool = False
    prompt: str | None = None
    length_penalty: float | None = None


class CopyCache(StaticCache):
    """Keys and values of every layer and of the copy head, and the mention of each row's prompt.

    The copy head's keys are stored as one more layer, behind those of the stack.
    """

    def __init__(self, config: CopyConfig, rows: int, capacity: int, device: torch.device) -> None:
        super().__init__(rows, capacity)
        self._config = config
        self._start = torch.zeros(rows, dtype=torch.long, device=device)
        self._width = torch.zeros(rows, dtype=torch.long, device=device)
        self._ids = torch.zeros(rows, 16, dtype=torch.long, device=device)

    def begin(self, row: int, prompt: Sequence[int]) -> None:
        """Find the mention in the prompt that row `row` is about to read."""
        start, end = mention_region(prompt, self._config.open_id, self._config.close_id)
        width = end - start
        if width > self._ids.shape[1]:
            self._ids = F.pad(self._ids, (0, width - self._ids.shape[1]))
        self._start[row], self._width[row] = start, width
        self._ids[row, :width] = torch.tensor(prompt[start:end], dtype=torch.long)

    def move(self, source: int, target: int) -> None:
        """Copy row `source` over row `target`."""
        super().move(source, target)
        for buffer in (self._start, self._width, self._ids):
            buffer[target] = buffer[source]

    def resize(self, rows: int, capacity: int) -> None:
        """Have that many rows and slots; what fits of the old content stays where it was."""
        more = rows - self.rows
        super().resize(rows, capacity)
        self._start, self._width = (
            F.pad(self._start, (0, more)),
            F.pad(self._width, (0, more)),
        )
        self._ids = F.pad(self._ids, (0, 0, 0, more))

    def mention(self, rows: slice | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Slots, token ids and validity (r, m) of the mention tokens of the given rows."""
        width = self._width[rows][:, None]
        offsets = torch.arange(int(width.max()), device=width.device)
        valid = offsets < width
        slots = torch.where(valid, self._start[rows][:, None] + offsets, 0)
        return slots, self._ids[rows, : len(offsets)], valid


def mention_region(prompt: Sequence[int], open_id: int, close_id: int) -> tuple[int, int]:
    """Start and end of the tokens after the last ``[`` of a prompt up to the ``]`` that follows.

    (0, 0) if there is no closed pair of brackets.
    """
    for start in range(len(prompt), 0, -1):
        if prompt[start - 1] == open_id:
            for end in range(start, len(prompt)):
                if prompt[end] == close_id:
                    return start, end
            break
    return 0, 0


class _Layer(nn.Module):
    def __init__(self, config: CopyConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.heads
        self.qkv = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.attention_norm = nn.LayerNorm(size, eps=1e-12)
        self.up = nn.Linear(size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, size)
        self.output_norm = nn.LayerNorm(size, eps=1e-12)

    def forward(
        self, states: Tensor, mask: Tensor, cache: StaticCache | None, index: int
    ) -> Tensor:
        rows, length, size = states.shape
        split = self.qkv(states).view(rows, length, 3, self.heads, size // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = cache.update(key, value, index)
        if self.training:
            # PyTorch's fused kernel is slow backwards on a CPU when sequences are short.
            scores = (query @ key.transpose(2, 3)) * query.shape[-1] ** -0.5
            read = scores.masked_fill(~mask[:, None], -1e4).softmax(-1).to(value.dtype) @ value
        else:
            read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None])
        read = read.transpose(1, 2).reshape(rows, length, size)
        states = self.attention_norm(states + self.out(read))
        return self.output_norm(states + self.down(F.gelu(self.up(states))))


class CopyNetwork(nn.Module):
    """The weights: embeddings (tied to the output), the stack and the copy head."""

    def __init__(self, config: CopyConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.tokens = nn.Embedding(config.vocab_size, size)
        self.positions = nn.Embedding(config.max_length, size)
        self.norm = nn.LayerNorm(size, eps=1e-12)
        self.layers = nn.ModuleList([_Layer(config) for _ in range(config.layers)])
        self.transform = nn.Linear(size, size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.copy_key = nn.Linear(size, config.copy_size)
        self.copy_query = nn.Linear(size, config.copy_size)
        self.gate = nn.Linear(size, 1)

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor,
        cache: StaticCache | None = None,
    ) -> Tensor:
        """States (r, q, hidden) of tokens (r, q) that may attend to slots mask (r, q, n)."""
        states = self.norm(self.tokens(ids) + self.positions(positions))
        for index, layer in enumerate(self.layers):
            states = layer(states, mask, cache, index)
        return states

    def log_probs(self, states: Tensor, keys: Tensor, ids: Tensor, valid: Tensor) -> Tensor:
        """Log-probabilities (r, k, vocab) of the token after each of the states (r, k, hidden).

        keys (r, m, copy), ids (r, m) and valid (r, m) describe the mention tokens of each row; a
        row without any reads the vocabulary alone.
        """
        logits = F.linear(self.transform(states), self.tokens.weight, self.bias)
        vocabulary = F.log_softmax(logits.float(), dim=-1)
        if not ids.shape[1]:
            return vocabulary
        gate = self.gate(states).float()
        has_mention = valid.any(1)[:, None, None]
        vocabulary = vocabulary + torch.where(has_mention, F.logsigmoid(gate), 0.0)
        pointer = (self.copy_query(states) @ keys.transpose(1, 2)).float()
        pointer = pointer / self.config.copy_size**0.5
        # Finite instead of -inf: keeps rows without mention free of NaN, also in the backward pass.
        pointer = pointer.masked_fill(~valid[:, None], -1e4)
        pointer = F.log_softmax(pointer, dim=-1) + F.logsigmoid(-gate)
        # A token that occurs twice in the mention collects the mass of both positions.
        same = (ids[:, :, None] == ids[:, None, :]) & valid[:, None, :] & has_mention
        pointer = pointer[:, :, None, :].masked_fill(~same[:, None], -1e4).logsumexp(-1)
        index = ids[:, None].expand(-1, states.shape[1], -1)
        mixed = torch.logaddexp(vocabulary.gather(2, index), pointer)
        return vocabulary.scatter(2, index, mixed)


class CopyLanguageModel:
    """A copy network with its tokenizer, as the constrained decoder calls it."""

    counted_prompt_tokens = 0

    def __init__(
        self,
        network: CopyNetwork,
        tokenizer: Any,
        directory: Path | None = None,
    ) -> None:
        self.network = network.eval()
        self.tokenizer = tokenizer
        self.directory = directory
        self.max_length = network.config.max_length
        self.vocab_size = network.config.vocab_size
        self.bidirectional_prompt = network.config.bidirectional
        self.prompt = network.config.prompt
        self.length_penalty = network.config.length_penalty

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.bias.device

    def new_cache(self, rows: int, capacity: int) -> CopyCache:
        """An empty cache for that many prompts, each with room for ``capacity`` tokens."""
        return CopyCache(self.network.config, rows, capacity, self.device)

    def decoder_prompt(self, ids: list[int]) -> list[int]:
        """The prompt itself."""
        return ids

    def read(self, segments: Sequence[Segment], cache: CopyCache) -> Tensor:
        """Log-probabilities of the next token; see `LanguageModel.read`."""
        return read_padded(self.forward, segments, cache, self.device)

    @torch.no_grad()
    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        mask: Tensor,
        cache: CopyCache,
        rows: slice | Tensor,
        keep: int,
    ) -> Tensor:
        """Read tokens into cache rows; log-probabilities (r, keep, vocab) after the last ``keep``.

        ids, positions, slots: int64 (r, q), the tokens, their positions and the slots they fill.
        mask: bool (r, q, n), the first n slots that each token attends to, its own among them.
        """
        length = mask.shape[-1]
        cache.select(rows, slots, length)
        states = self.network(ids, positions, mask, cache)
        keys = self.network.copy_key(states)[:, None]
        keys, _ = cache.update(keys, keys[..., :1], self.network.config.layers)
        where, mention_ids, valid = cache.mention(rows)
        # While a prompt is read in parts, its mention may lie ahead of the slots read so far.
        where = where.clamp(max=length - 1)[..., None].expand(-1, -1, keys.shape[-1])
        return self.network.log_probs(
            states[:, -keep:], keys[:, 0].gather(1, where), mention_ids, valid
        )

    def save(self, path: str | Path) -> None:
        """Write config.json, model.safetensors (float16) and the tokenizer files to a directory."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        config = {"architecture": ARCHITECTURE, **asdict(self.network.config)}
        (path / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        weights = {k: v.half().contiguous() for k, v in self.network.state_dict().items()}
        (path / "model.safetensors").write_bytes(serialise(weights, metadata={"format": "pt"}))
        self.tokenizer.save_pretrained(path)

    @classmethod
    def from_directory(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> CopyLanguageModel:
        """Load a directory that ``save`` wrote.

        Raises ModelError if a file is missing or does not belong to this architecture.
        """
        path = Path(path)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            if not (path / name).is_file():
                raise ModelError(f"{path} has no {name}: give the directory of a saved model.")
        try:
            values = json.loads((path / "config.json").read_text(encoding="utf-8"))
            architecture = values.pop("architecture", None)
            if architecture != ARCHITECTURE:
                raise ModelError(
                    f"{path} holds a model of architecture {architecture!r}, not {ARCHITECTURE!r}: "
                    "load it with the class of that architecture."
                )
            config = CopyConfig(**values)
        except (ValueError, TypeError, AttributeError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(
                f"{path / 'config.json'} is damaged ({error}): restore the model directory."
            ) from error
        network = CopyNetwork(config)
        try:
            network.load_state_dict(load_file(path / "model.safetensors"))
            tokenizer = PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
        except (SafetensorError, RuntimeError, OSError, ValueError) as error:
            raise ModelError(
                f"The weights or tokenizer in {path} cannot be read ({error}): "
                "restore the model directory."
            ) from error
        return cls(network.to(device=device, dtype=dtype), tokenizer, path)
