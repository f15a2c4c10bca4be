"""What a saliency method says of one prompt and one name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Saliency:
    """How much each token of a prompt contributed to a generated name.

    tokens: int64 (n,), ids of the prompt. strings: (n,), what each token stands for in `text`;
    tokens that share one character all bear that character, and those that stand for no text, such
    as the one that begins it, are empty. text: the prompt as read from its tokens, or as given.
    offsets: int64 (n, 2), characters of `text` from start to end, exclusive. scores: float32 (n,),
    in [0, 1]; the prompt's most important token has 1. attributions: float32 (n,), for "gradient"
    the norm behind the score; for "integrated_gradients" the token's signed share of what the
    prompt adds to `log_probability`, in nats. name, code, mention: of the link; a composite name
    and its code have all parts. log_probability: of the name after the prompt, without the token
    that ends it. span: characters of the mention in its document. convergence_delta: sum of the
    attributions less what they should sum to; None for "gradient".
    """

    tokens: IntArray
    strings: tuple[str, ...]
    offsets: IntArray
    text: str
    scores: FloatArray
    attributions: FloatArray
    method: str
    log_probability: float
    name: str
    code: str = ""
    mention: str = ""
    span: tuple[int, int] | None = None
    convergence_delta: float | None = None

    def __len__(self) -> int:
        """Number of tokens of the prompt."""
        return len(self.tokens)

    @property
    def suffix(self) -> str:
        """``name (code)``, or the name alone if it belongs to no concept."""
        return f"{self.name} ({self.code})" if self.code else self.name
