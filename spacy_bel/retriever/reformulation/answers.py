"""Answers of a reformulator, each asked for once: remembered, and kept in a file if wanted."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spacy_bel.errors import ModelError
from spacy_bel.retriever.reformulation.base import QueryReformulator, Request, clean_name

logger = logging.getLogger(__name__)

#: Requests after which the answers are written.
_AT_ONCE = 64
#: Answers that are remembered where there is no file.
_REMEMBERED = 100_000


class Answers:
    """Standard names by request.

    reformulator: who is asked. file: JSON lines in which answers are looked up, and to which new
    ones are added as they come, so that an interrupted run goes on where it was. Answers of other
    models and prompts may stand in it, too; they are told apart by the reformulator's name. Several
    processes may add to it.

    Raises ModelError if the reformulator is none.
    """

    def __init__(self, reformulator: QueryReformulator, file: str | Path | None = None) -> None:
        if not (hasattr(reformulator, "name") and hasattr(reformulator, "reformulate")):
            raise ModelError(
                f"{reformulator!r} is no reformulator: give an object with name and reformulate, "
                'such as {"@misc": "spacy_bel.CausalLMReformulator.v1", …} makes, or nothing.'
            )
        self.reformulator = reformulator
        self.file = None if file is None else Path(file)
        self._known: dict[Request, str | None] | None = None

    def open(self) -> None:
        """Let the reformulator open what it needs.

        With a file that is left to the first answer that is missing: there may be none.
        """
        if self.file is None and self._known is None:
            self.reformulator.reformulate([])
        self._load()

    def names(self, requests: Sequence[Request]) -> list[str | None]:
        """The standard name for each request, as it can be searched for.

        Raises ModelError if the reformulator does not give a string or None for each.
        """
        known = self._load()
        found = {request: known[request] for request in requests if request in known}
        new = [request for request in dict.fromkeys(requests) if request not in found]
        for start in range(0, len(new), _AT_ONCE):
            asked = new[start : start + _AT_ONCE]
            answers = dict(zip(asked, self._ask(asked), strict=True))
            found.update(answers)
            known.update(answers)
            self._write(answers)
        while self.file is None and len(known) > _REMEMBERED:
            known.pop(next(iter(known)))
        return [found[request] for request in requests]

    def _ask(self, requests: Sequence[Request]) -> list[str | None]:
        answers = self.reformulator.reformulate(requests)
        if len(answers) != len(requests) or not all(
            isinstance(a, (str, type(None))) for a in answers
        ):
            raise ModelError(
                f"The reformulator {self.reformulator.name!r} has to give a string or None for "
                f"each of {len(requests)} mentions, but gave {answers!r:.200}."
            )
        return [clean_name(answer) for answer in answers]

    def _load(self) -> dict[Request, str | None]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[Request, str | None]:
        known: dict[Request, str | None] = {}
        if self.file is None or not self.file.exists():
            return known
        damaged = 0
        with self.file.open("rb") as lines:
            for line in filter(bytes.strip, lines):
                try:
                    row = json.loads(line)
                    if row["by"] == self.reformulator.name:
                        request = Request(row["sentence"], row["mention"], tuple(row["groups"]))
                        known[request] = clean_name(row["name"])
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    damaged += 1  # such as the last line of a run that was killed
        if damaged:
            logger.warning("%s: %d lines cannot be read and are ignored.", self.file, damaged)
        return known

    def _write(self, answers: dict[Request, str | None]) -> None:
        if self.file is None:
            return
        by = {"by": self.reformulator.name}
        rows: list[dict[str, Any]] = [{**by, **r._asdict(), "name": n} for r, n in answers.items()]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # The line break first ends a line that was cut off. One call of the system, so that lines
        # of several processes do not mix.
        content = "".join(f"\n{json.dumps(row)}" for row in rows) + "\n"
        with self.file.open("ab", buffering=0) as stream:
            stream.write(content.encode("ascii"))

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the file itself.
        return {**self.__dict__, "_known": self._known if self.file is None else None}
