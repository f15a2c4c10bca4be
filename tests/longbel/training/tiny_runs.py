"""Tiny models, and runs that train them in a second."""

from __future__ import annotations

import torch

import spacy_bel.longbel.training.steps as steps_module
from spacy_bel.longbel.models.copy_lm import CopyConfig, CopyLanguageModel, CopyNetwork
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.training.example import TrainingExample, Turn
from spacy_bel.longbel.training.settings import TrainingSettings
from spacy_bel.longbel.training.training import train

from ..conftest import character_tokenizer

SHORT = get_prompt("mention")
NAMES = {
    "mi": "heart attack",
    "chf": "heart failure",
    "cold": "common cold",
    "ache": "headache",
    "flu": "influenza",
    "tb": "tuberculosis",
}


def example(mention, name):
    return TrainingExample((Turn(f"### Prediction\n[{mention}]{{D}}", (name,)),))


EXAMPLES = [example(*pair) for pair in NAMES.items()]
DEV = EXAMPLES[:2]


def copy_model(seed=0):
    tokenizer = character_tokenizer(bos=False)
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(seed)
    sizes = dict(hidden_size=32, layers=2, heads=4, intermediate_size=48, max_length=128)
    config = CopyConfig(len(tokenizer), ids("["), ids("]"), copy_size=8, **sizes)
    return CopyLanguageModel(CopyNetwork(config), tokenizer)


SETTINGS = TrainingSettings(
    learning_rate=3e-3, max_steps=12, batch_tokens=150, checkpoint_every=3, eval_every=4, warmup=2
)


def weights(model):
    network = model.network if isinstance(model, CopyLanguageModel) else model.model
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def run(model, output, settings=SETTINGS, examples=EXAMPLES, **options):
    return train(model, SHORT, examples, settings, output, **{"progress": False, **options})


class Killed(BaseException):
    pass


def killed_at(monkeypatch, step):
    """End the process, as it were, before that step."""
    learn = steps_module.Steps.step

    def step_or_die(self, number, *args):
        if number == step:
            raise Killed
        return learn(self, number, *args)

    monkeypatch.setattr(steps_module.Steps, "step", step_or_die)
