"""A causal language model that says what a script has for the mention of its prompt."""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

from tests.setwise.tiny_models import tiny_model


class ScriptedLM(LlamaForCausalLM):
    """Goes on with ``script[mention]``, or with ``second[mention]`` where the answer was begun."""

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids, attention_mask=None, **kwargs):
        output = super().forward(input_ids, attention_mask=attention_mask, use_cache=False)
        output.past_key_values = None
        for row, (ids, seen) in enumerate(zip(input_ids, attention_mask, strict=True)):
            text = self.tokenizer.decode(ids[seen.bool()], skip_special_tokens=True)
            turn, _, answer = text.rpartition("Answer:\n")
            mention = turn.rpartition("Mention: ")[2].splitlines()[0]
            begun = '{"standard_name": "'
            script, written = self.script[mention], answer
            if answer.startswith(begun) and not script.startswith(begun):
                script, written = self.second[mention], answer.removeprefix(begun)
            assert script.startswith(written)
            self.steps += 1
            rest = script[len(written) :]
            token = self.tokenizer.encode(rest[0], add_special_tokens=False)[0] if rest else 1
            output.logits[row] = 0
            output.logits[row, -1, token] = 1
        return output


def scripted_lm(script, second=None):
    """As a `CausalLanguageModel`; what it writes is all that is not real about it."""
    model = tiny_model("llama")
    model.model.__class__ = ScriptedLM
    model.model.tokenizer, model.model.steps = model.tokenizer, 0
    model.model.script, model.model.second = script, second or {}
    return model


def greedy(model, ids, tokens):
    """So many tokens by plain forward passes over everything before."""
    ids = list(ids)
    end = model.tokenizer.eos_token_id
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(model.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == end:
            break
    return ids
