"""The plain way to link with a language model, as the published implementations do it.

`generate` with beam search, a nested-dict trie walked again from its root for every beam and step,
and every prompt read from its beginning once per beam. The reference for results and for speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from spacy_bel.longbel.document import Document, MemoryEntry
from spacy_bel.longbel.prompts import Prompt
from spacy_bel.longbel.prompts.text import normalise

Trie = dict[int, Any]


def nested_trie(tokenizer: Any, names: Sequence[str], end_token: int) -> Trie:
    """Token ids of every name as nested dictionaries, from `}` on."""
    root: Trie = {}
    for name in names:
        ids = tokenizer(f"}} {normalise(name)}", add_special_tokens=False)["input_ids"]
        node = root
        for token in [*ids[1:], end_token]:
            node = node.setdefault(token, {})
    return root


def generate_names(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    tries: Sequence[Trie],
    end_token: int,
    num_beams: int,
    length_penalty: float = 1.0,
) -> list[list[tuple[tuple[int, ...], float]]]:
    """The best token sequences for each prompt, with their length-normalised likelihoods.

    Returns for each prompt up to `num_beams` pairs (token ids without the end token, score).
    """
    tokenizer.padding_side = "left"
    inputs = tokenizer(list(prompts), return_tensors="pt", padding=True)
    prompt_length = inputs["input_ids"].shape[1]

    def allowed(batch_id: int, ids: torch.Tensor) -> list[int]:
        node = tries[batch_id]
        for token in ids[prompt_length:].tolist():
            if token not in node:
                return [end_token]
            node = node[token]
        return list(node) or [end_token]

    with torch.no_grad():
        output = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            num_beams=num_beams,
            num_return_sequences=num_beams,
            max_new_tokens=128,
            length_penalty=length_penalty,
            do_sample=False,
            eos_token_id=end_token,
            pad_token_id=end_token,
            prefix_allowed_tokens_fn=allowed,
            return_dict_in_generate=True,
            output_scores=True,
        )
    results = []
    scores = output.sequences_scores.tolist()
    for i, trie in enumerate(tries):
        names: dict[tuple[int, ...], float] = {}
        for j in range(i * num_beams, (i + 1) * num_beams):
            ids = output.sequences[j, prompt_length:].tolist()
            name = tuple(ids[: ids.index(end_token)] if end_token in ids else ids)
            # With fewer names than beams, generate fills up with rows of vanishing likelihood.
            if scores[j] > -1e6 and _reachable(trie, (*name, end_token)):
                names.setdefault(name, math.exp(scores[j]))
        results.append(sorted(names.items(), key=lambda item: -item[1]))
    return results


def link_documents(
    model: Any,
    tokenizer: Any,
    documents: Sequence[Document],
    tries: dict[str, Trie],
    prompt: Prompt,
    end_token: int,
    *,
    num_beams: int = 5,
    batch_size: int = 8,
    length_penalty: float = 1.0,
    max_mentions: int | None = None,
) -> list[list[list[tuple[str, float]]]]:
    """Names for every mention; each step takes the next mention of each open document.

    max_mentions: of each document only so many, its first ones.
    """
    counts = [len(document.mentions[:max_mentions]) for document in documents]
    results: list[list[list[tuple[str, float]]]] = [[] for _ in documents]
    memories: list[list[MemoryEntry]] = [[] for _ in documents]
    waiting = [i for i, count in enumerate(counts) if count]
    active: list[int] = []
    while waiting or active:
        while waiting and len(active) < batch_size:
            active.append(waiting.pop(0))
        mentions = [documents[i].mentions[len(results[i])] for i in active]
        texts = []
        for i, mention in zip(active, mentions, strict=True):
            context = prompt.context(documents[i], mention, prompt.window(documents[i], mention))
            texts.append(prompt.assemble(context, memories[i], mention))
        answers = generate_names(
            model,
            tokenizer,
            texts,
            [tries[m.group] for m in mentions],
            end_token,
            num_beams,
            length_penalty,
        )
        for i, mention, answer in zip(active, mentions, answers, strict=True):
            names = [(tokenizer.decode(list(ids)).strip(), score) for ids, score in answer]
            results[i].append(names)
            memories[i].append(MemoryEntry(mention.text, mention.group, names[0][0]))
        active = [i for i in active if len(results[i]) < counts[i]]
    return results


def _reachable(trie: Trie, ids: Sequence[int]) -> bool:
    node = trie
    for token in ids:
        if token not in node:
            return False
        node = node[token]
    return not node
