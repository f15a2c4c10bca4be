"""What formats with mentions apart from the text share: checked offsets, texts beside files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.corpora.files import Source, read_text, source_name
from spacy_bel.errors import ReadError

logger = logging.getLogger(__name__)

TEXT_FOLDERS = (
    "", "text", "texts", "txt", "text_files", "subtask1-ner/txt", "articles", "articles/txt"
)  # fmt: skip
MAX_GAP = 1_000_000
MAX_FILE_NAME = 255  # bytes; file systems hold no longer ones


def located(
    document: CorpusDocument,
    fragments: Sequence[tuple[int, int]],
    text: str,
    where: str,
    **fields: Any,
) -> Annotation:
    """An annotation at one or more places of a document.

    text: the mention as the file writes it; a difference from the document is logged, and found
        again by `is_misplaced`. "" takes it from the document.
    fields: the other fields of `Annotation`.

    Raises ReadError for fragments outside the text.
    """
    pieces = list(fragments)
    if not pieces or any(not 0 <= a < b <= len(document.text) for a, b in pieces):
        raise ReadError(
            f"{where}: the offsets {', '.join(f'{a}-{b}' for a, b in pieces) or 'none'} do not lie "
            f"in the {len(document.text)} characters of the text: they must count Unicode code "
            "points from 0, end exclusive."
        )
    found = " ".join(document.text[a:b] for a, b in pieces)
    annotation = Annotation(
        min(a for a, _ in pieces), max(b for _, b in pieces), text or found, **fields
    )
    annotation.fragments = pieces if len(pieces) > 1 else []
    if is_misplaced(document, annotation):
        logger.warning(
            "%s: the text at %d-%d is %r, not %r: check the offsets.",
            where, annotation.start, annotation.end, found, text,
        )  # fmt: skip
    return annotation


def is_misplaced(document: CorpusDocument, annotation: Annotation) -> bool:
    """Whether the text at an annotation's offsets is another one, white space aside."""
    pieces = annotation.fragments or [(annotation.start, annotation.end)]
    found = "".join(document.text[a:b] for a, b in pieces)
    return "".join(found.split()) != "".join(annotation.text.split())


def add_passage(
    document: CorpusDocument, text: str, start: int, end: int, type: str, where: str
) -> None:
    """Append a passage that has document-wide offsets to a document and its text.

    Raises ReadError where it overlaps the one before or its length is not that of its text.
    """
    gap = start - len(document.text)
    if not 0 <= gap <= MAX_GAP or end - start != len(text):
        raise ReadError(
            f"{where}: the passage at {start}-{end} overlaps the one before it, is far from it, or "
            "is not as long as its text: passages must be in order, with document-wide code point "
            "offsets."
        )
    # What stood between two passages is not in the file; line breaks keep them apart.
    document.text += "\n" * gap + text
    document.passages.append((start, end))
    document.passage_types.append(type)


def tile(document: CorpusDocument) -> bool:
    """Whether `add_passage` would rebuild the text of a document from its passages."""
    text = ""
    for start, end in document.passages:
        gap = start - len(text)
        if not 0 <= gap <= MAX_GAP or not start <= end <= len(document.text):
            return False
        text += "\n" * gap + document.text[start:end]
    return bool(document.passages) and text == document.text


def typed_passages(document: CorpusDocument) -> list[tuple[int, int, str]]:
    """Passages with their types, "" where these are not known."""
    types = document.passage_types or [""] * len(document.passages)
    return [(a, b, type) for (a, b), type in zip(document.passages, types, strict=True)]


def as_offset(value: str, where: str) -> int:
    """A number of a file. Raises ReadError."""
    try:
        return int(value)
    except ValueError as error:
        raise ReadError(f"{where}: the offset {value[:40]!r} is not a number.") from error


def as_paths(source: Source | Sequence[Path]) -> list[Path]:
    """The files of a joint reader. Raises ReadError for a stream, which has nothing beside it."""
    if isinstance(source, (str, Path)):
        return [Path(source)]
    if isinstance(source, Sequence):
        return [Path(file) for file in source]
    raise ReadError(f"{source_name(source)}: the texts stand beside the file: give its path.")


def text_beside(file: Path, name: str) -> str:
    """The text called `name` of an annotation file: beside it, or in a folder of texts near it.

    Raises ReadError if there is none.
    """
    too_long = len(name.encode("utf-8", "replace")) > MAX_FILE_NAME
    if Path(name).name != name or "\\" in name or "\0" in name or too_long:
        raise ReadError(f"{file}: the text {name[:80]!r} is not the plain name of a file.")
    folder = file.absolute().parent
    # CRAFT keeps its texts four folders above the annotations.
    for ancestor in (folder, *list(folder.parents)[:4]):
        for inside in TEXT_FOLDERS:
            path = ancestor / inside / name
            if path.is_file():
                return read_text(path)
    raise ReadError(
        f"{file}: its text {name} is neither beside it nor in a folder called "
        f"{', '.join(filter(None, TEXT_FOLDERS))} there or above: put it there."
    )
