"""Large JSON files one value at a time."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.lines import Source, open_source

_BLOCK = 1 << 20
# No concept is larger; without a limit a missing quote would read the whole file into memory.
_MAX_VALUE = 64 * 1024 * 1024
_SPACE = " \t\n\r"


class JsonSource:
    """Reads a JSON file piece by piece; ``line`` is where it is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._source.line = 1
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0
        self._done = False

    @property
    def line(self) -> int:
        """The number of the line that is being read."""
        return self._source.line

    def peek(self) -> str:
        """The next character that is no space, empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._source.line += self._text[self._at] == "\n"
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def expect(self, characters: str) -> str:
        """Pass over one of these characters and return it."""
        found = self.peek()
        if not found or found not in characters:
            raise self.error(f"{found or 'the end'} instead of {' or '.join(characters)}")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value as Python objects."""
        self.peek()
        while True:
            try:
                value, end = self._scan(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > _MAX_VALUE or not self._more():
                    raise self.error(error.msg) from error
            except (RecursionError, ValueError) as error:
                raise self.error("nested too deep or out of range") from error
            else:
                # A number at the end of a block may go on in the next.
                if end < len(self._text) or not self._more():
                    self._source.line += self._text.count("\n", self._at, end)
                    self._at = end
                    return value

    def error(self, what: str) -> ReadError:
        """A ReadError about this place."""
        return ReadError(
            f"{self._source.path}, line {self.line}: not the expected JSON ({what}); check that "
            "this is the right file and whole."
        )

    def _more(self) -> bool:
        if self._done:
            return False
        # Doubling, so that a large value is not scanned again for every block of it.
        data = self._source.read(max(_BLOCK, len(self._text) - self._at))
        self._done = not data
        self._text = self._text[self._at :] + self._decode.decode(data, final=self._done)
        self._at = 0
        return True


@contextmanager
def open_json(path: Path, *, progress: bool = False) -> Iterator[JsonSource]:
    """Open a JSON file, gzipped or not."""
    with open_source(path, progress=progress) as source:
        yield JsonSource(source)


def list_items(path: Path, *, progress: bool = False) -> Iterator[tuple[int, Any]]:
    """Yield (line number, item) of a file that is one JSON list."""
    with open_json(path, progress=progress) as source:
        source.expect("[")
        if source.peek() == "]":
            source.expect("]")
        else:
            following = ","
            while following == ",":
                source.peek()
                yield source.line, source.value()
                following = source.expect(",]")
        if source.peek():
            raise source.error("text after its end")


def nested_strings(path: Path, *, progress: bool = False) -> Iterator[tuple[int, str, str, Any]]:
    """Yield (line number, outer key, inner key, value) of a JSON object of objects."""
    with open_json(path, progress=progress) as source:
        for outer in _keys(source):
            for inner in _keys(source):
                yield source.line, outer, inner, source.value()
        if source.peek():
            raise source.error("text after its end")


def _keys(source: JsonSource) -> Iterator[str]:
    """The keys of an object; the caller reads each value before it asks for the next key."""
    source.expect("{")
    if source.peek() == "}":
        source.expect("}")
        return
    following = ","
    while following == ",":
        if source.peek() != '"':
            raise source.error("a key that is no string")
        key = source.value()
        source.expect(":")
        yield key
        following = source.expect(",}")
