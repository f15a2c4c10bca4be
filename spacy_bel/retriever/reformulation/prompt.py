"""What a language model is asked for a standard name, and how its answer is read."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

from spacy_bel.retriever.reformulation.base import Request

logger = logging.getLogger(__name__)

KEY = "standard_name"
INSTRUCTION = (
    "Below is a sentence from a biomedical text and a mention in it. Give the standard name of the "
    "concept that the mention refers to in this sentence, as it is called in {ontology}. Answer "
    'with one JSON object of the form {{"standard_name": "..."}} and nothing else. If there is no '
    'such concept, answer {{"standard_name": null}}.'
)
#: What the answer begins with the second time, where the model lets it be begun.
BEGUN = f'{{"{KEY}": "'

_MOST_GROUPS = 3  # a longer list says little
_LONGEST_ANSWER = 4000


class PromptedReformulator(ABC):
    """A reformulator over any language model: the prompt, the answer, and a second try.

    A subclass gives ``name``, and answers turns with ``generate``. An answer that cannot be read is
    asked for once more; if that one cannot be read either, the mention is searched alone.

    ontology: what the prompt calls the terminology, such as "MeSH" or "the Human Phenotype
    Ontology".
    """

    def __init__(self, ontology: str) -> None:
        self.ontology = ontology

    @property
    @abstractmethod
    def name(self) -> str:
        """What tells its answers from those of other models and prompts."""

    @abstractmethod
    def generate(self, turns: Sequence[str], begun: str = "") -> Sequence[str | None]:
        """The model's answer to each user turn, with thinking off and at temperature 0.

        begun: what answers should begin with; it is part of what is returned. A service that cannot
        begin an answer may ignore it. None: there is no answer, and none is to be asked for again.
        """

    def turn(self, request: Request) -> str:
        """The user turn that asks for a name."""
        return user_turn(request, self.ontology)

    def reformulate(self, requests: Sequence[Request]) -> list[str | None]:
        """The standard name for each request; None where the answer has none."""
        turns = [self.turn(request) for request in requests]
        names: list[str | None] = [None] * len(turns)
        unread = self._ask(turns, range(len(turns)), names)
        if unread:
            unread = self._ask(turns, unread, names, BEGUN)
        if unread:
            logger.warning(
                "%s: %d of %d answers hold no JSON object with %s; these mentions are searched "
                "alone.",
                self.name,
                len(unread),
                len(turns),
                KEY,
            )
        return names

    def _ask(
        self, turns: list[str], rows: Sequence[int], names: list[str | None], begun: str = ""
    ) -> list[int]:
        """Fill in the names of some rows; returns the rows whose answers cannot be read."""
        unread = []
        answers = self.generate([turns[row] for row in rows], begun)
        for row, answer in zip(rows, answers, strict=True):
            if answer is None:
                continue
            try:
                names[row] = read_answer(answer)
            except ValueError:
                unread.append(row)
        return unread


def prompt_fingerprint(ontology: str) -> str:
    """A few characters that change with the prompt, to be part of a reformulator's name."""
    turn = user_turn(Request("sentence", "mention", ("group",)), ontology)
    return hashlib.sha256(f"{turn}\n{BEGUN}".encode()).hexdigest()[:12]


def user_turn(request: Request, ontology: str) -> str:
    """Instruction, sentence, mention and, if there are few, its semantic groups."""
    lines = [
        INSTRUCTION.format(ontology=ontology),
        "",
        f"Sentence: {request.sentence}",
        f"Mention: {request.mention}",
    ]
    if 0 < len(request.groups) <= _MOST_GROUPS:
        lines.append(f"Semantic group: {', '.join(request.groups)}")
    return "\n".join(lines)


def read_answer(answer: str) -> str | None:
    """The name in the first JSON object that has one; None if it says that there is none.

    Raises ValueError if there is no such object.
    """
    text = answer[:_LONGEST_ANSWER]
    decoder = json.JSONDecoder(strict=False)
    at = text.find("{")
    while at >= 0:
        try:
            found, _ = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and KEY in found:
            name = found[KEY]
            if name is None or isinstance(name, str):
                return name or None
        at = text.find("{", at + 1)
    raise ValueError(f"There is no JSON object with {KEY!r} in {text[:60]!r}.")
