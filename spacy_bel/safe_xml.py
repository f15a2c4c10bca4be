"""XML in a stream, without its dangers: no entities of the file's own, nothing fetched.

The parser of the standard library is driven directly, because `xml.etree` neither refuses entity
declarations nor tells the line of an element.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Protocol
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from .errors import ReadError

_BLOCK = 1 << 16
_MAX_DEPTH = 100


class Readable(Protocol):
    """Anything that gives text or bytes piece by piece."""

    def read(self, size: int, /) -> Any:
        """At most so many characters or bytes; nothing at the end."""
        ...


def iter_elements(
    stream: Readable, name: str, tags: Collection[str], *, root: str | None = None
) -> Iterator[tuple[int, Element]]:
    """Yield (line, element) of each element with one of these tags; memory is that of one.

    stream: text or bytes. name: of the file, for messages. root: what the outermost element must be
    called.

    Raises ReadError for XML that is not well-formed, that declares entities (they may expand
    without end, or read files) or that is nested more than 100 deep.
    """
    collector = _Collector(name, tags, root)
    try:
        while block := stream.read(_BLOCK):
            collector.parser.Parse(block, False)
            yield from collector.take()
        collector.parser.Parse(b"", True)
        yield from collector.take()
    except expat.ExpatError as error:
        raise ReadError(
            f"{name}, line {error.lineno}: not well-formed XML "
            f"({expat.ErrorString(error.code)}): get the file again."
        ) from error
    except (LookupError, ValueError) as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(
            f"{name}, line {collector.parser.CurrentLineNumber}: the encoding that the XML "
            f"declares cannot be read ({error}): convert the file to UTF-8."
        ) from error


class _Collector:
    """Builds the elements of some names and forgets everything else."""

    def __init__(self, name: str, tags: Collection[str], root: str | None) -> None:
        self.name, self.tags, self.root = name, tags, root
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._refuse
        # Skipped in silence otherwise, which would shift every offset after it.
        self.parser.SkippedEntityHandler = self._skipped
        # A document type may name a DTD, which is never fetched.
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._builder: TreeBuilder | None = None
        self._depth = self._outer = self._line = 0
        self._finished: list[tuple[int, Element]] = []

    def take(self) -> list[tuple[int, Element]]:
        finished, self._finished = self._finished, []
        return finished

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._depth and self.root is not None and tag != self.root:
            raise self._error(
                f"the outermost element is <{tag}>, not <{self.root}>: give the format that the "
                "file has."
            )
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(
                f"elements nested more than {_MAX_DEPTH} deep: check that this is the right file."
            )
        if self._builder is None and tag in self.tags:
            self._builder, self._outer = TreeBuilder(), self._depth
            self._line = self.parser.CurrentLineNumber
        if self._builder is not None:
            self._builder.start(tag, attributes)

    def _text(self, text: str) -> None:
        if self._builder is not None:
            self._builder.data(text)

    def _end(self, tag: str) -> None:
        if self._builder is not None:
            self._builder.end(tag)
            if self._depth == self._outer:
                self._finished.append((self._line, self._builder.close()))
                self._builder = None
        self._depth -= 1

    def _refuse(self, entity: str, *_: Any) -> None:
        raise self._error(
            f"declares the entity {entity!r}: such files are refused, since entities can expand "
            "without end; write out what it stands for."
        )

    def _skipped(self, entity: str, is_parameter: bool) -> None:
        if not is_parameter:
            raise self._error(f"the entity {entity!r} is not declared: write its character.")

    def _error(self, message: str) -> ReadError:
        return ReadError(f"{self.name}, line {self.parser.CurrentLineNumber}: {message}")
