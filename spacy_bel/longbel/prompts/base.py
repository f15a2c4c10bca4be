"""What every prompt format offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..document import JOINT, Document, MemoryEntry, Mention
from .text import normalise


class Prompt(Protocol):
    """A way to put a mention before a language model.

    name: as given in configurations. uses_memory: earlier links of the document are part of the
    text. end_token: attribute of the tokenizer that names the token after a name
    ("eos_token_id", or "sep_token_id" for one running stream). before_name: what every prompt ends
    with and names are tokenized behind; "" if names are texts of their own. name_separator: token
    that joins the names of a mention of several concepts. max_tokens: longest prompt that models
    were trained with, None for what they can read.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def uses_memory(self) -> bool: ...  # noqa: D102

    @property
    def end_token(self) -> str: ...  # noqa: D102

    @property
    def before_name(self) -> str: ...  # noqa: D102

    @property
    def name_separator(self) -> str: ...  # noqa: D102

    @property
    def max_tokens(self) -> int | None: ...  # noqa: D102

    def window(self, document: Document, mention: Mention) -> tuple[int, int] | None:
        """Characters of the document that the context shows; None for all of it."""
        ...

    def context(self, document: Document, mention: Mention, window: tuple[int, int] | None) -> str:
        """The context around a mention, restricted to a window of characters."""
        ...

    def assemble(self, context: str, memory: Sequence[MemoryEntry], mention: Mention) -> str:
        """The whole prompt, which ends where the name is to begin, with `before_name`."""
        ...

    def name_text(self, name: str) -> str:
        """A name as it is generated behind the prompt."""
        ...


class BehindBracket:
    """Names of prompts that end with ``[mention]{group}``."""

    before_name = "}"
    name_separator = JOINT
    max_tokens = None

    def name_text(self, name: str) -> str:
        """A name as it is generated: behind a space."""
        return f" {normalise(name)}"
