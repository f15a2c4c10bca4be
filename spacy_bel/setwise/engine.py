"""A language model as something that reads prompts and is trained to write the right letter."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError, SettingsError
from ..longbel.models.base import LanguageModel
from ..longbel.models.causal_lm import CausalLanguageModel
from ..longbel.models.loading import copy_model
from .encoding import PromptEncoder
from .forward import Prompt, run, side_by_side
from .lora import LoraSettings, add_adapters, save_merged
from .prompt import MAX_OPTIONS, Question
from .window import fit


class LetterEngine:
    """A causal language model, the prompts it reads, and the logits of the letters after them.

    language_model: the model, of the kind that transformers loads. options: most options of a
    question, at most `MAX_OPTIONS`. Raises ModelError if the model is of another kind, and as
    `PromptEncoder` does.

    model: the torch model. training: whether its weights are no longer those of its files. dtype:
    of the arithmetic, where that is another than the precision of the weights.
    """

    def __init__(self, language_model: LanguageModel, options: int = 10) -> None:
        if not 1 <= options <= MAX_OPTIONS:
            raise SettingsError(f"options must be from 1 to {MAX_OPTIONS}, not {options}.")
        if not isinstance(language_model, CausalLanguageModel):
            raise ModelError(
                f"{type(language_model).__name__} answers no questions: give a causal language "
                "model of transformers that follows instructions."
            )
        self.language_model = language_model
        self.model: Any = language_model.model
        self.encoder = PromptEncoder(language_model.tokenizer, options)
        self.training = False
        self.dtype: torch.dtype | None = None
        self._letters = torch.tensor(self.encoder.letters, device=self.model.device)

    @property
    def max_length(self) -> int:
        """How many tokens the model can read."""
        return self.language_model.max_length

    def encode(self, question: Question) -> tuple[Question, list[int]]:
        """A question as it is asked, shortened if it is too long, and its tokens; see `fit`."""
        return fit(question, self.encoder.encode, self.max_length)

    def train(self, lora: LoraSettings | None = None, seed: int = 0) -> None:
        """Make the model ready to be trained, unless it is.

        Weights that train do so in float32. Where all of them train and the model came in bfloat16,
        the arithmetic stays in bfloat16; with LoRA the frozen weights keep their precision.

        lora: None to train all weights. seed: for the adapters. Raises ModelError for a model in
        float16, in which small gradients vanish.
        """
        if self.training:
            return
        precision = self.model.dtype
        if precision == torch.float16:
            raise ModelError(
                "Small gradients vanish in float16: set dtype to bfloat16 or float32 for training."
            )
        if lora is not None:
            add_adapters(self.model, lora, seed)
        else:
            self.model.float().requires_grad_(True)
            self.dtype = precision if precision != torch.float32 else None
        self.training = True

    def forward(self, batch: Sequence[Prompt]) -> Tensor:
        """Logits of the letters that may follow each prompt, float32 (prompts, letters).

        Letters that a prompt has no option for are -inf. Gradients are kept where enabled.
        """
        ids, last = side_by_side([prompt.ids for prompt in batch], self.model.device)
        logits = run(self.model, ids, last, dtype=self.dtype).logits[:, 0, self._letters].float()
        count = torch.tensor([prompt.letters for prompt in batch], device=logits.device)
        there = torch.arange(logits.shape[1], device=logits.device) < count[:, None]
        return logits.masked_fill(~there, -torch.inf)

    def to_disk(self, path: Path) -> None:
        """Write a plain transformers directory: safetensors weights and tokenizer files.

        Adapters are merged into the weights that are written. Without training, files are copied.
        """
        directory = self.language_model.directory
        if not self.training and directory is not None and Path(directory).is_dir():
            copy_model(self.language_model, path)
            return
        path.mkdir(parents=True, exist_ok=True)
        # Weights may be mapped from the very files that are written: these are replaced whole.
        with tempfile.TemporaryDirectory(dir=path.parent) as written:
            save_merged(self.model, Path(written))
            self.language_model.tokenizer.save_pretrained(written)
            new = {file.name: file for file in Path(written).iterdir()}
            for old in path.glob("*.safetensors*"):
                if old.name not in new:
                    old.unlink()  # parts of other weights would be taken for these
            for name, file in new.items():
                file.replace(path / name)
