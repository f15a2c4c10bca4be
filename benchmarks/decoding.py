"""Constrained decoding beside the plain way: mentions per second, and whether results agree.

    python -m benchmarks.decoding [--prompt long] [--documents 16] [--levers]
    python -m benchmarks.decoding --corpus craft --documents 1 --naive-mentions 2

Both ways link the same documents to the same names with the same random Llama (speed and agreement
need no trained weights), the same prompts, beams and precision. The plain way is
`benchmarks/naive.py`: `generate` with a nested-dict trie, a batch of the next mention of eight
documents. The limit is the time that plain forward passes over rows of 320 tokens take for as many
tokens as had to be read. --levers leaves out one lever after the other; --dtype bfloat16 compares
with float32, too. Data: the NCBI Disease test documents and MEDIC, or CRAFT articles and UBERON, of
the directory that SPACY_BEL_DATA or --data names.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.naive import link_documents, nested_trie
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.reading import read_documents
from spacy_bel.kb import KnowledgeBase
from spacy_bel.kb.readers import read
from spacy_bel.longbel.document import Document, Mention, Passage
from spacy_bel.longbel.engine import Engine
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.name_trie import NameTrie
from spacy_bel.longbel.prompts import PROMPTS, Prompt, get_prompt
from spacy_bel.longbel.search import Hypothesis
from spacy_bel.longbel.tokenization import PromptTokenizer

#: Log-likelihoods per token that are closer than this count as a tie.
TIE = 1e-4
#: Where documents and names lie in the data directory, and the format of the names.
CORPORA = {
    "ncbi": ("corpora/ncbi-disease/NCBItestset_corpus.txt", "kb/medic/*.txt.gz", "medic"),
    "craft": ("corpora/craft/UBERON/*.xml", "kb/obo/UBERON.obo.gz", "obo"),
}
#: An article has so many mentions at least.
_ENOUGH = 30
#: What is left out in turn, by the name of the lever.
LEVERS: dict[str, dict[str, Any]] = {
    "reading forced tokens ahead": {"read_ahead": False},
    "documents side by side": {"batch_size": 1},
    "what was read stays in the cache": {"reuse_prefix": False},
    "rows without padding": {"ragged": False},
}

Names = list[list[list[tuple[str, float]]]]
Found = list[list[list[Hypothesis]]]
Figures = dict[str, Any]


def train_tokenizer(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with the brackets of the prompts as atomic tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<SEP>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        sep_token="<SEP>",
        pad_token="</s>",
        additional_special_tokens=["[", "]", "{", "}"],
    )


def random_llama(vocabulary: int, layers: int, width: int, window: int = 4096) -> LlamaForCausalLM:
    """A Llama with random weights."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=width * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            num_key_value_heads=width // 64,
            max_position_embeddings=window,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    ).eval()


def to_document(
    record: CorpusDocument, groups: tuple[str, ...], mentions: int | None = None
) -> Document:
    """A corpus record as the engine reads it; sentences end at full stops.

    groups: of all mentions. mentions: only so many, the first ones.
    """
    passages = tuple(Passage(start, record.text[start:end]) for start, end in record.passages)
    spans = {(a.start, a.end): record.text[a.start : a.end] for a in record.annotations}
    found = [Mention(s, e, text, groups[0], groups) for (s, e), text in sorted(spans.items())]
    inside = {at for mention in found for at in range(mention.start + 1, mention.end)}
    sentences = []
    for passage in passages:
        start = passage.start
        for i, character in enumerate(passage.text):
            at = passage.start + i + 1
            ends = character == "." and passage.text[i + 1 : i + 2] in ("", " ", "\n")
            if (ends and at not in inside) or at == passage.end:
                sentences.append((start, at))
                start = at + 1
    return Document(passages, tuple(found[:mentions]), tuple(s for s in sentences if s[0] < s[1]))


def read_data(args: argparse.Namespace) -> tuple[KnowledgeBase, list[Document], list[str]]:
    """Names, documents, and texts to train a tokenizer on."""
    documents_path, kb_path, kb_format = CORPORA[args.corpus]
    data = Path(args.data)
    kb = read(next(data.glob(kb_path)), kb_format).build()
    paths = sorted(map(str, data.glob(documents_path)))
    records = [record for path in paths for record in read_documents(path)]
    if args.corpus == "craft":  # the shortest articles of those that have much to link
        records = [record for record in records if len(record.annotations) >= _ENOUGH]
        records.sort(key=lambda record: len(record.text))
    records = records[: args.documents]
    documents = [to_document(record, kb.groups, args.mentions) for record in records]
    train = read_documents(str(data / "corpora/ncbi-disease/NCBItrainset_corpus.txt"))
    return kb, documents, [record.text for record in train]


class Bench:
    """A model, names and documents, linked in several ways."""

    def __init__(self, args: argparse.Namespace, console: Console) -> None:
        self.args = args
        self.console = console
        with console.status("Reading corpus and terminology"):
            self.kb, self.documents, texts = read_data(args)
            names = list(self.kb.names())
            self.tokenizer = train_tokenizer([*texts, *names], args.vocabulary)
        window = 4096 if args.corpus == "ncbi" else 65_536
        self.model = random_llama(len(self.tokenizer), args.layers, args.width, window)
        self.prompt: Prompt = get_prompt(args.prompt)
        self.prompt_tokenizer = PromptTokenizer(self.tokenizer, self.prompt)
        self.trie = NameTrie.build(self.kb, self.prompt_tokenizer)
        self.mentions = sum(len(document.mentions) for document in self.documents)

    def engine(self, *, ragged: bool = True, **settings: Any) -> Engine:
        """Our engine, warmed up."""
        lm = CausalLanguageModel(self.model, self.tokenizer)
        lm._ragged = lm._ragged and ragged
        chosen = {"batch_size": self.args.batch_size, "num_beams": self.args.beams, **settings}
        first = self.documents[0]
        warm_up = [replace(first, mentions=first.mentions[:1])]
        list(Engine(lm, self.trie, self.prompt, **chosen).link(warm_up))
        return Engine(lm, self.trie, self.prompt, **chosen)

    def ours(self, **settings: Any) -> tuple[Found, Figures]:
        """What our engine finds, and what it takes."""
        engine = self.engine(**settings)
        with self.console.status(f"Ours: {self.mentions} mentions"):
            start = time.perf_counter()
            found = list(engine.generate(self.documents))
            seconds = time.perf_counter() - start
        report = engine.report
        per_mention = {
            "prompt_tokens": report.prompt_tokens,
            "read_tokens": report.read_tokens,
            "beam_tokens": report.beam_tokens,
            "needed_tokens": report.read_tokens + report.needed_beam_tokens,
            "steps": report.forward_passes,
        }
        return found, {
            "mentions": self.mentions,
            "mentions_per_second": self.mentions / seconds,
            **{key: value / self.mentions for key, value in per_mention.items()},
        }

    def naive(self) -> tuple[Names, float]:
        """What the plain way finds, and mentions per second."""
        count = sum(len(d.mentions[: self.args.naive_mentions]) for d in self.documents)
        with self.console.status(f"Plain generate: {count} mentions, this takes a while"):
            nested = nested_trie(
                self.tokenizer, list(self.kb.names()), self.prompt_tokenizer.end_token
            )
            start = time.perf_counter()
            found = link_documents(
                self.model,
                self.tokenizer,
                self.documents,
                {self.kb.groups[0]: nested},
                self.prompt,
                self.prompt_tokenizer.end_token,
                num_beams=self.args.beams,
                batch_size=self.args.naive_batch_size,
                max_mentions=self.args.naive_mentions,
            )
            return found, count / (time.perf_counter() - start)

    def limit(self, tokens: float) -> float:
        """Mentions per second of plain forward passes over so many tokens a mention."""
        width, seconds = 320, []
        ids = torch.randint(10, 200, (1, width))
        with torch.no_grad():
            for _ in range(12):
                start = time.perf_counter()
                self.model(ids, logits_to_keep=1)
                seconds.append(time.perf_counter() - start)
        return width / statistics.median(seconds[2:]) / tokens

    def best_names(self, found: Found) -> list[list[tuple[set[str], float]]]:
        """The best hypothesis of each mention: what it reads as, and its score as a logarithm."""
        return [
            [
                (
                    {self.kb.name(int(n)) for n in self.trie.trie.sequences_at(h[0].nodes[-1])},
                    h[0].log_score,
                )
                for h in mentions
            ]
            for mentions in found
        ]


def compare(bench: Bench, found: Found, expected: Names) -> Figures:
    """Agreement of best names, and every disagreement whose scores are further apart than a tie."""
    same = ties = 0
    differences, gaps = [], []
    for i, (got, wanted) in enumerate(zip(bench.best_names(found), expected, strict=True)):
        for j, ((names, score), others) in enumerate(zip(got, wanted, strict=False)):
            # Of logarithms, since likelihoods under random weights are all next to nothing.
            name, likelihood = others[0]
            gap = abs(score - math.log(likelihood))
            if name in names:
                same += 1
                gaps.append(gap)
            else:
                ties += gap < TIE
                differences.append({"document": i, "mention": j, "gap": gap})
    return {
        "compared": sum(map(len, expected)),
        "same_best_name": same,
        "ties": ties,
        "largest_log_score_difference": max(gaps, default=0.0),
        "differences": differences,
    }


def agreement(bench: Bench, found: Found, others: Found) -> Figures:
    """How many best names two runs of ours share."""
    pairs = [
        (a, b)
        for left, right in zip(bench.best_names(found), bench.best_names(others), strict=True)
        for a, b in zip(left, right, strict=True)
    ]
    return {
        "same_best_name": sum(a[0] == b[0] for a, b in pairs),
        "of": len(pairs),
    }


def measure(args: argparse.Namespace, console: Console) -> Figures:
    """Run all that was asked for."""
    bench = Bench(args, console)
    found, figures = bench.ours()
    limit = bench.limit(figures["needed_tokens"])
    result: Figures = {
        "corpus": args.corpus,
        "prompt": bench.prompt.name,
        "documents": len(bench.documents),
        "names": bench.kb.n_names,
        "parameters": sum(p.numel() for p in bench.model.parameters()),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "beams": args.beams,
        "ours": figures,
        "limit_mentions_per_second": limit,
    }
    if args.naive_mentions != 0:
        expected, rate = bench.naive()
        result["naive_mentions_per_second"] = rate
        result["agreement"] = compare(bench, found, expected)
    if args.levers:
        result["levers"] = {name: bench.ours(**left_out)[1] for name, left_out in LEVERS.items()}
    if args.dtype != "float32":
        bench.model = bench.model.to(getattr(torch, args.dtype))
        others, other_figures = bench.ours()
        limit = bench.limit(other_figures["needed_tokens"])
        result[args.dtype] = {**other_figures, **agreement(bench, found, others), "limit": limit}
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def show(result: Figures, console: Console) -> None:
    """The result as tables."""
    ours, naive = result["ours"], result.get("naive_mentions_per_second")
    limit = result["limit_mentions_per_second"]
    table = Table(
        title=f"{result['prompt']}: {ours['mentions']} mentions of {result['documents']} documents "
        f"({result['corpus']}), {result['names']:,} names, {result['beams']} beams"
    )
    for column in ("path", "mentions/s", "to plain", "to limit", "same best name", "ties"):
        table.add_column(column, justify="left" if column == "path" else "right")

    def row(name: str, rate: float, same: str = "–", ties: str = "–") -> None:
        ratio = "–" if naive is None else f"{rate / naive:.1f}×"
        table.add_row(name, f"{rate:.2f}", ratio, f"{limit / rate:.2f}×", same, ties)

    found = result.get("agreement")
    if naive is not None and found:
        row("plain generate", naive)
        same = f"{found['same_best_name']}/{found['compared']}"
        row("spacy-bel", ours["mentions_per_second"], same, str(found["ties"]))
    else:
        row("spacy-bel", ours["mentions_per_second"])
    for name, figures in result.get("levers", {}).items():
        row(f"  without: {name}", figures["mentions_per_second"])
    for name in ("bfloat16", "float16"):
        if name in result:
            figures = result[name]
            same = f"{figures['same_best_name']}/{figures['of']}"
            row(f"  {name}", figures["mentions_per_second"], same)
    row("limit", limit)
    console.print(table)
    console.print(
        f"{result['parameters'] / 1e6:.0f} M parameters, {result['threads']} threads. Prompts have "
        f"{ours['prompt_tokens']:.0f} tokens; {ours['read_tokens']:.0f} of them and "
        f"{ours['beam_tokens']:.0f} beam tokens were read a mention, in {ours['steps']:.2f} steps "
        f"a mention. Peak memory {result['peak_memory_mb']:.0f} MB."
    )
    if found:
        gap = found["largest_log_score_difference"]
        console.print(f"Largest difference of best scores, in log-likelihood per token: {gap:.1e}.")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("SPACY_BEL_DATA"), help="data directory")
    parser.add_argument("--corpus", default="ncbi", choices=sorted(CORPORA))
    parser.add_argument("--documents", type=int, default=16, help="documents to link")
    parser.add_argument("--mentions", type=int, help="link only so many of each, the first ones")
    parser.add_argument("--prompt", default="hybrid_long", choices=sorted(PROMPTS))
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16, help="documents in flight, ours")
    parser.add_argument(
        "--naive-batch-size", type=int, default=8, help="documents in flight, plain way"
    )
    parser.add_argument(
        "--naive-mentions", type=int, help="the plain way stops after so many; 0 for not at all"
    )
    parser.add_argument("--levers", action="store_true", help="leave out one after the other")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    if not args.data:
        parser.error("give --data, or set SPACY_BEL_DATA")
    # `generate` warns about settings that this comparison leaves at their defaults.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    console = Console()
    result = measure(args, console)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(result, console)
    found = result.get("agreement")
    if found and found["same_best_name"] + found["ties"] != found["compared"]:
        raise SystemExit("Some best names differ by more than a tie.")


if __name__ == "__main__":
    main()
