"""Training examples as the tokens that the engine would read and generate."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ...errors import ModelError, SettingsError
from ..models.base import LanguageModel
from ..models.encoder_decoder import EncoderDecoderLanguageModel
from ..models.opening import added_tokens
from ..prompts import Prompt
from ..tokenization import PromptTokenizer
from .example import TrainingExample, Turn
from .sequence import TokenSequence

logger = logging.getLogger(__name__)


@dataclass
class TokenizingReport:
    """What became of training examples.

    examples: given. sequences: made of them. tokens: read. targets: learned, ends included. names:
    learned; those of a mention of several concepts count once. too_long: examples left out because
    the model cannot read them at once; longest: tokens of the longest of these. unknown: learned
    although a name has characters that the tokenizer does not know, and writes as its token for
    what is unknown, as names that can be generated have them. empty: left out, without a name.
    """

    examples: int = 0
    sequences: int = 0
    tokens: int = 0
    targets: int = 0
    names: int = 0
    too_long: int = 0
    longest: int = 0
    unknown: int = 0
    empty: int = 0


class SequenceMaker:
    """Writes examples as the tokens that a model reads, and those that it learns to write.

    model: decides by its tokenizer, and by whether an encoder reads the prompts. prompt: format of
    the examples. max_length: leave out what has more tokens, if fewer than the model can read.

    Names have the tokens of `PromptTokenizer.name_sequences`; several of a mention are joined by
    its separator. report: counts so far.
    """

    def __init__(
        self, model: LanguageModel, prompt: Prompt, *, max_length: int | None = None
    ) -> None:
        self.tokenizer = PromptTokenizer(model.tokenizer, prompt)
        self.prompt = prompt
        self.max_length = min(max_length or model.max_length, model.max_length)
        self.report = TokenizingReport()
        self._unknown = _unknown_token(model.tokenizer)
        self._opening: list[int] | None = None
        self._closing: list[int] = []
        if isinstance(model, EncoderDecoderLanguageModel):
            self._opening = model.decoder_prompt([])
            self._closing = added_tokens(model.tokenizer)[1]

    def sequences(self, examples: Iterable[TrainingExample]) -> list[TokenSequence]:
        """Sequences of all examples that can be learned; warns of those that cannot.

        Raises SettingsError if names are to be joined and the tokenizer has no separator, or if an
        encoder is to read one running stream.
        """
        before = self.report.too_long, self.report.unknown
        made = [found for each in examples if (found := self.sequence(each)) is not None]
        too_long, unknown = self.report.too_long - before[0], self.report.unknown - before[1]
        if too_long:
            logger.warning(
                "%d of %d training examples have more than the %d tokens that are read at once "
                "(the longest has %d) and are left out: build them with a budget of tokens, choose "
                "a prompt that shows less, or a model with a longer window.",
                *(too_long, self.report.examples, self.max_length, self.report.longest),
            )
        if unknown:
            logger.warning(
                "Names of %d training examples have characters that the tokenizer does not know, "
                "and may look alike to the model. Choose one whose tokenizer can write them.",
                unknown,
            )
        return made

    def sequence(self, example: TrainingExample) -> TokenSequence | None:
        """The sequence of one example; None, and counted, if it cannot be learned."""
        report = self.report
        report.examples += 1
        if not any(turn.names for turn in example.turns):
            report.empty += 1
            return None
        names = [self._target(turn) for turn in example.turns]
        found = (self._stream if self._opening is None else self._pair)(example.turns, names)
        length = max(len(found.ids), 0 if found.source is None else len(found.source))
        room = self.max_length + (0 if found.source is None else len(self._closing))
        if length > room:
            report.too_long += 1
            report.longest = max(report.longest, length)
            return None
        report.unknown += any(self._unknown in ids for ids in names)
        report.sequences += 1
        report.tokens += found.tokens
        report.targets += found.targets
        report.names += len(found.learned)
        return found

    def _target(self, turn: Turn) -> list[int]:
        """The tokens behind a prompt: names, separators and the end."""
        if not turn.names:
            return []
        parts = self.tokenizer.split_sequences(turn.names)
        separator = self.tokenizer.separator
        if len(parts) > 1 and separator is None:
            raise SettingsError(
                f"The tokenizer has no '{self.prompt.name_separator}', which joins the names of "
                "several concepts. Add it as a special token and resize the model, or leave "
                "mentions of several concepts out."
            )
        *rest, last = parts
        return [*chain.from_iterable([*part[:-1], separator or 0] for part in rest), *last]

    def _pair(self, turns: Sequence[Turn], names: Sequence[list[int]]) -> TokenSequence:
        if len(turns) > 1:
            raise SettingsError(
                f"The prompt '{self.prompt.name}' is one running stream, which a model with an "
                "encoder cannot read on: choose a format with one prompt per mention."
            )
        source = [*self.tokenizer.encode(turns[0].prompt), *self._closing]
        opening = self._opening or []
        ids = [*opening, *names[0]]
        return TokenSequence(_array(ids), ((len(opening), len(ids)),), _array(source))

    def _stream(self, turns: Sequence[Turn], names: Sequence[list[int]]) -> TokenSequence:
        ids: list[int] = []
        learned = []
        for turn, target in zip(turns, names, strict=True):
            # Behind the end of a name a text goes on: nothing that begins one is written again.
            ids += self._read_on(turn.prompt) if ids else self.tokenizer.encode(turn.prompt)
            if target:
                learned.append((len(ids), len(ids) + len(target)))
            ids += target
        return TokenSequence(_array(ids), tuple(learned))

    def _read_on(self, text: str) -> list[int]:
        """Tokens of a text behind the end of a name, as within one whole text."""
        tokenizer = self.tokenizer.tokenizer
        end = tokenizer.convert_ids_to_tokens(self.tokenizer.end_token)
        ids = list(tokenizer(end + text, add_special_tokens=False, verbose=False)["input_ids"])
        # Some tokenizers write a space at the beginning of every text.
        if self.tokenizer.end_token not in ids[:2]:
            raise ModelError(
                f"The tokenizer does not read '{end}', which ends a name, as one token. Add it to "
                "the tokenizer as a special token, or choose another prompt."
            )
        return ids[ids.index(self.tokenizer.end_token) + 1 :]


def _unknown_token(tokenizer: Any) -> int | None:
    """What stands for characters that are not in the vocabulary."""
    if (known := getattr(tokenizer, "unk_token_id", None)) is not None:
        return int(known)
    backend = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    token = getattr(backend, "unk_token", None)
    return None if token is None else tokenizer.get_vocab().get(token)


def _array(ids: Sequence[int]) -> np.ndarray:
    return np.array(ids, np.int32)
