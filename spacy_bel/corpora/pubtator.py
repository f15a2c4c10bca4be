"""PubTator: a title line, an abstract line, one tab-separated line per mention or relation.

Format: https://www.ncbi.nlm.nih.gov/research/pubtator3/tutorial and the NCBI Disease and BC5CDR
releases. Offsets run over title, one separator character, abstract.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spacy_bel.corpora.document import NO_CODE, CorpusDocument, code_string
from spacy_bel.corpora.files import Source, numbered_lines, source_name
from spacy_bel.corpora.jsonlines import OnError, report
from spacy_bel.corpora.standoff import as_offset, located
from spacy_bel.errors import ReadError

VARIANT = re.compile(r"[a-z]?\|[A-Z]+\|")
PASSAGE_LINE = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)


def read_pubtator(source: Source, *, on_error: OnError = None) -> Iterator[CorpusDocument]:
    """Stream the documents of a PubTator file (also ``.gz``).

    Title and abstract become two passages separated by a newline. Relation lines are kept as
    lists of strings in ``meta["relations"]``, the names of a composite mention's parts (seventh
    column of BC5CDR) in ``meta["components"]`` of the mention. Codes that `parse_codes` does not
    keep to the letter are in its ``meta["code"]``.

    on_error: called with the ReadError of a bad line, which is left out; without it the error is
        raised. Errors name file and line: no PubTator, offsets outside the text, an annotation of
        another document.
    """
    document: CorpusDocument | None = None
    for number, line in numbered_lines(source):
        line = line.rstrip("\r\n")
        where = f"{source_name(source)}, line {number}"
        passage = PASSAGE_LINE.fullmatch(line)
        try:
            if passage and passage[2] == "t":
                if document:
                    yield document
                document = CorpusDocument(passage[1], passage[3], [(0, len(passage[3]))])
                document.passage_types = ["title"]
            elif passage:
                _add_abstract(document, passage[1], passage[3], where)
            elif line.strip():
                _add_line(document, line.split("\t"), where)
        except ReadError as error:
            report(error, on_error)
    if document:
        yield document


def _add_abstract(document: CorpusDocument | None, id: str, text: str, where: str) -> None:
    if document is None or document.id != id:
        raise ReadError(f"{where}: abstract of {id} without its title before it.")
    if len(document.passages) > 1:
        raise ReadError(f"{where}: second abstract of {id}: keep one.")
    start = len(document.text) + 1
    document.text += "\n" + text
    document.passages.append((start, len(document.text)))
    document.passage_types.append("abstract")


def _add_line(document: CorpusDocument | None, columns: list[str], where: str) -> None:
    if document is None or columns[0] != document.id or len(columns) < 4:
        raise ReadError(
            f"{where}: expected '<id>|t|<title>', '<id>|a|<abstract>' or tab-separated columns "
            f"'<id> <start> <end> <text> <type> <codes>' of the document above."
        )
    if not columns[1].isdecimal():
        document.meta.setdefault("relations", []).append(columns[1:])
        return
    fragment = as_offset(columns[1], where), as_offset(columns[2], where)
    text, label, written = (*columns[3:6], "", "")[:3]
    codes = parse_codes(written)
    annotation = located(document, [fragment], text, where, type=label.strip(), codes=codes)
    if written and written != code_string(codes):
        annotation.meta["code"] = written
    if columns[6:]:
        annotation.meta["components"] = columns[6:]
    document.annotations.append(annotation)


def parse_codes(column: str) -> list[list[str]]:
    """Codes of the sixth column as AND of ORs; ``-1`` and an empty column give no code.

    ``+``, ``,`` and ``;`` join the concepts of one mention. So does ``|`` ("breast or ovarian
    cancer" is ``D001943|D010051``), except where every code comes from another vocabulary
    (``C535342|OMIM:116800``): there the corpora name one concept twice. Sequence variants
    (``c|SUB|G|1528|C`` in BioRED) are one code.
    """
    if VARIANT.match(column.strip()):
        return [[column.strip()]]
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
