"""The one user turn that puts a mention and its candidates before a language model."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace

MAX_OPTIONS = 20
"""Most candidates that one prompt may hold; "none of the above" takes one more letter."""

LETTERS = string.ascii_uppercase[: MAX_OPTIONS + 1]
NONE = "None of the above."

INSTRUCTION = (
    "Below is a mention from a biomedical text, the context it stands in, and a list of concepts. "
    "Decide which concept the mention refers to in this context. Answer with the letter of one "
    "option only."
)


@dataclass(frozen=True, slots=True)
class Question:
    """A mention in its context, and the concepts that it may refer to.

    context: text around the mention. start, end: offsets of the mention in it. options: what is
    shown of each candidate, best first, at most `MAX_OPTIONS`.
    """

    context: str
    start: int
    end: int
    options: tuple[str, ...]

    @property
    def mention(self) -> str:
        """The mention as it stands in the context."""
        return self.context[self.start : self.end]

    def narrowed(self, margin: int) -> Question:
        """The same with at most `margin` characters of context on either side, in whole words."""
        left, right = self.context[: self.start], self.context[self.end :]
        if len(left) > margin:
            left = left[len(left) - margin :].partition(" ")[2]
        if len(right) > margin:
            right = right[:margin].rpartition(" ")[0]
        context = left + self.mention + right
        return replace(self, context=context, start=len(left), end=len(left) + len(self.mention))

    def shortened(self, options: int) -> Question:
        """The same with the first `options` of its options."""
        return replace(self, options=self.options[:options])


def option_text(name: str, preferred: str) -> str:
    """What is shown of a candidate: the alias it was found by, and its preferred name if other."""
    return name if name.casefold() == preferred.casefold() else f"{name} (aka {preferred})"


def user_turn(question: Question) -> str:
    """Instruction, context, mention, and one option a line, "none of the above" the last.

    The parts are those of BeLink (Shlyk et al. 2026, doi 10.1145/3805712.3809918); the wording is
    this project's. The instruction comes first, so that all prompts begin alike.
    """
    texts = [*map(_one_line, question.options), NONE]
    lines = [
        INSTRUCTION,
        "",
        f"Context: {_one_line(question.context)}",
        f"Mention: {_one_line(question.mention)}",
        "",
        "Options:",
        *(f"{letter}: {text}" for letter, text in zip(LETTERS, texts, strict=False)),
    ]
    return "\n".join(lines)


def _one_line(text: str) -> str:
    # A line break inside a text would read as the next option.
    return " ".join(text.split())
