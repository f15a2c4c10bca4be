"""The optimisation of a bi-encoder, epoch by epoch."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from spacy_bel.errors import ModelError
from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.training.batches import Batch, epoch_batches
from spacy_bel.retriever.training.loss import multi_similarity_loss
from spacy_bel.retriever.training.mining import confusable_concepts
from spacy_bel.retriever.training.names import TrainingNames
from spacy_bel.retriever.training.settings import BiEncoderSettings

#: Names embedded together: names of a length stand together, so that little padding is read.
_CHUNK = 64


class Trainer:
    """An encoder, its names and its optimizer (AdamW, no decay of biases and norms)."""

    def __init__(
        self,
        encoder: Encoder,
        names: TrainingNames,
        settings: BiEncoderSettings,
        *,
        progress: bool = False,
    ) -> None:
        self.encoder, self.names, self.settings = encoder, names, settings
        self.progress = progress
        self.device = encoder.device
        decayed: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, parameter in encoder.model.named_parameters():
            if parameter.requires_grad:
                plain = name.endswith("bias") or "norm" in name.lower()
                (others if plain else decayed).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )

    def epoch(self, epoch: int) -> float:
        """Mean loss of one epoch, from 1; depends only on weights, optimizer, settings and number.

        Raises ModelError if vectors or loss are no longer numbers.
        """
        settings = self.settings
        rng = np.random.default_rng([settings.seed, epoch])
        torch.manual_seed(settings.seed + epoch)
        neighbours = None
        if settings.hard_negatives:
            neighbours = confusable_concepts(
                self.encoder, self.names, settings.mined_concepts, rng, progress=self.progress
            )
        batches = epoch_batches(
            self.names,
            steps=settings.steps_per_epoch,
            batch_size=settings.batch_size,
            mention_share=settings.mention_share,
            neighbours=neighbours,
            hard_negatives=settings.hard_negatives,
            rng=rng,
        )
        first_step = (epoch - 1) * settings.steps_per_epoch
        self.encoder.model.train()
        total = 0.0
        with tqdm(
            batches,
            f"Epoch {epoch}",
            settings.steps_per_epoch,
            unit="batch",
            leave=False,
            disable=None if self.progress else True,
        ) as bar:
            for step, batch in enumerate(bar, start=first_step):
                loss = self._step(step, batch)
                total += loss
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.encoder.model.eval()
        return total / settings.steps_per_epoch

    def _step(self, step: int, batch: Batch) -> float:
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * self._schedule(step)
        texts = [self.names.texts[text] for text in batch.texts.tolist()]
        embeddings = self._embed(texts)
        loss = multi_similarity_loss(
            embeddings,
            torch.from_numpy(batch.positive).to(self.device),
            torch.from_numpy(batch.negative).to(self.device),
            alpha=settings.alpha,
            beta=settings.beta,
            base=settings.base,
            margin=settings.margin,
            margin_of=settings.margin_of,
        )
        # Nothing is hard about vectors of NaN, so that their loss would be 0.
        if not torch.isfinite(embeddings).all() or not torch.isfinite(loss):
            raise ModelError(
                f"Vectors or loss are no numbers any more at step {step}: lower learning_rate, or "
                "train in float32. The best epoch so far is kept."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.encoder.model.parameters(), settings.max_grad_norm)
        self.optimizer.step()
        return loss.item()

    def _embed(self, texts: list[str]) -> torch.Tensor:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        arithmetic: Any = nullcontext()
        if self.settings.dtype == "bfloat16":
            arithmetic = torch.autocast(self.device.type, torch.bfloat16)
        with arithmetic:
            chunks = [
                self.encoder.embed([texts[place] for place in order[start : start + _CHUNK]])
                for start in range(0, len(order), _CHUNK)
            ]
        places = torch.empty(len(order), dtype=torch.long)
        places[order] = torch.arange(len(order))
        return torch.cat(chunks)[places.to(self.device)]

    def _schedule(self, step: int) -> float:
        """Share of the highest learning rate: rising to 1, then falling to 0."""
        settings = self.settings
        steps = settings.epochs * settings.steps_per_epoch
        if step < settings.warmup_steps:
            return (step + 1) / settings.warmup_steps
        return (steps - step) / max(1, steps - settings.warmup_steps)
