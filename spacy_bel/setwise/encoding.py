"""Prompts as token ids, and the tokens by which a model answers with a letter."""

from __future__ import annotations

from typing import Any

from ..errors import ModelError
from ..longbel.models.chat import ChatEncoder
from .prompt import LETTERS, Question, user_turn

#: Written for the model, which has to go on with a letter.
ANSWER = "Answer:"

#: What stands between the answer's beginning and the letter: a space that is part of the letter's
#: token, a space that is a token of its own (and so belongs to the prompt), or nothing.
_JOINTS = ((" ", ""), ("", " "), ("", ""))
_PROBE = Question("A mention in its context.", 2, 9, ("one", "another"))


class PromptEncoder:
    """Encodes questions as prompts that end where the model is to write a letter.

    The user turn is put into the tokenizer's chat template, with thinking off; without a template
    the prompt is plain text.

    tokenizer: Hugging Face tokenizer. options: most options of a question, at most `MAX_OPTIONS`.
    Raises ModelError if a letter that may be asked for is no token of its own after the prompt, or
    the chat template cannot be used.

    letters: token ids of the letters in alphabetical order, one more than options.
    """

    def __init__(self, tokenizer: Any, options: int) -> None:
        self.tokenizer = tokenizer
        self._chat = ChatEncoder(tokenizer)
        self._ending, self.letters = self._resolve(LETTERS[: options + 1])

    def text(self, question: Question) -> str:
        """The prompt of a question as a string."""
        return self._opening(question) + self._ending

    def encode(self, question: Question) -> list[int]:
        """Token ids of the prompt of a question."""
        return self._chat.ids(self.text(question))

    def _opening(self, question: Question) -> str:
        return self._chat.prompt(user_turn(question)) + ANSWER

    def _resolve(self, letters: str) -> tuple[str, list[int]]:
        """What ends the prompt, and the tokens of letters that follow it."""
        opening = self._opening(_PROBE)
        for space, ending in _JOINTS:
            stem = self._chat.ids(opening + ending)
            answers = [self._chat.ids(opening + ending + space + letter) for letter in letters]
            tokens = [ids[-1] for ids in answers]
            if (
                all(ids[:-1] == stem for ids in answers)
                and len(set(tokens)) == len(tokens)
                and self.tokenizer.unk_token_id not in tokens
            ):
                return ending, tokens
        raise ModelError(
            f"The tokenizer does not write the letters {letters[0]} to {letters[-1]} as one token "
            f"each after '{ANSWER}': choose a model whose tokenizer does, or fewer options."
        )
