"""Opening corpus files: gzip, open streams, encoding errors that name file and line."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

from spacy_bel.errors import ReadError

Source = str | Path | TextIO
"""A path, or a stream that is already open, such as standard input."""


def numbered_lines(source: Source) -> Generator[tuple[int, str], None, None]:
    """Line numbers from 1 and lines with their line ends; ReadError on undecodable input.

    Files are UTF-8, gzipped if they end in ``.gz``. Line ends stay as they are, because offsets
    count every character of a plain text.
    """
    stream = source if isinstance(source, io.TextIOBase) else _open(Path(cast(str, source)))
    number = 0
    try:
        for line in stream:
            number += 1
            yield number, cast(str, line)
    except (UnicodeDecodeError, EOFError, OSError) as error:
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


def source_name(source: Source) -> str:
    """How messages call a source."""
    return "standard input" if isinstance(source, io.TextIOBase) else str(source)


def _open(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline="\n"))
        return path.open(encoding="utf-8-sig", newline="\n")
    except OSError as error:
        raise ReadError(f"Cannot open {path} ({error.strerror}): check the path.") from error


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
