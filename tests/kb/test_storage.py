from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb import KnowledgeBase


@pytest.fixture
def directory(builder, tmp_path):
    builder.write(tmp_path / "kb")
    return tmp_path / "kb"


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_two_builds_are_byte_identical(builder, directory, tmp_path):
    again = builder.write(tmp_path / "again")
    assert content(tmp_path / "again") == content(directory)
    again.to_disk(tmp_path / "copy")
    assert content(tmp_path / "copy") == content(directory)
    KnowledgeBase.from_bytes(again.to_bytes()).to_disk(tmp_path / "bytes")
    assert content(tmp_path / "bytes") == content(directory)


def test_every_file_is_guarded(builder, tmp_path):
    names = sorted(
        content_file.name for content_file in builder.write(tmp_path / "kb").path.iterdir()
    )
    for name in names:
        for damage in ("missing", "truncated", "altered"):
            folder = tmp_path / f"{damage}-{name}"
            builder.write(folder)
            file = folder / name
            data = file.read_bytes()
            if damage == "missing":
                file.unlink()
            elif damage == "truncated":
                file.write_bytes(data[:-3])
            else:
                file.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
            with pytest.raises(KnowledgeBaseError, match=f"(?s){name}.*[Rr]ebuild"):
                KnowledgeBase.from_disk(folder, verify=None if damage == "altered" else False)


def test_verify_false_leaves_digests_unread(directory):
    file = directory / "definitions_text.npy"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"!")
    assert len(KnowledgeBase.from_disk(directory, verify=False)) == 4
    with pytest.raises(KnowledgeBaseError, match="altered"):
        KnowledgeBase.from_disk(directory, verify=True)


def test_only_large_directories_are_opened_unverified(directory, monkeypatch):
    file = directory / "definitions_text.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    monkeypatch.setattr("spacy_bel.kb.storage.VERIFY_BELOW_BYTES", 1000)
    assert len(KnowledgeBase.from_disk(directory)) == 4


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"format_version": 999}, "format version 999"),
        ({"groups": {"Disorder": 3}}, "fingerprint"),
        ({"fingerprint": "0"}, "fingerprint"),
        ({"files": {"../x.npy": {"size": 1, "sha256": "0"}}}, "damaged"),
        ({"files": 3}, "damaged"),
    ],
)
def test_edited_meta_is_refused(directory, edit, message):
    meta = json.loads((directory / "meta.json").read_text())
    (directory / "meta.json").write_text(json.dumps({**meta, **edit}))
    with pytest.raises(KnowledgeBaseError, match=message):
        KnowledgeBase.from_disk(directory)


def test_no_directory_and_no_knowledge_base(tmp_path):
    with pytest.raises(KnowledgeBaseError, match="no directory .*nowhere"):
        KnowledgeBase.from_disk(tmp_path / "nowhere")
    with pytest.raises(KnowledgeBaseError, match=r"meta\.json cannot be read"):
        KnowledgeBase.from_disk(tmp_path)


def test_an_array_of_objects_is_never_unpickled(directory, monkeypatch):
    class Boom:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.save(directory / "alias_names.npy", np.array([Boom()], object), allow_pickle=True)
    size = (directory / "alias_names.npy").stat().st_size
    meta = json.loads((directory / "meta.json").read_text())
    meta["files"]["alias_names.npy"]["size"] = size
    (directory / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(KnowledgeBaseError, match=r"alias_names\.npy is damaged"):
        KnowledgeBase.from_disk(directory, verify=False)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xc1", pickle.dumps({}), b"\x81\xa1a\x01"])
def test_other_bytes_are_refused(data):
    with pytest.raises(KnowledgeBaseError, match="cannot be read"):
        KnowledgeBase.from_bytes(data)


def test_altered_bytes_are_refused(builder):
    data = builder.build().to_bytes()
    position = data.index(b"Death of heart muscle")
    with pytest.raises(KnowledgeBaseError, match=r"definitions_text\.npy"):
        KnowledgeBase.from_bytes(data[:position] + b"L" + data[position + 1 :])
    with pytest.raises(KnowledgeBaseError):
        KnowledgeBase.from_bytes(data[: len(data) // 2])


def test_an_existing_path_needs_force(builder, directory):
    kb = builder.build()
    with pytest.raises(KnowledgeBaseError, match="force"):
        kb.to_disk(directory)
    kb.to_disk(directory, force=True)
    assert KnowledgeBase.from_disk(directory).fingerprint == kb.fingerprint


def test_force_replaces_nothing_but_a_knowledge_base(builder, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(KnowledgeBaseError, match="not replaced"):
        builder.write(tmp_path / "home", force=True)
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"
