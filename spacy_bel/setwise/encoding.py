"""Prompts as token ids, and the tokens by which a model answers with a letter."""

from __future__ import annotations

import re
from typing import Any

from ..errors import ModelError
from .prompt import LETTERS, Question, user_turn

#: Written for the model, which has to go on with a letter.
ANSWER = "Answer:"

_THINK = "<think>"
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
        self._chat = bool(getattr(tokenizer, "chat_template", None))
        self._control = _pattern(tokenizer)
        self._closing = {
            getattr(tokenizer, name, None)
            for name in ("eos_token_id", "sep_token_id", "cls_token_id")
        }
        self._ending, self.letters = self._resolve(LETTERS[: options + 1])

    def text(self, question: Question) -> str:
        """The prompt of a question as a string."""
        return self._opening(question) + self._ending

    def encode(self, question: Question) -> list[int]:
        """Token ids of the prompt of a question."""
        return self._ids(self.text(question))

    def _opening(self, question: Question) -> str:
        # What a document says is text, even if it reads like the end of the user's turn.
        turn = self._control.sub(lambda match: " ".join(match[0]), user_turn(question))
        if not self._chat:
            return f"{turn}\n\n{ANSWER}"
        try:
            chat = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": turn}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
            )
        except Exception as error:  # a template is a program, which may fail in any way
            raise ModelError(
                f"The tokenizer's chat template cannot show a single user turn ({error}). Correct "
                "chat_template in the model's directory, or remove it for prompts of plain text."
            ) from error
        if chat.rstrip().endswith(_THINK):  # a template that knows no other way than to think
            chat = f"{chat.rstrip()}\n\n</think>\n\n"
        return f"{chat}{ANSWER}"

    def _ids(self, text: str) -> list[int]:
        # Templates write the token that begins a text themselves.
        encoded = self.tokenizer(text, add_special_tokens=not self._chat, verbose=False)
        ids = list(encoded["input_ids"])
        # Some tokenizers close every text with a token of their own; the letter has to come first.
        while ids and ids[-1] in self._closing:
            ids.pop()
        return ids

    def _resolve(self, letters: str) -> tuple[str, list[int]]:
        """What ends the prompt, and the tokens of letters that follow it."""
        opening = self._opening(_PROBE)
        for space, ending in _JOINTS:
            stem = self._ids(opening + ending)
            answers = [self._ids(opening + ending + space + letter) for letter in letters]
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


def _pattern(tokenizer: Any) -> re.Pattern[str]:
    """Matches the strings that a tokenizer reads as control tokens."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    control = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    longest_first = sorted(filter(None, control), key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
