"""One entry to all corpus formats. A format is one module and one line of ``FORMATS``."""

from __future__ import annotations

import logging
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy_bel.corpora import bigbio, bioc, brat, docbin, knowtator, pubtator, spaccc, text
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.files import Source, numbered_lines, open_bytes, standard_input
from spacy_bel.corpora.jsonlines import OnError, report
from spacy_bel.errors import ReadError

logger = logging.getLogger(__name__)

HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Format:
    """A corpus format.

    description: one line for people.
    read: reader of a file or an open text stream; takes `on_error` and options of its own.
    suffixes: what the names of its files end with, without ``.gz``.
    recognises: whether a file with this name (without ``.gz``) and beginning is of this format.
    beside: the text stands in other files, beside those that are read.
    joint: the reader takes all files of a directory at once, since several may be about one text.
    """

    description: str
    read: Callable[..., Iterator[CorpusDocument]]
    suffixes: tuple[str, ...]
    recognises: Callable[[str, str], bool]
    beside: bool = False
    joint: bool = False


def _is_pages(name: str, head: str) -> bool:
    return _is_json(name, head) and '"passages"' in head


def _is_json(name: str, head: str) -> bool:
    return name.endswith((".json", ".jsonl")) or head.lstrip().startswith('{"')


# The first that recognises a file is taken.
FORMATS: dict[str, Format] = {
    "docbin": Format(
        "spaCy's DocBin", docbin.read_docbin, (".spacy",), lambda name, _: name.endswith(".spacy")
    ),
    "brat": Format(
        "BRAT standoff, .ann beside .txt", brat.read_brat, (".ann",),
        lambda name, _: name.endswith(".ann"), beside=True,
    ),
    "knowtator": Format(
        "Knowtator XML beside articles (CRAFT)", knowtator.read_knowtator, (".xml",),
        lambda name, head: name.endswith(knowtator.SUFFIX) or "<annotations textSource" in head,
        beside=True, joint=True,
    ),
    "bioc": Format(
        "BioC XML", bioc.read_bioc, (".xml", ".bioc"),
        lambda name, head: name.endswith((".xml", ".bioc")) or "<collection>" in head,
    ),
    "spaccc": Format(
        "tab-separated mentions beside texts (DisTEMIST, SympTEMIST, MedProcNER)",
        spaccc.read_spaccc, (".tsv",),
        lambda _, head: spaccc.heading(head.partition("\n")[0]) is not None,
        beside=True, joint=True,
    ),
    "pubtator": Format(
        "PubTator (MedMentions, NCBI Disease, BC5CDR, BioRED)", pubtator.read_pubtator,
        (".pubtator", ".txt"),
        lambda name, head: name.endswith(".pubtator")
        or re.match(r"\s*[^|\s]+\|t\|", head) is not None,
    ),
    "bigbio": Format("BigBio-KB pages", bigbio.read_bigbio, (".json", ".jsonl"), _is_pages),
    "jsonl": Format("JSON lines of texts", text.read_jsonl, (".jsonl", ".json"), _is_json),
    "text": Format(
        "plain text, one document a file", text.read_plain_text, (".txt", ".text"),
        lambda *_: True,
    ),
}  # fmt: skip
SUFFIXES = tuple(sorted({suffix for format in FORMATS.values() for suffix in format.suffixes}))


def read_documents(
    path: str | Path,
    format: str | None = None,
    *,
    ids: str | Path | Iterable[str] | None = None,
    on_error: OnError = None,
    **options: Any,
) -> Iterator[CorpusDocument]:
    """Stream the documents of a file, of all files under a directory, or of standard input.

    path: a file (``.gz`` allowed), a directory, which is read in the order of its file names, or
        "-" for standard input.
    format: a key of `FORMATS`; None infers it for each file from its suffix and first characters.
    ids: only documents of these ids, given as such or as a file with one a line, as corpora come
        with that are split by PMIDs.
    on_error: called with each ReadError, reading goes on with what follows; without it the error is
        raised.
    options: further arguments of the reader of `format`.

    A document whose id occurred before is given all the same, with ``meta["duplicate_id"]``.
    Raises ReadError for an unknown format, a missing path, a directory without corpus files and
    a file of ids that names a document twice or one that is not there.
    """
    if format is not None and format not in FORMATS:
        raise ReadError(f"Unknown format {format!r}: choose one of {', '.join(FORMATS)}.")
    wanted = None if ids is None else _read_ids(ids)
    seen: Counter[str] = Counter()
    for document in _read_all(path, format, on_error, options):
        if wanted is not None and document.id not in wanted:
            continue
        seen[document.id] += 1
        if seen[document.id] > 1:
            document.meta["duplicate_id"] = seen[document.id]
            logger.warning("Document %s occurs %d times.", document.id, seen[document.id])
        yield document
    missing = sorted((wanted or set()) - set(seen))
    if missing:
        report(
            f"{len(missing)} of {len(wanted or ())} ids are not in {path}, e.g. {missing[0]!r}: "
            "give the ids of this corpus.",
            on_error,
        )


def infer_format(name: str, head: str) -> str:
    """Format of a file from its name and the first characters of its content."""
    name = name.removesuffix(".gz")
    return next(key for key, format in FORMATS.items() if format.recognises(name, head))


def _read_ids(ids: str | Path | Iterable[str]) -> set[str]:
    if isinstance(ids, (str, Path)):
        return {line.strip() for _, line in numbered_lines(ids) if line.strip()}
    return set(ids)


def _read_all(
    path: str | Path, format: str | None, on_error: OnError, options: dict[str, Any]
) -> Iterator[CorpusDocument]:
    if str(path) == "-":
        if format and (FORMATS[format].beside or format == "docbin"):
            raise ReadError(f"The format {format} cannot be read from standard input: give a path.")
        with standard_input() as (stream, head):
            chosen = format or infer_format("-", head)
            # A table whose texts are elsewhere is refused by its reader.
            yield from FORMATS[chosen].read(stream, on_error=on_error, **options)
        return
    for chosen, source in _sources(Path(path), format, on_error):
        try:
            yield from FORMATS[chosen].read(source, on_error=on_error, **options)
        except ReadError as error:
            report(error, on_error)


def _sources(
    path: Path, format: str | None, on_error: OnError
) -> list[tuple[str, Source | Sequence[Path]]]:
    """Formats, and the files that their readers take."""
    if not path.exists():
        raise ReadError(f"{path} does not exist: check the path.")
    files = _files(path, format) if path.is_dir() else [path]
    formats = []
    for file in files:
        try:
            formats.append((file, format or infer_format(file.name, _head(file))))
        except ReadError as error:
            report(error, on_error)
    if any(FORMATS[chosen].beside for _, chosen in formats):
        # Plain texts among them are those that the annotations are about.
        formats = [(file, chosen) for file, chosen in formats if chosen != "text"]
    joint: dict[str, list[Path]] = {}
    sources: list[tuple[str, Source | Sequence[Path]]] = []
    for file, chosen in formats:
        if not FORMATS[chosen].joint:
            sources.append((chosen, file))
        elif chosen in joint:
            joint[chosen].append(file)
        else:
            joint[chosen] = [file]
            sources.append((chosen, joint[chosen]))
    return sources


def _files(path: Path, format: str | None) -> list[Path]:
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name[0] != ".")
    beside = format is not None and FORMATS[format].beside
    suffixes = FORMATS[format].suffixes if format and beside else SUFFIXES
    known = [file for file in files if file.name.removesuffix(".gz").endswith(suffixes)]
    chosen = files if format and not beside else known
    left_out = set(files) - set(chosen)
    left_out = {file for file in left_out if not (beside and file.suffix == ".txt")}
    if left_out:
        logger.warning("%s: %d files without a known suffix are left out.", path, len(left_out))
    if not chosen:
        raise ReadError(f"{path} holds no corpus file ({', '.join(suffixes)}, also .gz).")
    return chosen


def _head(path: Path) -> str:
    """The beginning of a file; what cannot be read or decoded is for the reader to complain of."""
    try:
        with open_bytes(path) as stream:
            return stream.read(HEAD).decode("utf-8-sig", errors="ignore")
    except (OSError, EOFError, zlib.error):
        return ""
