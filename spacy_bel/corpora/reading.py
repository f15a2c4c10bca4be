"""One entry to all corpus formats, inferring the format from name and content."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from spacy_bel.corpora.bigbio import read_bigbio
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.files import Source, numbered_lines, standard_input
from spacy_bel.corpora.jsonlines import OnError, report
from spacy_bel.corpora.pubtator import read_pubtator
from spacy_bel.corpora.text import read_jsonl, read_plain_text
from spacy_bel.errors import ReadError

logger = logging.getLogger(__name__)

FORMATS: dict[str, Callable[..., Iterator[CorpusDocument]]] = {
    "text": read_plain_text,
    "jsonl": read_jsonl,
    "bigbio": read_bigbio,
    "pubtator": read_pubtator,
}
SKIPS_BAD_RECORDS = ("jsonl", "bigbio")
SUFFIXES = (".txt", ".text", ".json", ".jsonl", ".pubtator")
HEAD = 1 << 16


def read_documents(
    path: str | Path, format: str | None = None, *, on_error: OnError = None
) -> Iterator[CorpusDocument]:
    """Stream the documents of a file, of all files under a directory, or of standard input.

    path: a file (``.gz`` allowed), a directory, which is read in the order of its file names, or
        "-" for standard input.
    format: a key of `FORMATS`; None infers it for each file from its suffix and first characters.
    on_error: called with each ReadError, reading goes on with the next record (JSON) or file;
        without it the error is raised.

    Raises ReadError for an unknown format, a missing path and a directory without corpus files.
    """
    if format is not None and format not in FORMATS:
        raise ReadError(f"Unknown format {format!r}: choose one of {', '.join(FORMATS)}.")
    if str(path) == "-":
        with standard_input() as (stream, head):
            yield from _read(stream, format or infer_format("-", head), on_error)
        return
    for file in _files(Path(path), format):
        try:
            chosen = format or infer_format(file.name, _head(file))
            yield from _read(file, chosen, on_error)
        except ReadError as error:
            report(error, on_error)


def infer_format(name: str, head: str) -> str:
    """Format of a file from its name and the first characters of its content."""
    name = name.removesuffix(".gz")
    if name.endswith(".pubtator") or re.match(r"\s*[^|\s]+\|t\|", head):
        return "pubtator"
    if name.endswith((".json", ".jsonl")) or head.lstrip().startswith('{"'):
        return "bigbio" if '"passages"' in head else "jsonl"
    return "text"


def _read(source: Source, format: str, on_error: OnError) -> Iterator[CorpusDocument]:
    if format in SKIPS_BAD_RECORDS:
        return FORMATS[format](source, on_error=on_error)
    return FORMATS[format](source)


def _files(path: Path, format: str | None) -> list[Path]:
    if not path.exists():
        raise ReadError(f"{path} does not exist: check the path.")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name[0] != ".")
    known = [file for file in files if file.name.removesuffix(".gz").endswith(SUFFIXES)]
    chosen = files if format else known
    if len(chosen) < len(files):
        logger.warning(
            "%s: %d files without a known suffix are left out.", path, len(files) - len(chosen)
        )
    if not chosen:
        raise ReadError(f"{path} holds no corpus file ({', '.join(SUFFIXES)}, also .gz).")
    return chosen


def _head(path: Path) -> str:
    head = ""
    with closing(numbered_lines(path)) as lines:
        for _, line in lines:
            head += line[:HEAD]
            if len(head) >= HEAD:
                break
    return head
