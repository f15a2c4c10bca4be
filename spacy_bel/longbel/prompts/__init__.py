"""Prompt formats by name. A new format is one file here and one line in `PROMPTS`."""

from __future__ import annotations

from .base import Prompt
from .genre import GENRE
from .hybrid import HYBRID_LONG, HYBRID_MEDIUM, HYBRID_SHORT, SHORT
from .incremental import INCREMENTAL
from .long import LONG
from .mention import MENTION
from .syncabel import SYNCABEL_EN, SYNCABEL_ES, SYNCABEL_FR

PROMPTS: dict[str, Prompt] = {
    prompt.name: prompt
    for prompt in (
        SHORT,
        HYBRID_SHORT,
        HYBRID_MEDIUM,
        HYBRID_LONG,
        LONG,
        INCREMENTAL,
        MENTION,
        GENRE,
        SYNCABEL_EN,
        SYNCABEL_FR,
        SYNCABEL_ES,
    )
}


def get_prompt(prompt: str | Prompt) -> Prompt:
    """A prompt format by its name; a `Prompt` object is returned as it is.

    Raises ValueError that lists the names if there is none of that name.
    """
    if not isinstance(prompt, str):
        return prompt
    if prompt not in PROMPTS:
        raise ValueError(f"Unknown prompt '{prompt}'. Choose one of: {', '.join(sorted(PROMPTS))}.")
    return PROMPTS[prompt]


__all__ = ["PROMPTS", "Prompt", "get_prompt"]
