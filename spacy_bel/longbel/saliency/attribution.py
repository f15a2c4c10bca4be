"""Gradients of a name's probability, per token of its prompt.

"gradient" is what LongBEL publishes (arXiv 2605.13451): the norm of the gradient with respect to a
token's embedding (Simonyan et al. 2014), which says how sensitive the name is to the token.
"integrated_gradients" (Sundararajan et al. 2017) sums gradients on the way from an empty baseline
to the prompt, so that the attributions add up to what the prompt contributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...errors import MissingExtraError, ModelError
from .networks import Network, network_of
from .result import Saliency
from .text import name_text, read_tokens

Method = Literal["gradient", "integrated_gradients"]
Baseline = Literal["pad", "zero", "mean"]
METHODS: tuple[str, ...] = get_args(Method)
BASELINES: tuple[str, ...] = get_args(Baseline)

#: Tokens that one forward pass of integrated gradients reads at most, unless one prompt has more.
_TOKENS_AT_ONCE = 2048


def saliency(
    model: Any,
    prompt_ids: Sequence[int],
    name_tokens: Sequence[int],
    *,
    method: Method = "gradient",
    steps: int = 20,
    baseline: Baseline = "pad",
    text: str | None = None,
    name: str | None = None,
    code: str = "",
    mention: str = "",
    span: tuple[int, int] | None = None,
) -> Saliency:
    """How much each token of a prompt contributed to a name generated after it.

    model: a `LanguageModel` that offers its embeddings. prompt_ids: (n,), as the model read them.
    name_tokens: what it generated, without the token that ends a name. steps, baseline: for
    "integrated_gradients": points on the way, and where it begins, with embeddings of the padding
    token, of zeros, or with the mean of all embeddings. text: the prompt, for tokenizers that
    cannot restore it from its tokens. name: as it is to be shown; read from its tokens if None.
    code, mention, span: passed on to the result.

    Raises ModelError if the model offers no embeddings, cannot read so many tokens, or gives no
    numbers; MissingExtraError if captum is not installed for "integrated_gradients"; ValueError if
    there is no prompt, no name, or no such method.
    """
    _check("method", method, METHODS)
    _check("baseline", baseline, BASELINES)
    if not len(prompt_ids) or not len(name_tokens):
        raise ValueError("There is nothing to explain: give a prompt and a name of one token each.")
    if steps < 1:
        raise ValueError("Integrated gradients need at least one step.")
    network = network_of(model)
    prompt, written = [int(i) for i in prompt_ids], [int(i) for i in name_tokens]
    if len(prompt) + len(written) - 1 > model.max_length:
        raise ModelError(
            f"The prompt and its name have {len(prompt) + len(written)} tokens, the model reads "
            f"{model.max_length}. Set max_length of the component, or give a shorter prompt."
        )
    ids = torch.tensor(prompt, dtype=torch.long, device=network.embedding.weight.device)
    with torch.no_grad():
        embeddings = network.embedding(ids)[None]
    if method == "gradient":
        vectors, value = _gradient(network, embeddings, prompt, written)
        attributions, delta = vectors.norm(dim=-1), None
    else:
        start = _baseline(network, model.tokenizer, baseline, embeddings)
        vectors, value, delta = _integrated(network, embeddings, start, prompt, written, steps)
        attributions = vectors.sum(-1)
    norms = vectors.norm(dim=-1)
    if not (torch.isfinite(norms).all() and np.isfinite(value)):
        raise ModelError(
            "The model gives no finite probabilities or gradients for this prompt. Load it with "
            "dtype='float32', and check that its weights are complete."
        )
    read = read_tokens(model.tokenizer, prompt, text)
    highest = norms.max()
    return Saliency(
        tokens=np.asarray(prompt, np.int64),
        strings=read.strings,
        offsets=read.offsets,
        text=read.text,
        scores=(norms / highest if highest > 0 else norms).float().cpu().numpy(),
        attributions=attributions.float().cpu().numpy(),
        method=method,
        log_probability=value,
        name=name_text(model.tokenizer, written) if name is None else name,
        code=code,
        mention=mention,
        span=span,
        convergence_delta=delta,
    )


def _gradient(
    network: Network, embeddings: Tensor, prompt: list[int], name: list[int]
) -> tuple[Tensor, float]:
    """Gradient (n, hidden) of the name's log-probability, and that."""
    with torch.enable_grad():
        inputs = embeddings.detach().requires_grad_()
        value = network.log_probability(inputs, prompt, name).sum()
        # Of the inputs alone: the weights' own gradients stay as a training run left them.
        (gradient,) = torch.autograd.grad(value, inputs)
    return _precise(gradient[0]), float(value.detach())


def _integrated(
    network: Network,
    embeddings: Tensor,
    start: Tensor,
    prompt: list[int],
    name: list[int],
    steps: int,
) -> tuple[Tensor, float, float]:
    """Contributions (n, hidden) to the name's log-probability, that, and the convergence delta."""
    method = _integrated_gradients(lambda inputs: network.log_probability(inputs, prompt, name))
    contributions, delta = method.attribute(
        embeddings,
        baselines=start,
        n_steps=steps,
        internal_batch_size=max(1, _TOKENS_AT_ONCE // (len(prompt) + len(name))),
        return_convergence_delta=True,
    )
    with torch.no_grad():
        value = float(network.log_probability(embeddings, prompt, name))
    return _precise(contributions[0].detach()), value, float(delta)


def _integrated_gradients(function: Any) -> Any:
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise MissingExtraError(
            "Integrated gradients need the package captum: pip install 'spacy-bel[saliency]', or "
            'use method="gradient".'
        ) from error
    return IntegratedGradients(function)


def _baseline(network: Network, tokenizer: Any, kind: str, embeddings: Tensor) -> Tensor:
    """Embeddings (1, n, hidden) of a prompt that says nothing."""
    weight = network.embedding.weight.detach()
    if kind == "zero":
        return torch.zeros_like(embeddings)
    if kind == "mean":
        return _precise(weight).mean(0).to(embeddings.dtype).expand_as(embeddings).contiguous()
    token = getattr(tokenizer, "pad_token_id", None)
    if token is None:
        token = getattr(tokenizer, "eos_token_id", None)
    if token is None:
        raise ModelError(
            'The tokenizer has no token for padding. Use baseline="zero" or baseline="mean".'
        )
    with torch.no_grad():
        padding = network.embedding(torch.tensor(token, device=weight.device))
    return padding.expand_as(embeddings).contiguous()


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"Unknown {setting} '{value}'. Choose one of: {', '.join(known)}.")
