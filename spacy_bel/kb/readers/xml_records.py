"""Records of large XML files, one at a time, without what makes XML dangerous.

Entity declarations are refused, so that nothing can expand, and nothing outside the file is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers.lines import open_source

_BLOCK = 1 << 16
_MAX_DEPTH = 100


def read_records(
    path: Path, tags: Collection[str], *, progress: bool = False
) -> Iterator[tuple[int, Element]]:
    """Yield (line number, element) of each element with one of these tags, once it is complete.

    Raises ReadError with file and line for XML that is not well-formed or declares entities.
    """
    collector = _Collector(path, tags)
    with open_source(path, progress=progress) as source:
        try:
            while block := source.read(_BLOCK):
                collector.parser.Parse(block, False)
                yield from collector.finished
                collector.finished.clear()
            collector.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise ReadError(
                f"{path}, line {error.lineno}: not well-formed XML "
                f"({expat.ErrorString(error.code)}); get the file again."
            ) from error
        except (LookupError, ValueError) as error:
            if isinstance(error, ReadError):
                raise
            raise ReadError(
                f"{path}, line {collector.parser.CurrentLineNumber}: the encoding that the XML "
                f"declares cannot be read ({error}); convert the file to UTF-8."
            ) from error
        yield from collector.finished


class _Collector:
    def __init__(self, path: Path, tags: Collection[str]) -> None:
        self.finished: list[tuple[int, Element]] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self.parser.EntityDeclHandler = self._refuse
        self.parser.SkippedEntityHandler = self._skipped
        # A document type may name a DTD, which is never fetched.
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._path = path
        self._tags = tags
        self._depth = 0
        self._line = 0
        self._builder: TreeBuilder | None = None
        self._open = 0  # elements of the record that are not closed

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ReadError(
                f"{self._path}, line {self.parser.CurrentLineNumber}: elements nested more than "
                f"{_MAX_DEPTH} deep; check that this is the right file."
            )
        if self._builder is None:
            if tag not in self._tags:
                return
            self._builder, self._open = TreeBuilder(), 0
            self._line = self.parser.CurrentLineNumber
        self._open += 1
        self._builder.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if self._builder is None:
            return
        self._builder.end(tag)
        self._open -= 1
        if not self._open:
            self.finished.append((self._line, self._builder.close()))
            self._builder = None

    def _data(self, text: str) -> None:
        if self._builder is not None:
            self._builder.data(text)

    def _refuse(self, name: str, *_: Any) -> None:
        raise ReadError(
            f"{self._path}, line {self.parser.CurrentLineNumber}: declares the entity {name!r}; "
            "such files are refused, since entities can fill the memory: remove the declaration."
        )

    def _skipped(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            raise ReadError(
                f"{self._path}, line {self.parser.CurrentLineNumber}: the entity {name!r} is not "
                "declared; replace it by its character."
            )
