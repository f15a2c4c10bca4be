"""XML in a stream, without the dangers: no entities of the file's own, nothing fetched.

The parser of the standard library is driven directly, because `xml.etree` neither refuses entity
declarations nor tells the line of an element.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any, cast
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from spacy_bel.corpora.files import Source, open_bytes, source_name
from spacy_bel.errors import ReadError

CHUNK = 1 << 16
MAX_DEPTH = 100


def iter_elements(source: Source, root: str, tag: str) -> Iterator[tuple[str, Element]]:
    """Yield ("file, line 3", element) for each element called `tag`; memory is that of one.

    root: what the outermost element must be called; it may be `tag` itself.

    Raises ReadError for XML that is not well-formed, that declares entities (they may expand
    without end, or read files) or that is nested more than 100 deep.
    """
    name = source_name(source)
    collector = _Collector(name, root, tag)
    stream: Any = source if isinstance(source, io.TextIOBase) else open_bytes(source)
    try:
        while chunk := stream.read(CHUNK):
            collector.parser.Parse(chunk, False)
            yield from collector.take()
        collector.parser.Parse(b"", True)
        yield from collector.take()
    except expat.ExpatError as error:
        raise ReadError(
            f"{name}, line {error.lineno}: not well-formed XML ({error}): fetch the file again."
        ) from error
    except (EOFError, OSError, zlib.error, LookupError, ValueError) as error:
        if isinstance(error, ReadError):
            raise
        line = collector.parser.CurrentLineNumber
        raise ReadError(
            f"{name}, line {line}: {error}. Fetch or convert the file again."
        ) from error
    finally:
        if stream is not source:
            stream.close()


class _Collector:
    """Builds the elements of one name and forgets everything else."""

    def __init__(self, name: str, root: str, tag: str) -> None:
        self.name, self.root, self.tag = name, root, tag
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._refuse
        # Skipped in silence otherwise, which would shift every offset after it.
        self.parser.SkippedEntityHandler = self._refuse
        self._path: list[str] = []
        self._builder: TreeBuilder | None = None
        self._outer = 0
        self._line = 0
        self._finished: list[tuple[str, Element]] = []

    def take(self) -> list[tuple[str, Element]]:
        finished, self._finished = self._finished, []
        return finished

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self.parser.CurrentLineNumber
        if not self._path and tag != self.root:
            raise ReadError(
                f"{self.name}, line {line}: the outermost element is <{tag}>, not <{self.root}>: "
                "give the format that the file has."
            )
        self._path.append(tag)
        if len(self._path) > MAX_DEPTH:
            raise ReadError(f"{self.name}, line {line}: elements more than {MAX_DEPTH} deep.")
        if self._builder is None and tag == self.tag:
            self._builder, self._outer, self._line = TreeBuilder(), len(self._path), line
        if self._builder is not None:
            self._builder.start(tag, attributes)

    def _text(self, text: str) -> None:
        if self._builder is not None:
            self._builder.data(text)

    def _end(self, tag: str) -> None:
        if self._builder is not None:
            self._builder.end(tag)
            if len(self._path) == self._outer:
                element = cast(Element, self._builder.close())
                self._finished.append((f"{self.name}, line {self._line}", element))
                self._builder = None
        self._path.pop()

    def _refuse(self, entity: str, *_: Any) -> None:
        raise ReadError(
            f"{self.name}, line {self.parser.CurrentLineNumber}: uses the entity {entity!r}. Such "
            "entities can expand without end and are not read: write out what they stand for."
        )
