from __future__ import annotations

import gzip
import logging
import shutil
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacy_bel.errors import KnowledgeBaseError, ReadError
from spacy_bel.kb.readers import FORMATS, infer_format, lines, read
from tests.kb.reader_fixtures import MEDIC, OBO, SOURCES, write_source

LINED = sorted(set(FORMATS) - {"mesh", "ontology-json", "longbel"})  # formats of lines


def test_every_format_has_a_fixture():
    assert SOURCES.keys() == FORMATS.keys()


@pytest.mark.parametrize("format", FORMATS)
def test_the_format_is_inferred(tmp_path, format):
    assert infer_format(write_source(tmp_path, format)) == format


@pytest.mark.parametrize(
    ("file", "text", "format"),
    [
        ("x.obo", "[Term]\nid: A:1\nname: a\n", "obo"),
        ("x.txt", OBO, "obo"),
        ("x.txt", MEDIC, "medic"),
        ("x.txt", "100001||Another Disorder\n", "medic"),
        ("x.csv", "ID,Label\n1,a\n", "table"),
        ("x.jsonl", '{"code": "1", "name": "a"}\n', "table"),
        ("x.json", '[{"id": "1", "name": "a"}]', "ontology-json"),
    ],
)
def test_the_format_is_inferred_from_the_first_line(tmp_path, file, text, format):
    path = tmp_path / file
    path.write_text(text)
    assert infer_format(path) == format
    assert len(read(path, name="n", release="r", group="g").build()) > 0


@pytest.mark.parametrize("text", ["", "alpha\tbeta\n", "{}\n", "{" * 9000])
def test_unknown_formats(tmp_path, text):
    path = tmp_path / "x.tsv"
    path.write_text(text)
    with pytest.raises(ReadError, match="not known.*obo, umls"):
        read(path)
    with pytest.raises(ReadError, match="no format 'rrf'"):
        read(path, "rrf")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_takes_the_same_options(tmp_path, format):
    path = write_source(tmp_path, format)
    builder = read(path, format, name="n", group="g", release="r", on_error="skip", progress=True)
    kb = builder.build()
    assert (kb.meta.name, kb.release, kb.groups) == ("n", "r", ("g",))
    assert (builder.skipped, builder.damage) == (0, [])
    assert builder.entries >= len(kb) > 0


@pytest.mark.parametrize("format", FORMATS)
def test_options_of_other_formats_are_refused(tmp_path, format):
    with pytest.raises(ReadError, match=f"format {format} has no option colour"):
        read(write_source(tmp_path, format), format, colour="red")


@pytest.mark.parametrize("form", ["windows", "mark", "gzip"])
@pytest.mark.parametrize("format", FORMATS)
def test_line_ends_byte_order_marks_and_gzip_make_no_difference(tmp_path, format, form):
    def windows(data):
        return data.replace(b"\n", b"\r\n")

    def marked(data):
        return b"\xef\xbb\xbf" + data

    change = {"windows": windows, "mark": marked}.get(form, bytes)
    plain = read(write_source(tmp_path / "plain", format), format).build()
    other = read(
        write_source(tmp_path / "other", format, change=change, zipped=form == "gzip"), format
    ).build()
    assert other.fingerprint == plain.fingerprint


@pytest.mark.parametrize("format", FORMATS)
def test_two_builds_are_byte_identical(tmp_path, format):
    for name in ("a", "b"):
        read(write_source(tmp_path / f"in-{name}", format), format).write(tmp_path / name)
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "ab"
    )
    assert first == second


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_source(tmp_path, format):
    with pytest.raises(ReadError, match="none"):
        read(tmp_path / "none.obo", format)


@pytest.mark.parametrize("format", FORMATS)
def test_other_encodings_are_named_with_file_and_line(tmp_path, format):
    path = write_source(tmp_path, format, change=lambda data: b"\xff" + data.replace(b"i", b"\xe9"))
    with pytest.raises(ReadError, match=r"line 1: not"):
        read(path, format)


@pytest.mark.parametrize("format", FORMATS)
def test_zip_archives_are_not_opened(tmp_path, format):
    path = write_source(tmp_path, format)
    for file in [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]:
        with zipfile.ZipFile(tmp_path / "z", "w") as archive:
            archive.writestr("../../evil", "x")
        shutil.move(tmp_path / "z", file)
    with pytest.raises(ReadError, match="zip archive: unpack it"):
        read(path, format)


def test_archives_that_unpack_to_far_more_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_UNPACKED_BYTES", 100_000)
    path = tmp_path / "bomb.tsv.gz"
    path.write_bytes(gzip.compress(b"code\tname\n" + b"X\tname\n" * 200_000))
    with pytest.raises(ReadError, match=r"bomb\.tsv\.gz, after line \d+: unpacks to more"):
        read(path, "table")


def test_endless_lines_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "line.tsv"
    path.write_bytes(b"code\tname\n" + b"x" * (2 << 20))
    with pytest.raises(ReadError, match=r"line\.tsv, line 2: longer than 1 MiB"):
        read(path, "table")


@pytest.mark.parametrize("format", FORMATS)
def test_names_of_ten_thousand_characters_are_read(tmp_path, format):
    long = "fit" + "x" * 10_000
    path = write_source(tmp_path, format, change=lambda data: data.replace(b"Fit", long.encode()))
    kb = read(path, format).build()
    # Every fixture with this name has it whole.
    assert all(len(name) in range(1, 200) or name == long for name in kb.names())


@pytest.mark.parametrize("format", LINED)
def test_damaged_lines_raise_or_are_skipped_and_listed(tmp_path, format, caplog):
    path = write_source(tmp_path, format, change=lambda data: data + b"\x01no|such\tline,at,all\n")
    with caplog.at_level(logging.CRITICAL):
        try:
            read(path, format)
        except ReadError as error:
            assert ", line " in str(error)
            builder = read(path, format, on_error="skip")
            assert builder.skipped == len(builder.damage) > 0
            assert all(", line " in message for message in builder.damage)
            assert len(builder.build()) > 0


def _mutated(data: bytes, draw) -> bytes:
    """Bytes with a few cuts, repeats and replacements."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        what = draw(st.sampled_from(["cut", "repeat", "insert", "end"]))
        if what == "cut":
            data = data[:start] + data[end:]
        elif what == "repeat":
            data = data[:end] + data[start:]
        elif what == "insert":
            data = data[:start] + draw(st.binary(max_size=8)) + data[start:]
        else:
            data = data[:start]
    return data


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes_end_in_a_read_or_a_named_error(format, data):
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp())
    try:
        path = write_source(folder, format, change=lambda text: _mutated(text, data.draw))
        for on_error in ("raise", "skip"):
            try:
                builder = read(path, format, on_error=on_error)
            except ReadError as error:
                assert str(folder) in str(error)
                continue
            try:
                kb = builder.build()
            except KnowledgeBaseError:
                assert len(builder) == 0
                continue
            assert all(kb[code].names and kb[code].groups for code in kb)
    finally:
        shutil.rmtree(folder)
        logging.disable(logging.NOTSET)
