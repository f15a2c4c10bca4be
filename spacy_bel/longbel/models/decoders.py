"""Decoders of encoder-decoder models, read layer by layer from their own weights.

The decoders of transformers take neither a position nor a set of readable slots for every token,
and keep keys and values each in their own way. All of them compute the same, so they are described
here by their modules: an embedding, layers of self-attention, cross-attention and feed-forward
network, and an output. The names of these modules are those of the weights in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import ModelError

Module = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Attention:
    """Projections of one attention. scale: factor of the products of queries and keys."""

    query: Module
    key: Module
    value: Module
    out: Module
    heads: int
    scale: float | None = None

    def project(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (r, heads, n, size) of states (r, n, hidden)."""
        return self._split(self.key(states)), self._split(self.value(states))

    def read(self, states: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """What states (r, q, hidden) read of keys and values.

        mask: broadcasts to (r, heads, q, n); bool, or what is added to the products.
        """
        query = self._split(self.query(states))
        read = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=self.scale)
        return self.out(read.transpose(1, 2).flatten(2))

    def _split(self, states: Tensor) -> Tensor:
        rows, length, _ = states.shape
        return states.view(rows, length, self.heads, -1).transpose(1, 2)


@dataclass(frozen=True)
class Layer:
    """One layer: three parts, each with its norm, in the order in which states pass them."""

    own: Attention
    cross: Attention
    feed_forward: Module
    norms: tuple[Module, Module, Module]


@dataclass(frozen=True)
class Decoder:
    """A decoder by its modules.

    embed: states (r, q, hidden) of ids and positions (r, q). norm_first: norms stand before the
    parts of a layer, not behind the sums. output: logits of the last layer's states. bias: added to
    the products of self-attention, (r, heads, q, n) for the distances (r, q, n) of tokens to the
    slots they read; None if positions are embedded. source: what is made of the encoder's states.
    """

    embed: Callable[[Tensor, Tensor], Tensor]
    layers: tuple[Layer, ...]
    output: Module
    norm_first: bool
    bias: Module | None = None
    source: Module = lambda states: states


def build_decoder(model: Any) -> Decoder:
    """The decoder of a BART, mBART, T5 or mT5 model, or of one made of two BERT-type models.

    Raises ModelError for any other.
    """
    kind = model.config.model_type
    if kind in ("bart", "mbart"):
        return _bart(model, norm_first=kind == "mbart")
    if kind in ("t5", "mt5"):
        return _t5(model)
    if kind == "encoder-decoder" and model.decoder.config.model_type in _BERT_TYPES:
        return _bert(model)
    if kind == "encoder-decoder":
        kind = f"{kind} with a decoder of type {model.decoder.config.model_type}"
    raise ModelError(
        f"Encoder-decoder models of type '{kind}' are not supported. Use BART, mBART, T5, mT5, or "
        "an EncoderDecoderModel with a decoder of BERT or RoBERTa type."
    )


def _bart(model: Any, *, norm_first: bool) -> Decoder:
    stack = model.get_decoder()
    positions = stack.embed_positions

    def embed(ids: Tensor, places: Tensor) -> Tensor:
        at = F.embedding(places + positions.offset, positions.weight)
        return stack.layernorm_embedding(stack.embed_tokens(ids) + at)

    def attention(part: Any) -> Attention:
        return Attention(part.q_proj, part.k_proj, part.v_proj, part.out_proj, part.num_heads)

    def layer(part: Any) -> Layer:
        return Layer(
            attention(part.self_attn),
            attention(part.encoder_attn),
            lambda states: part.fc2(part.activation_fn(part.fc1(states))),
            (part.self_attn_layer_norm, part.encoder_attn_layer_norm, part.final_layer_norm),
        )

    def output(states: Tensor) -> Tensor:
        states = stack.layer_norm(states) if norm_first else states
        return model.lm_head(states) + model.final_logits_bias

    return Decoder(embed, tuple(map(layer, stack.layers)), output, norm_first)


def _t5(model: Any) -> Decoder:
    stack, config = model.get_decoder(), model.config
    first = stack.block[0].layer[0].SelfAttention
    # Beyond this distance all are in one bucket.
    distances = torch.arange(config.relative_attention_max_distance + 1)
    buckets = first._relative_position_bucket(
        -distances,
        bidirectional=False,
        num_buckets=config.relative_attention_num_buckets,
        max_distance=config.relative_attention_max_distance,
    ).to(model.device)

    def bias(distance: Tensor) -> Tensor:
        near = distance.clamp(0, len(buckets) - 1)
        return first.relative_attention_bias(buckets[near]).permute(0, 3, 1, 2)

    def attention(part: Any) -> Attention:
        return Attention(part.q, part.k, part.v, part.o, part.n_heads, scale=1.0)

    def layer(block: Any) -> Layer:
        own, cross, feed_forward = block.layer
        return Layer(
            attention(own.SelfAttention),
            attention(cross.EncDecAttention),
            feed_forward.DenseReluDense,
            (own.layer_norm, cross.layer_norm, feed_forward.layer_norm),
        )

    scaled = getattr(config, "scale_decoder_outputs", config.tie_word_embeddings)
    factor = config.d_model**-0.5 if scaled else 1.0
    return Decoder(
        lambda ids, places: stack.embed_tokens(ids),
        tuple(map(layer, stack.block)),
        lambda states: model.lm_head(stack.final_layer_norm(states) * factor),
        norm_first=True,
        bias=bias,
    )


#: Types of models that are built like BERT; whether positions begin behind the padding token's id.
_BERT_TYPES = {"bert": False, "roberta": True, "camembert": True, "xlm-roberta": True}


def first_position(config: Any) -> int:
    """Index of the first token's embedding among those of positions, for models of BERT's kind."""
    return int(config.pad_token_id) + 1 if _BERT_TYPES.get(config.model_type) else 0


def _bert(model: Any) -> Decoder:
    decoder = model.decoder
    stack, config = decoder.base_model, decoder.config
    if getattr(config, "position_embedding_type", None) not in (None, "absolute"):
        raise ModelError(
            "The decoder embeds relative positions. Use one whose position_embedding_type is "
            "'absolute'."
        )
    offset = first_position(config)

    def attention(part: Any) -> Attention:
        modules = part.self.query, part.self.key, part.self.value, part.output.dense
        return Attention(*modules, config.num_attention_heads)

    def layer(part: Any) -> Layer:
        return Layer(
            attention(part.attention),
            attention(part.crossattention),
            lambda states: part.output.dense(part.intermediate(states)),
            (
                part.attention.output.LayerNorm,
                part.crossattention.output.LayerNorm,
                part.output.LayerNorm,
            ),
        )

    described = Decoder(
        lambda ids, places: stack.embeddings(input_ids=ids, position_ids=places + offset),
        tuple(map(layer, stack.encoder.layer)),
        decoder.cls if hasattr(decoder, "cls") else decoder.lm_head,
        norm_first=False,
    )
    projection = getattr(model, "enc_to_dec_proj", None)
    return described if projection is None else replace(described, source=projection)
