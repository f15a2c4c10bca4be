from __future__ import annotations

import pytest

from spacy_bel.errors import ReadError
from spacy_bel.kb.readers import FORMATS, infer_format, read

OBO = "format-version: 1.4\n\n[Term]\nid: A:1\nname: a\n"
MEDIC = "C500001|100001||Another Disorder\n"


@pytest.mark.parametrize(
    ("file", "text", "format"),
    [
        ("x.obo", "[Term]\nid: A:1\nname: a\n", "obo"),
        ("x.txt", OBO, "obo"),
        ("x.txt", MEDIC, "medic"),
        ("x.txt", "100001||Another Disorder\n", "medic"),
    ],
)
def test_the_format_is_inferred(tmp_path, file, text, format):
    path = tmp_path / file
    path.write_text(text)
    assert infer_format(path) == format
    assert (
        len(
            read(path, name="n", release="r", group="g")
            .build()["A:1" if "A:1" in text else "100001"]
            .groups
        )
        == 1
    )


@pytest.mark.parametrize("text", ["", "code\tname\n"])
def test_unknown_formats(tmp_path, text):
    path = tmp_path / "x.tsv"
    path.write_text(text)
    with pytest.raises(ReadError, match="not known.*obo, medic"):
        read(path)
    with pytest.raises(ReadError, match="no format 'rrf'"):
        read(path, "rrf")


@pytest.mark.parametrize(("format", "text"), [("obo", OBO), ("medic", MEDIC)])
def test_every_format_takes_the_same_options(tmp_path, format, text):
    assert {"obo", "medic"} == set(FORMATS)
    path = tmp_path / "x"
    path.write_text(text)
    builder = read(path, format, name="n", group="g", release="r", on_error="skip", progress=True)
    kb = builder.build()
    assert (kb.meta.name, kb.release, kb.groups, len(kb)) == ("n", "r", ("g",), 1)


def test_a_missing_file(tmp_path):
    with pytest.raises(ReadError, match="cannot be read"):
        read(tmp_path / "none.obo")
