"""User turns as prompts of a model: its chat template with thinking off, or plain text."""

from __future__ import annotations

import re
from typing import Any

from spacy_bel.errors import ModelError

_THINK = "<think>"


class ChatEncoder:
    """Encodes user turns as prompts that end where the model's answer begins.

    tokenizer: Hugging Face tokenizer. With a chat template the prompt is a single user turn, with
    thinking off; without one it is plain text.

    has_template: whether there is one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.has_template = bool(getattr(tokenizer, "chat_template", None))
        self._control = _pattern(tokenizer)
        names = ("eos_token_id", "sep_token_id", "cls_token_id")
        self._closing = {getattr(tokenizer, name, None) for name in names}

    def prompt(self, turn: str) -> str:
        """The prompt of a turn as a string, behind which the answer begins.

        Raises ModelError if the chat template cannot be used.
        """
        # What a document says is text, even if it reads like the end of the user's turn.
        turn = self._control.sub(lambda match: " ".join(match[0]), turn)
        if not self.has_template:
            return f"{turn}\n\n"
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
        return str(chat)

    def ids(self, text: str) -> list[int]:
        """Token ids of a prompt, to which the model's answer is to be added."""
        # Templates write the token that begins a text themselves.
        encoded = self.tokenizer(text, add_special_tokens=not self.has_template, verbose=False)
        ids = list(encoded["input_ids"])
        # Some tokenizers close every text with a token of their own.
        while ids and ids[-1] in self._closing:
            ids.pop()
        return ids


def _pattern(tokenizer: Any) -> re.Pattern[str]:
    """Matches the strings that a tokenizer reads as control tokens."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    control = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    longest_first = sorted(filter(None, control), key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
