"""Lines of a text file, gzipped or not, with their numbers."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tqdm import tqdm

from spacy_bel.errors import ReadError

MAX_LINE_BYTES = 64 * 1024 * 1024
# An archive that unpacks to more than both is taken for one made to fill the memory or the disk.
MAX_UNPACKED_RATIO = 250
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
_HEAD_BYTES = 1 << 20


class Source:
    """An open file as the bytes that it holds when unpacked; ``line`` is for messages."""

    def __init__(self, path: Path, raw: IO[bytes], bar: tqdm) -> None:
        start = raw.read(4)
        raw.seek(0)
        if start == b"PK\x03\x04":
            raise ReadError(f"{path} is a zip archive: unpack it and give what is inside.")
        self.path = path
        self.line = 0
        self._raw = raw
        self._bar = bar
        self._zipped = start[:2] == b"\x1f\x8b"
        self._stream: IO[bytes] = cast(
            IO[bytes], gzip.GzipFile(fileobj=raw) if self._zipped else raw
        )
        self._limit = max(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * path.stat().st_size)
        self._read = 0

    def readline(self) -> bytes:
        """The next line with its end, empty at the end of the file."""
        line = self._stream.readline(MAX_LINE_BYTES + 1)
        if line:
            self.line += 1
        if len(line) > MAX_LINE_BYTES:
            raise ReadError(
                f"{self.path}, line {self.line}: longer than {MAX_LINE_BYTES >> 20} MiB; "
                "check that this is the right file."
            )
        self._count(len(line), shown=self.line % 4096 == 0)
        return line

    def read(self, size: int) -> bytes:
        """At most so many bytes, empty at the end of the file."""
        data = self._stream.read(size)
        self._count(len(data), shown=True)
        return data

    def _count(self, size: int, *, shown: bool) -> None:
        self._read += size
        if self._zipped and self._read > self._limit:
            raise ReadError(
                f"{self.path}, after line {self.line}: unpacks to more than {self._limit >> 20} "
                "MiB, far more than a terminology would; unpack it yourself if it is right."
            )
        if shown or not size:
            self._bar.update(self._raw.tell() - self._bar.n)


@contextmanager
def open_source(path: Path, *, progress: bool = False) -> Iterator[Source]:
    """Open a file, gzipped or not.

    progress: show a bar over the bytes of the file, if the standard error is a terminal.
    Raises ReadError if the file cannot be opened, unpacked or decoded, also while it is read.
    """
    source: Source | None = None
    try:
        with path.open("rb") as raw, _bar(path, show=progress) as bar:
            source = Source(path, raw, bar)
            yield source
    except UnicodeError as error:
        expected = getattr(error, "encoding", "text in this encoding").upper()
        raise ReadError(
            f"{path}, line {source.line if source else 0}: not {expected} "
            f"({getattr(error, 'reason', error)}); convert the file to UTF-8."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ReadError(
            f"{path}, after line {source.line if source else 0}: the archive is damaged "
            f"({error}); get it again."
        ) from error
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}): check the path.") from error


def read_lines(
    path: Path, *, progress: bool = False, encoding: str = "utf-8"
) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a text file.

    encoding: a name that Python knows. A byte order mark is left out.
    Raises ReadError if the file cannot be opened, unpacked or decoded.
    """
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ReadError(f"There is no encoding {encoding!r}: use utf-8, latin-1, …") from error
    with open_source(path, progress=progress) as source:
        if encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32")):
            # A line end is two or four bytes there: decode first, then split.
            text = "".join(_decoded(source, encoding))
            for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
                source.line = number
                yield number, line.rstrip("\r\n")
            return
        first = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
        while line_bytes := source.readline():
            line = line_bytes.decode(first if source.line == 1 else encoding)
            yield source.line, line.rstrip("\r\n")


def read_head(path: Path) -> str:
    """The first line of a file, or what of it stands in the first bytes; undecodable bytes go."""
    with open_source(path) as source:
        data = source.read(_HEAD_BYTES)
    return data.decode("utf-8-sig", errors="ignore").partition("\n")[0].rstrip("\r")


def _decoded(source: Source, encoding: str) -> Iterator[str]:
    data = b"".join(iter(lambda: source.read(1 << 20), b""))
    source.line = 1
    yield data.decode(encoding)


def _bar(path: Path, *, show: bool) -> tqdm:
    size = path.stat().st_size
    # disable=None: shown only in a terminal.
    return tqdm(
        total=size, desc=path.name, unit="B", unit_scale=True, disable=None if show else True
    )
