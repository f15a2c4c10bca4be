"""Tab-separated mentions beside texts, as DisTEMIST, SympTEMIST and MedProcNER come.

One line a mention, a heading line with the names of the columns; https://temu.bsc.es/distemist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from spacy_bel.corpora.document import CorpusDocument, code_string, parse_code_string
from spacy_bel.corpora.files import Source, numbered_lines
from spacy_bel.corpora.jsonlines import OnError, report
from spacy_bel.corpora.standoff import as_offset, as_paths, located, text_beside
from spacy_bel.errors import ReadError

COLUMNS = {
    "file": ("filename", "file", "document_id", "doc_id"),
    "start": ("off0", "start_span", "span_ini", "start"),
    "end": ("off1", "end_span", "span_end", "end"),
    "text": ("span", "text", "mention"),
    "type": ("label", "type", "entity_class"),
    "id": ("mark", "ann_id", "id"),
    "code": ("code", "codes", "snomed_code"),
}
Row = dict[str, str]
REQUIRED = ("file", "start", "end", "text")


def read_spaccc(
    source: Source | Sequence[Path], *, code_column: str = "code", on_error: OnError = None
) -> Iterator[CorpusDocument]:
    """Stream the documents of one file of mentions, or of several over the same texts.

    Texts are looked for by their name beside a file and in folders of texts near it. Mentions of
    one text in several files come together, in the order of the files. ``A+B`` is a composite; all
    further columns go to the `meta` of the mention.

    code_column: the column of gold codes, e.g. "hpo_code" of the cross-mappings of DisTEMIST.
    on_error: called with the ReadError of a bad line or a missing text, which are left out; without
        it it is raised.
    """
    files = as_paths(source)
    rows: dict[str, list[tuple[Path, str, Row, Row]]] = {}
    for file in files:
        for where, row, rest in _rows(file, code_column, on_error):
            rows.setdefault(row["file"], []).append((file, where, row, rest))
    for name, mentions in rows.items():
        try:
            text = text_beside(mentions[0][0], f"{name}.txt")
        except ReadError as error:
            report(f"{mentions[0][1]}: {error}", on_error)
            continue
        document = CorpusDocument(name, text, [(0, len(text))])
        for _, where, row, rest in mentions:
            try:
                _add_mention(document, row, rest, where)
            except ReadError as error:
                report(error, on_error)
        yield document


def heading(line: str, code_column: str = "code") -> dict[str, int] | None:
    """Where the columns stand, or None if this is no heading of such a file."""
    names = [name.strip().lower() for name in line.rstrip("\r\n").split("\t")]
    wanted = {
        **COLUMNS,
        "code": (*COLUMNS["code"], "") if code_column == "code" else (code_column,),
    }
    found = {
        key: next((names.index(name) for name in options if name in names), -1)
        for key, options in wanted.items()
    }
    return None if min(found[key] for key in REQUIRED) < 0 else found


def _rows(file: Path, code_column: str, on_error: OnError) -> Iterator[tuple[str, Row, Row]]:
    """Yield ("file, line 3", {"file", "start", "end", …}, further columns) for each line."""
    lines = numbered_lines(file)
    _, first = next(lines, (0, ""))
    columns = heading(first, code_column)
    names = [name.strip() for name in first.rstrip("\r\n").split("\t")]
    if columns is None or (columns["code"] < 0 and code_column != "code"):
        raise ReadError(
            f"{file}, line 1: expected a heading with tab-separated names of columns such as "
            f"'filename label off0 off1 span {code_column}', found {first[:80]!r}."
        )
    known = {key: i for key, i in columns.items() if i >= 0}
    further = {name: i for i, name in enumerate(names) if i not in known.values()}
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) != len(names):
            report(f"{where}: {len(cells)} columns instead of {len(names)}.", on_error)
            continue
        row = {key: cells[i] for key, i in known.items()}
        yield where, row, {name: cells[i] for name, i in further.items()}


def _add_mention(document: CorpusDocument, row: Row, rest: Row, where: str) -> None:
    start, end = as_offset(row["start"], where), as_offset(row["end"], where)
    text, code = row["text"], row.get("code", "").strip()
    if len(text) > 1 and text[0] == text[-1] == '"' and end - start < len(text):
        text = text[1:-1].replace('""', '"')  # quoted by a spreadsheet
    codes = parse_code_string(code)
    annotation = located(
        document, [(start, end)], text, where,
        type=row.get("type", ""), codes=codes, id=row.get("id", ""), meta=rest,
    )  # fmt: skip
    if code and code_string(codes) != code:
        # A column called "code" that was not asked for keeps its content.
        annotation.meta.setdefault("code", code)
    document.annotations.append(annotation)
