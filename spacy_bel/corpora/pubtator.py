"""PubTator: a title line, an abstract line, one tab-separated line per mention or relation.

Format: https://www.ncbi.nlm.nih.gov/research/pubtator3/tutorial and the NCBI Disease and BC5CDR
releases. Offsets run over title, one separator character, abstract.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from spacy_bel.corpora.document import NO_CODE, Annotation, CorpusDocument
from spacy_bel.corpora.files import Source, numbered_lines, source_name
from spacy_bel.errors import ReadError

logger = logging.getLogger(__name__)

PASSAGE_LINE = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)


def read_pubtator(source: Source) -> Iterator[CorpusDocument]:
    """Stream the documents of a PubTator file (also ``.gz``).

    Title and abstract become two passages separated by a newline. Relation lines are kept as
    lists of strings in ``meta["relations"]``, the names of a composite mention's parts (seventh
    column of BC5CDR) in ``meta["components"]`` under the number of the annotation.

    Raises ReadError, with file and line, for a line that is not PubTator, for offsets outside the
    text and for an annotation of another document.
    """
    document: CorpusDocument | None = None
    for number, line in numbered_lines(source):
        line = line.rstrip("\r\n")
        where = f"{source_name(source)}, line {number}"
        passage = PASSAGE_LINE.fullmatch(line)
        if passage:
            identifier, kind, text = passage.groups()
            if kind == "t":
                if document:
                    yield document
                document = CorpusDocument(identifier, text, [(0, len(text))])
            elif document is None or document.id != identifier:
                raise ReadError(f"{where}: abstract of {identifier} without its title before it.")
            elif len(document.passages) > 1:
                raise ReadError(f"{where}: second abstract of {identifier}: keep one.")
            else:
                start = len(document.text) + 1
                document.text += "\n" + text
                document.passages.append((start, len(document.text)))
        elif line.strip():
            _add_line(document, line.split("\t"), where)
    if document:
        yield document


def _add_line(document: CorpusDocument | None, columns: list[str], where: str) -> None:
    if document is None or columns[0] != document.id or len(columns) < 4:
        raise ReadError(
            f"{where}: expected '<id>|t|<title>', '<id>|a|<abstract>' or tab-separated columns "
            f"'<id> <start> <end> <text> <type> <codes>' of the document above."
        )
    if not columns[1].isdecimal():
        document.meta.setdefault("relations", []).append(columns[1:])
        return
    try:
        start, end = int(columns[1]), int(columns[2])
    except ValueError as error:
        raise ReadError(f"{where}: the end offset {columns[2]!r} is not a number.") from error
    if not start < end <= len(document.text):
        raise ReadError(
            f"{where}: offsets {start}-{end} do not lie in the {len(document.text)} characters of "
            "the text: they must count Unicode code points of title, separator and abstract."
        )
    text, label, codes = (*columns[3:6], "", "")[:3]
    if document.text[start:end].split() != text.split():
        logger.warning(
            "%s: the text at %d-%d is %r, not %r: check the offsets.",
            where, start, end, document.text[start:end], text,
        )  # fmt: skip
    if columns[6:]:
        components = document.meta.setdefault("components", {})
        components[str(len(document.annotations))] = columns[6:]
    document.annotations.append(Annotation(start, end, text, label.strip(), parse_codes(codes)))


def parse_codes(column: str) -> list[list[str]]:
    """Codes of the sixth column as AND of ORs; ``-1`` and an empty column give no code.

    ``+``, ``,`` and ``;`` join the concepts of one mention. So does ``|`` ("breast or ovarian
    cancer" is ``D001943|D010051``), except where every code comes from another vocabulary
    (``C535342|OMIM:116800``): there the corpora name one concept twice.
    """
    parts: list[list[str]] = []
    for piece in re.split(r"[+,;]", column):
        codes = [code for code in map(str.strip, piece.split("|")) if code not in NO_CODE]
        codes = list(dict.fromkeys(codes))
        if len({_vocabulary(code) for code in codes}) == len(codes):
            parts.append(codes)
        else:
            parts.extend([code] for code in codes)
    return [list(part) for part in dict.fromkeys(tuple(part) for part in parts if part)]


def _vocabulary(code: str) -> str:
    prefix, colon, _ = code.rpartition(":")
    # Bare codes are MeSH in these corpora.
    return prefix.upper() if colon else "MESH"
