"""Tiny checkpoints in the layout of released ones."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

from transformers import LlamaForCausalLM

from .conftest import character_tokenizer, tiny_llama

TABLE = {
    "Disorders": {
        "Cold": "D1",
        "Common cold": "D1",
        "Pain in leg": "D2",
        "Leg pain": "D2",
        "Pain in arm": "D3",
        "Arm pain": "D3",
        "Fever": "D4",
    },
    "Phenomena": {"Cold": "P1", "Low temperature": "P1", "Heat": "D4"},
}
CARD = """---
license: mit
language:
- fr
model-index:
- name: Tiny-1B
---
# A card
"""
BRACKETS = ["[", "]", "{", "}"]


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def write_released(
    directory,
    *,
    table=TABLE,
    model_type="llama_longbel",
    special=(*BRACKETS, "<+>"),
    card=CARD,
    seed=0,
):
    """Sharded weights, a sampling generation config, and code and a pickle that must not be run."""
    model, tokenizer = tiny_llama(seed).model, character_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    assert isinstance(model, LlamaForCausalLM)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(directory, max_shard_size="30KB")
    tokenizer.save_pretrained(directory)
    directory = Path(directory)
    edit(
        directory / "config.json",
        model_type=model_type,
        architectures=["LlamaOfItsOwn"],
        auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.LlamaOfItsOwn"},
    )
    edit(directory / "generation_config.json", do_sample=True, temperature=0.6, top_p=0.9)
    (directory / "own.py").write_text("raise SystemError('remote code was run')\n")
    bomb = pickle.dumps(Bomb(directory / "unpickled"))
    (directory / "candidate_trie.pkl").write_bytes(bomb)
    (directory / "README.md").write_text(card, encoding="utf-8")
    if table is not None:
        text = json.dumps(table, ensure_ascii=False, indent=1)
        (directory / "text_to_code.json").write_text(text, encoding="utf-8")
    return directory


def edit(path, **fields):
    """Change some fields of a JSON object on disk; None deletes."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content = {key: value for key, value in {**content, **fields}.items() if value is not None}
    path.write_text(json.dumps(content), encoding="utf-8")
