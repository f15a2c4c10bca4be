"""Reading letters off one forward pass beside generating them: mentions per second, and answers.

    python -m benchmarks.setwise --candidates test.spacy --kb KB [--mentions 32] [--json FILE]

The candidates are a DocBin that `python -m spacy bel candidates` wrote, KB the knowledge base they
come from. Both ways answer the same prompts with the same model, in the same batches (mentions of
like length together), in one run, in turns. The plain way is `generate` of transformers for one
token, constrained to the letters of the prompt: its best case, since what it is compared with
usually writes up to twenty tokens and reads the letter off those.

The models are random, as neither speed nor agreement needs trained weights: the tiny one has the
size of those in the tests, the other that of a small real one. Give --model DIR to read one of
yours instead.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from rich.console import Console
from rich.table import Table
from spacy.tokens import DocBin
from transformers import Qwen2Config, Qwen2ForCausalLM

from benchmarks.decoding import TIE, train_tokenizer
from spacy_bel.kb import KnowledgeBase
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.setwise.component import SetwiseReader
from spacy_bel.setwise.engine import LetterEngine
from spacy_bel.setwise.forward import Prompt
from spacy_bel.setwise.prompt import Question, user_turn
from spacy_bel.setwise.scorer import LetterScorer

#: Name, layers and width of the random models.
SIZES = (("tiny", 2, 64), ("small", 12, 512))

Answer = Callable[[Sequence[Prompt]], list[int]]


def read_questions(candidates: Path, kb: Path, mentions: int) -> list[Question]:
    """The first questions that the component asks about documents with candidates."""
    pipe = SetwiseReader(spacy.blank("en"), kb=str(kb))
    docs = DocBin().from_disk(candidates).get_docs(pipe.vocab)
    questions = (question for doc in docs for question in pipe._questions(pipe.mark(doc)))
    return list(islice(questions, mentions))


def random_model(questions: Sequence[Question], layers: int, width: int) -> CausalLanguageModel:
    """A Qwen2 with random weights and a tokenizer made from the questions."""
    tokenizer = train_tokenizer([*map(user_turn, questions), *([" A B C Answer:"] * 99)], 8000)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        num_key_value_heads=max(1, width // 128),
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CausalLanguageModel(Qwen2ForCausalLM(config), tokenizer)


def generated(engine: LetterEngine, batch: Sequence[Prompt]) -> list[int]:
    """Indices of the letters that greedy generation writes if it may write nothing else."""
    longest = max(len(prompt.ids) for prompt in batch)
    ids = torch.full((len(batch), longest), engine.encoder.tokenizer.eos_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(batch):  # the prompt's end has to come last
        ids[row, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask[row, longest - len(prompt.ids) :] = 1
    letters = engine.encoder.letters
    device = engine.model.device
    output = engine.model.generate(
        ids.to(device),
        attention_mask=mask.to(device),
        max_new_tokens=1,
        do_sample=False,
        pad_token_id=engine.encoder.tokenizer.eos_token_id,
        prefix_allowed_tokens_fn=lambda row, written: letters[: batch[row].letters],
    )
    return [letters.index(token) for token in output[:, -1].tolist()]


def scored(scorer: LetterScorer, batch: Sequence[Prompt]) -> list[int]:
    """Indices of the letters that score best."""
    return [int(row.argmax()) for row in scorer.score(batch)]


def compare(
    engine: LetterEngine, prompts: Sequence[Prompt], batch_size: int, repeats: int
) -> dict[str, Any]:
    """Both ways on the same batches, in turns; medians of mentions per second."""
    by_length = sorted(prompts, key=lambda prompt: -len(prompt.ids))
    batches = [by_length[at : at + batch_size] for at in range(0, len(by_length), batch_size)]
    seconds: dict[str, list[float]] = {"generation": [], "logits": []}
    answers: dict[str, list[int]] = {}
    for repeat in range(repeats + 1):
        # Nothing is remembered from one repeat to the next.
        scorer = LetterScorer(engine.model, engine.encoder.letters, batch_tokens=10**9)
        ways: dict[str, Answer] = {
            "generation": partial(generated, engine),
            "logits": partial(scored, scorer),
        }
        for way, answer in ways.items():
            start = time.perf_counter()
            found = [letter for batch in batches for letter in answer(batch)]
            if repeat or not repeats:  # the first is a warm-up
                seconds[way].append(time.perf_counter() - start)
            answers[way] = found
    rates = {way: len(prompts) / statistics.median(times) for way, times in seconds.items()}
    different = [
        i for i, pair in enumerate(zip(*answers.values(), strict=True)) if len({*pair}) > 1
    ]
    scores = LetterScorer(engine.model, engine.encoder.letters).score(by_length)
    gaps = [float(np.sort(scores[i])[-1] - np.sort(scores[i])[-2]) for i in different]
    return {
        "batch_size": batch_size,
        "generation_mentions_per_second": rates["generation"],
        "mentions_per_second": rates["logits"],
        "ratio": rates["logits"] / rates["generation"],
        "same_answer": len(prompts) - len(different),
        "ties": sum(gap < TIE for gap in gaps),
        "read_tokens_per_mention": scorer.read_tokens / len(prompts),
    }


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """All models and batch sizes."""
    KnowledgeBase.from_disk(args.kb)  # says what is wrong with it before anything takes time
    questions = read_questions(args.candidates, args.kb, args.mentions)
    if args.model:
        models = [("given", CausalLanguageModel.from_pretrained(args.model))]
    else:
        models = [(name, random_model(questions, *size)) for name, *size in SIZES]
    results = []
    for name, model in models:
        engine = LetterEngine(model, 10)
        prompts = []
        for question in questions:
            asked, ids = engine.encode(question)
            prompts.append(Prompt(ids, len(asked.options) + 1, asked.mention))
        for batch_size in args.batch_sizes:
            with console.status(f"{name}: batches of {batch_size}"):
                result = compare(engine, prompts, batch_size, args.repeats)
            result["model"] = name
            result["parameters"] = sum(p.numel() for p in engine.model.parameters())
            result["tokens_per_mention"] = sum(len(p.ids) for p in prompts) / len(prompts)
            results.append(result)
    return {
        "mentions": len(questions),
        "repeats": args.repeats,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "results": results,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The result as a table."""
    table = Table(title=f"{result['mentions']} mentions, {result['threads']} threads, float32")
    for column in (
        "model", "batch", "tokens", "read", "generate", "letters", "ratio", "same", "ties",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in result["results"]:
        table.add_row(
            f"{row['model']}, {row['parameters'] / 1e6:.1f} M",
            str(row["batch_size"]),
            f"{row['tokens_per_mention']:.0f}",
            f"{row['read_tokens_per_mention']:.0f}",
            f"{row['generation_mentions_per_second']:.2f}",
            f"{row['mentions_per_second']:.2f}",
            f"{row['ratio']:.2f}×",
            str(row["same_answer"]),
            str(row["ties"]),
        )
    console.print(table)
    console.print(
        "generate, letters: mentions a second. tokens: of a prompt; read: those that reading "
        "letters reads of it, what prompts have in common once. generate reads all of them, and "
        "writes one token."
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=Path, required=True, help="DocBin with candidates")
    parser.add_argument("--kb", type=Path, required=True, help="knowledge base they come from")
    parser.add_argument("--model", help="a causal language model instead of the random ones")
    parser.add_argument("--mentions", type=int, default=32, help="how many, the first ones")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=3, help="after a warm-up; the median counts")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    # `generate` warns about settings that this comparison leaves at their defaults.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    console = Console()
    result = measure(args, console)
    show(result, console)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if any(row["same_answer"] + row["ties"] < result["mentions"] for row in result["results"]):
        raise SystemExit("Some answers differ by more than a tie.")


if __name__ == "__main__":
    main()
