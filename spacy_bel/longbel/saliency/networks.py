"""Language models as functions of their input embeddings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..models.copy_lm import CopyLanguageModel, mention_region


class Network(Protocol):
    """A model whose prompt can be given as embeddings.

    embedding: the table that tokens are looked up in.
    """

    embedding: nn.Embedding

    def log_probability(
        self, embeddings: Tensor, prompt: Sequence[int], name: Sequence[int]
    ) -> Tensor:
        """Log-probability of a name after each of some prompts, (b,).

        embeddings: (b, n, hidden), of the n prompt tokens. prompt, name: token ids, the name
        without the token that ends it.
        """
        ...


def network_of(model: Any) -> Network:
    """The network behind a `LanguageModel`.

    Raises ModelError if it takes no embeddings as its input.
    """
    if isinstance(model, CopyLanguageModel):
        return _CopyNetwork(model)
    inner = getattr(model, "model", None)
    config = getattr(inner, "config", None)
    if hasattr(inner, "get_input_embeddings") and not getattr(config, "is_encoder_decoder", False):
        return _CausalNetwork(inner)
    raise ModelError(
        f"There is no saliency for a {type(model).__name__}: its prompts cannot be given as "
        "embeddings. Explain links of a causal language model (CausalLanguageModel), or of the "
        "default model."
    )


class _CausalNetwork:
    """A causal language model of transformers."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.embedding: nn.Embedding = model.get_input_embeddings()
        known = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in known
        self._keeps_logits = "logits_to_keep" in known

    def log_probability(
        self, embeddings: Tensor, prompt: Sequence[int], name: Sequence[int]
    ) -> Tensor:
        rows = len(embeddings)
        embeddings = _with_name(self.embedding, embeddings, name)
        length = embeddings.shape[1]
        extra: dict[str, Any] = {}
        if self._takes_positions:
            positions = torch.arange(length, device=embeddings.device)
            extra["position_ids"] = positions.expand(rows, length)
        if self._keeps_logits:
            extra["logits_to_keep"] = len(name)
        logits = self.model(
            inputs_embeds=embeddings,
            attention_mask=torch.ones(rows, length, dtype=torch.long, device=embeddings.device),
            use_cache=False,
            **extra,
        ).logits[:, -len(name) :]
        precise = torch.promote_types(logits.dtype, torch.float32)
        return _of_name(torch.log_softmax(logits.to(precise), dim=-1), name)


class _CopyNetwork:
    """The network of the default model.

    Its copy head finds the tokens of the mention by their ids, so that what it owes to them is seen
    only as far as it goes through the states of the network.
    """

    def __init__(self, model: CopyLanguageModel) -> None:
        self.network = model.network
        self.embedding = model.network.tokens

    def log_probability(
        self, embeddings: Tensor, prompt: Sequence[int], name: Sequence[int]
    ) -> Tensor:
        network = self.network
        rows, read = embeddings.shape[:2]
        embeddings = _with_name(self.embedding, embeddings, name)
        length = embeddings.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=embeddings.device).tril()
        if network.config.bidirectional:
            mask[:read, :read] = True
        positions = torch.arange(length, device=embeddings.device)
        states = network.norm(embeddings + network.positions(positions))
        for index, layer in enumerate(network.layers):
            states = layer(states, mask.expand(rows, length, length), None, index)
        start, end = mention_region(prompt, network.config.open_id, network.config.close_id)
        ids = torch.tensor(prompt[start:end], dtype=torch.long, device=embeddings.device)
        ids = ids.expand(rows, end - start)
        keys = network.copy_key(states[:, start:end])
        valid = torch.ones_like(ids, dtype=torch.bool)
        return _of_name(network.log_probs(states[:, -len(name) :], keys, ids, valid), name)


def _with_name(embedding: nn.Embedding, embeddings: Tensor, name: Sequence[int]) -> Tensor:
    """Prompts with the name behind them, but for its last token, which nothing reads."""
    ids = torch.tensor(name[:-1], dtype=torch.long, device=embeddings.device)
    behind = embedding(ids).detach().to(embeddings.dtype)
    return torch.cat([embeddings, behind.expand(len(embeddings), *behind.shape)], dim=1)


def _of_name(log_probabilities: Tensor, name: Sequence[int]) -> Tensor:
    """Sum over the tokens of a name; log_probabilities: (b, tokens, vocabulary)."""
    ids = torch.tensor(name, dtype=torch.long, device=log_probabilities.device)
    return log_probabilities[:, torch.arange(len(name), device=ids.device), ids].sum(-1)
