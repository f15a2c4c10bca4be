"""What generators learn from: texts that are read, and names that are written behind them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """A text, and the names that follow it.

    prompt: read, but not learned. names: of a mention of several concepts more than one; learned as
    the tokenizer of the prompt format writes them, separators and end included.
    """

    prompt: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One running text. Only formats of one stream, such as `long`, have more than one turn.

    document: id of the document that it is made from.
    """

    turns: tuple[Turn, ...]
    document: str = ""
