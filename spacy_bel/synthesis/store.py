"""Answers on disk, each written before anything is made of it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from spacy_bel.errors import NoSpaceError
from spacy_bel.synthesis.base import Answer, GenerationError, Request
from spacy_bel.synthesis.cost import Usage, most_prompt_tokens

#: Bytes that have to be free before another answer is paid for.
_ROOM = 8 << 20


class AnswerStore:
    """A file of JSON lines with the answers of models, found by what they answered.

    path: the file; made if there is none. model, sampling: whose answers are looked up, see
        `Generator`. read_only: nothing is to be added.

    An answer is found again by a hash of model, sampling, messages and attempt, so that a file may
    hold those of several models, languages and terminologies. `add` returns when the answer is on
    the disk. Lines that cannot be read, such as the last one of a run that was killed, are counted
    as `damaged` and passed over. One process at a time may add.

    usage: what all answers of this model in the file took.
    """

    def __init__(
        self,
        path: str | Path,
        model: str,
        sampling: Mapping[str, Any],
        *,
        read_only: bool = False,
    ) -> None:
        self.path = Path(path)
        self.model = model
        self.usage = Usage()
        self.damaged = 0
        self._settings = json.dumps([model, dict(sampling)], sort_keys=True)
        self._places: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._torn = False
        self._descriptor: int | None = None
        if not read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self.path, flags, 0o644)
            self._claim(self._descriptor)
        elif not self.path.is_file():
            raise GenerationError(
                f"There are no answers at {self.path}: give the file that a run has written, or "
                "ask for some."
            )
        self._read()
        self._reader = self.path.open("rb")

    def key(self, request: Request) -> bytes:
        """What an answer is found by."""
        turns = [list(message) for message in request.messages]
        content = json.dumps([self._settings, turns, request.attempt])
        return hashlib.sha256(content.encode()).digest()

    def __contains__(self, request: Request) -> bool:
        return self.key(request) in self._places

    def get(self, request: Request) -> Answer | None:
        """The answer to a request, if there is one."""
        place = self._places.get(self.key(request))
        if place is None:
            return None
        with self._lock:
            self._reader.seek(place)
            row = json.loads(self._reader.readline())
        counted = row["counted"]
        return Answer(
            row["text"],
            row["prompt_tokens"] if counted else None,
            row["completion_tokens"] if counted else None,
            row["finish"],
        )

    def add(self, request: Request, answer: Answer, max_tokens: int) -> None:
        """Keep an answer. max_tokens: what it can have at most, if it does not say."""
        counted = answer.prompt_tokens is not None and answer.completion_tokens is not None
        row = self._row(request, max_tokens)
        if counted:
            row["prompt_tokens"] = answer.prompt_tokens
            row["completion_tokens"] = answer.completion_tokens
        row |= {"counted": counted, "finish": answer.finish, "text": answer.text}
        self._append(row)

    def add_lost(self, request: Request, max_tokens: int) -> None:
        """Keep in mind that a request may have been answered, and what it can have cost."""
        self._append({**self._row(request, max_tokens), "lost": True})

    def check_room(self) -> None:
        """Raise NoSpaceError where further answers could not be kept."""
        if shutil.disk_usage(self.path.parent).free < _ROOM:
            raise self._no_space()

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _row(self, request: Request, max_tokens: int) -> dict[str, Any]:
        return {
            "key": self.key(request).hex(),
            "model": self.model,
            "code": request.code,
            "attempt": request.attempt,
            "prompt_tokens": most_prompt_tokens(request),
            "completion_tokens": max_tokens,
        }

    def _append(self, row: dict[str, Any]) -> None:
        # ASCII: half of a surrogate pair, which a model can write, has no other form.
        line = json.dumps(row).encode("ascii") + b"\n"
        with self._lock:
            if self._descriptor is None:
                raise GenerationError(f"{self.path} is closed: answers can no longer be kept.")
            whole = b"\n" + line if self._torn else line
            try:
                written = os.write(self._descriptor, whole)
                self._torn = written < len(whole)
                if not self._torn:
                    os.fsync(self._descriptor)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise self._no_space() from error
            if self._torn:
                raise self._no_space()
            place = os.lseek(self._descriptor, 0, os.SEEK_END) - len(line)
            self._note(row, place)

    def _read(self) -> None:
        place = 0
        last = b"\n"
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    if line.strip():
                        self._note(json.loads(line), place)
                except (ValueError, KeyError, TypeError, RecursionError):
                    self.damaged += 1
                place += len(line)
                last = line
        self._torn = not last.endswith(b"\n")

    def _note(self, row: dict[str, Any], place: int) -> None:
        """Keep in mind where an answer stands and what it took. Raises for anything else."""
        key = bytes.fromhex(row["key"])
        tokens = int(row["prompt_tokens"]), int(row["completion_tokens"])
        lost = bool(row.get("lost"))
        if not lost:
            if not (isinstance(row["text"], str) and isinstance(row["finish"], str)):
                raise ValueError("An answer is a text.")
            counted = bool(row["counted"])
            self._places[key] = place
        if row["model"] != self.model:
            return
        self.usage.lost += lost
        if not lost:
            self.usage.answers += 1
            self.usage.uncounted += not counted
        self.usage.prompt_tokens += tokens[0]
        self.usage.completion_tokens += tokens[1]

    def _claim(self, descriptor: int) -> None:
        """Raise GenerationError if another process adds to the file: both would pay."""
        try:
            import fcntl
        except ImportError:  # Windows has none
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise GenerationError(
                f"Another run is adding to {self.path}, and what both ask for would be paid twice: "
                "wait for it, or give this run another file."
            ) from error

    def _no_space(self) -> NoSpaceError:
        return NoSpaceError(
            errno.ENOSPC,
            f"No space left to keep answers in {self.path}. Those that are there are whole: make "
            "room, and run the same command again.",
        )
