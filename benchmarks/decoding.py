"""Constrained decoding beside the plain way: mentions per second, and whether results agree.

    python -m benchmarks.decoding --data DIR [--documents 12] [--prompt hybrid_long] [--json FILE]

DIR holds ``corpora/ncbi-disease`` (PubTator) and ``kb/medic``; it defaults to the environment
variable SPACY_BEL_DATA. Both ways link the same NCBI Disease test documents to MEDIC names with the
same random Llama (speed and agreement need no trained weights), the same prompts, beams and
precision. The plain way is `benchmarks/naive.py`: `generate` with a nested-dict trie, a batch of
the next mention of eight documents. The limit is the time that one plain, well-batched forward pass
takes over exactly the tokens that had to be read.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.naive import link_documents, nested_trie
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.pubtator import read_pubtator
from spacy_bel.kb import KnowledgeBase
from spacy_bel.kb.readers import read
from spacy_bel.longbel.document import Document, Mention, Passage
from spacy_bel.longbel.engine import Engine
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.name_trie import NameTrie
from spacy_bel.longbel.prompts import PROMPTS, get_prompt
from spacy_bel.longbel.tokenization import PromptTokenizer

#: Log-likelihoods per token that are closer than this count as a tie.
TIE = 1e-4
GROUP = "Disease"


def train_tokenizer(texts: list[str], size: int) -> PreTrainedTokenizerFast:
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


def random_llama(vocabulary: int, layers: int, width: int) -> LlamaForCausalLM:
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
            max_position_embeddings=4096,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    ).eval()


def to_document(record: CorpusDocument) -> Document:
    """A corpus record as the engine reads it; sentences end at full stops."""
    passages = tuple(Passage(start, record.text[start:end]) for start, end in record.passages)
    spans = {(a.start, a.end): record.text[a.start : a.end] for a in record.annotations}
    mentions = [Mention(s, e, text, GROUP, (GROUP,)) for (s, e), text in sorted(spans.items())]
    sentences = []
    for passage in passages:
        start = passage.start
        for i, character in enumerate(passage.text):
            at = passage.start + i + 1
            ends = character == "." and passage.text[i + 1 : i + 2] in ("", " ")
            if (ends and not any(m.start < at < m.end for m in mentions)) or at == passage.end:
                sentences.append((start, at))
                start = at + 1
    return Document(passages, tuple(mentions), tuple(s for s in sentences if s[0] < s[1]))


def forward_rate(model: LlamaForCausalLM, width: int = 320, batch: int = 1) -> float:
    """Tokens per second of a plain forward pass, best of five."""
    ids = torch.randint(10, 200, (batch, width))
    seconds = []
    with torch.no_grad():
        for _ in range(6):
            start = time.perf_counter()
            model(ids, logits_to_keep=1)
            seconds.append(time.perf_counter() - start)
    return batch * width / min(seconds[1:])


def compare(engine: Engine, links: list[Any], expected: list[Any]) -> dict[str, Any]:
    """Agreement of best names, and every disagreement whose scores are further apart than a tie."""
    same = ties = 0
    differences, gaps = [], []
    kb = engine.trie.kb
    for i, (got, wanted) in enumerate(zip(links, expected, strict=True)):
        for j, (hypotheses, names) in enumerate(zip(got, wanted, strict=True)):
            best = hypotheses[0]
            bests = {kb.name(int(n)) for n in engine.trie.trie.sequences_at(best.nodes[-1])}
            # Of logarithms, since likelihoods under random weights are all next to nothing.
            gap = abs(best.log_score - math.log(names[0][1]))
            if names[0][0] in bests:
                same += 1
                gaps.append(gap)
            elif gap < TIE:
                ties += 1
                differences.append({"document": i, "mention": j, "gap": gap, "tie": True})
            else:
                differences.append({"document": i, "mention": j, "gap": gap, "tie": False})
    total = sum(map(len, links))
    return {
        "mentions": total,
        "same_best_name": same,
        "ties": ties,
        "largest_log_score_difference": max(gaps, default=0.0),
        "differences": differences,
    }


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run both ways and compare."""
    data = Path(args.data)
    corpus = data / "corpora" / "ncbi-disease"
    with console.status("Reading corpus and terminology"):
        kb: KnowledgeBase = read(next((data / "kb" / "medic").glob("*.txt.gz")), "medic").build()
        train = [r.text for r in read_pubtator(corpus / "NCBItrainset_corpus.txt")]
        records = list(read_pubtator(corpus / "NCBItestset_corpus.txt"))
        documents = [to_document(record) for record in records[: args.documents]]
    names = list(kb.names())
    tokenizer = train_tokenizer([*train, *names], args.vocabulary)
    model = random_llama(len(tokenizer), args.layers, args.width)
    lm = CausalLanguageModel(model, tokenizer)
    prompt = get_prompt(args.prompt)
    mentions = sum(len(document.mentions) for document in documents)

    prompt_tokenizer = PromptTokenizer(tokenizer, prompt)
    start = time.perf_counter()
    trie = NameTrie.build(kb, prompt_tokenizer)
    trie_seconds = time.perf_counter() - start
    engine = Engine(lm, trie, prompt, num_beams=args.beams, batch_size=args.batch_size)
    list(engine.link(documents[:1]))  # warm up
    engine = Engine(lm, trie, prompt, num_beams=args.beams, batch_size=args.batch_size)
    with console.status(f"Ours: {mentions} mentions"):
        start = time.perf_counter()
        links = list(engine.generate(documents))
        ours = time.perf_counter() - start
    read_tokens = engine.report.read_tokens + engine.report.beam_tokens
    limit = read_tokens / forward_rate(model)

    with console.status(f"Plain generate: {mentions} mentions, this takes a while"):
        nested = nested_trie(tokenizer, names, prompt_tokenizer.end_token)
        start = time.perf_counter()
        expected = link_documents(
            model,
            tokenizer,
            documents,
            {GROUP: nested},
            prompt,
            prompt_tokenizer.end_token,
            num_beams=args.beams,
            batch_size=args.naive_batch_size,
        )
        naive = time.perf_counter() - start
    return {
        "prompt": prompt.name,
        "documents": len(documents),
        **compare(engine, links, expected),
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "beams": args.beams,
        "batch_size": args.batch_size,
        "names": len(names),
        "trie_seconds": trie_seconds,
        "prompt_tokens_per_mention": engine.report.prompt_tokens / mentions,
        "read_tokens_per_mention": read_tokens / mentions,
        "forward_passes_per_mention": engine.report.forward_passes / mentions,
        "naive_mentions_per_second": mentions / naive,
        "mentions_per_second": mentions / ours,
        "limit_mentions_per_second": mentions / limit,
        "speedup": naive / ours,
        "distance_to_limit": ours / limit,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The result as a table."""
    table = Table(
        title=f"{result['prompt']}: {result['mentions']} mentions of {result['documents']} NCBI "
        f"Disease test documents, {result['names']} MEDIC names, {result['beams']} beams"
    )
    for column in ("path", "mentions/s", "ratio", "same best name", "ties"):
        table.add_column(column, justify="left" if column == "path" else "right")
    same = f"{result['same_best_name']}/{result['mentions']}"
    rate, naive = result["mentions_per_second"], result["naive_mentions_per_second"]
    limit = result["limit_mentions_per_second"]
    table.add_row("plain generate", f"{naive:.2f}", "1.0×", "–", "–")
    table.add_row("spacy-bel", f"{rate:.2f}", f"{rate / naive:.1f}×", same, str(result["ties"]))
    table.add_row("limit", f"{limit:.2f}", f"{limit / naive:.1f}×", "–", "–")
    console.print(table)
    console.print(
        f"{result['parameters'] / 1e6:.0f} M parameters, float32, {result['threads']} threads. "
        f"Prompts have {result['prompt_tokens_per_mention']:.0f} tokens; "
        f"{result['read_tokens_per_mention']:.0f} tokens were read a mention, beams included, in "
        f"{result['forward_passes_per_mention']:.1f} forward passes. Largest difference of best "
        f"scores, in log-likelihood per token: {result['largest_log_score_difference']:.1e}."
    )
    for difference in result["differences"]:
        console.print(f"  different best name: {difference}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("SPACY_BEL_DATA"), help="data directory")
    parser.add_argument("--documents", type=int, default=12, help="test documents to link")
    parser.add_argument("--prompt", default="hybrid_long", choices=sorted(PROMPTS))
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8, help="documents in flight, ours")
    parser.add_argument("--naive-batch-size", type=int, default=8, help="plain way's batch")
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
    show(result, console)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if not math.isclose(result["same_best_name"] + result["ties"], result["mentions"]):
        raise SystemExit("Some best names differ by more than a tie.")


if __name__ == "__main__":
    main()
