"""Lines of a text file, gzipped or not, with their numbers."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from spacy_bel.errors import ReadError


def read_lines(path: Path, *, progress: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 file.

    progress: show a bar over the bytes of the file, if the standard error is a terminal.
    Raises ReadError if the file cannot be opened, unpacked or decoded.
    """
    number = 0
    try:
        with path.open("rb") as raw, _bar(path, show=progress) as bar:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            lines = gzip.GzipFile(fileobj=raw) if zipped else raw
            for number, line in enumerate(lines, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                yield number, text.rstrip("\r\n")
                if number % 4096 == 0:
                    bar.update(raw.tell() - bar.n)
            bar.update(raw.tell() - bar.n)
    except UnicodeDecodeError as error:
        raise ReadError(
            f"{path}, line {number}: not UTF-8 ({error.reason}); convert the file to UTF-8."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ReadError(
            f"{path}, after line {number}: the archive is damaged ({error}); get it again."
        ) from error
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}): check the path.") from error


def _bar(path: Path, *, show: bool) -> tqdm:
    size = path.stat().st_size
    # disable=None: shown only in a terminal.
    return tqdm(
        total=size, desc=path.name, unit="B", unit_scale=True, disable=None if show else True
    )
