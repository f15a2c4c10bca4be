"""Opening corpus files: gzip, open streams, encoding errors that name file and line."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast
from xml.etree.ElementTree import Element

from spacy_bel.errors import ReadError
from spacy_bel.safe_xml import iter_elements

Source = str | Path | TextIO
"""A path, or a stream that is already open, such as standard input."""

# Text rarely packs better than 30 to 1. Beyond these figures a .gz file is taken for an attack.
MAX_RATIO = 100
FREE_BYTES = 1 << 28
MAX_LINE = 1 << 27  # characters; a whole corpus in one line of JSON is shorter


def numbered_lines(source: Source) -> Generator[tuple[int, str], None, None]:
    """Line numbers from 1 and lines with their line ends; ReadError on undecodable input.

    Files are UTF-8, gzipped or not, as their first bytes say. Line ends stay as they are,
    because offsets count every character of a plain text.
    """
    stream = source if isinstance(source, io.TextIOBase) else open_text(source)
    number = 0
    try:
        while line := stream.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE:
                raise ReadError(
                    f"{source_name(source)}, line {number}: longer than {MAX_LINE:,} characters: "
                    "check that this is the right file."
                )
            yield number, cast(str, line)
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise ReadError(
            f"{source_name(source)}, after line {number}: {error}. Files must be UTF-8 and .gz "
            "files complete: convert the file or fetch it again."
        ) from error
    finally:
        if stream is not source:
            stream.close()


def read_text(source: Source) -> str:
    """The whole text of a source."""
    return "".join(line for _, line in numbered_lines(source))


def xml_elements(source: Source, root: str, tag: str) -> Iterator[tuple[str, Element]]:
    """Yield ("file, line 3", element) for each element called `tag`; memory is that of one.

    root: what the outermost element must be called; it may be `tag` itself.

    Raises ReadError as `spacy_bel.safe_xml.iter_elements` does, and for damaged gzip.
    """
    name = source_name(source)
    stream: Any = source if isinstance(source, io.TextIOBase) else open_bytes(source)
    try:
        for line, element in iter_elements(stream, name, (tag,), root=root):
            yield f"{name}, line {line}", element
    except (EOFError, OSError, zlib.error) as error:
        raise ReadError(f"{name}: {error}. Fetch or convert the file again.") from error
    finally:
        if stream is not source:
            stream.close()


def source_name(source: Source) -> str:
    """How messages call a source."""
    return "standard input" if isinstance(source, io.TextIOBase) else str(source)


def open_text(source: Source) -> TextIO:
    """A file as UTF-8 text, without the mark at its beginning."""
    return io.TextIOWrapper(open_bytes(source), encoding="utf-8-sig", newline="\n")


def open_bytes(source: Source) -> io.BufferedReader:
    """A file as bytes, unpacked if it is gzipped. Reading raises ReadError at a gzip bomb."""
    path = Path(cast(str, source))
    try:
        raw = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReadError(f"Cannot open {path} ({reason}): check the path.") from error
    try:
        if raw.peek(2)[:2] == b"\x1f\x8b":
            return io.BufferedReader(_Unpacked(raw, path))
    except OSError as error:
        raw.close()
        raise ReadError(f"Cannot read {path} ({error.strerror}): check the file.") from error
    return raw


class _Unpacked(io.RawIOBase):
    """What a gzipped file holds, as long as that is in proportion to its size."""

    def __init__(self, raw: io.BufferedReader, path: Path) -> None:
        self._raw, self._path = raw, path
        self._unpacked = gzip.GzipFile(fileobj=raw)
        self._most = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._unpacked.read(len(buffer))
        self._count += len(data)
        if self._count > self._most:
            raise ReadError(
                f"{self._path} unpacks to more than {MAX_RATIO} times its size: if that is what it "
                "should hold, unpack it yourself."
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._unpacked.close()
        self._raw.close()
        super().close()


@contextmanager
def standard_input() -> Iterator[tuple[TextIO, str]]:
    """Standard input as UTF-8 text, and what can be seen of it without reading it."""
    buffer = io.BufferedReader(sys.stdin.buffer)  # type: ignore[type-var]
    stream = io.TextIOWrapper(buffer, encoding="utf-8-sig", newline="\n")
    try:
        yield stream, buffer.peek().decode("utf-8-sig", errors="ignore")
    finally:
        # Without this the wrapper would close sys.stdin when it is collected.
        stream.detach()
        buffer.detach()
