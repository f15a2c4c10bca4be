from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from spacy_bel.kb.atomic import new_directory


def test_nothing_is_there_before_the_end(tmp_path):
    with new_directory(tmp_path / "a" / "target") as temporary:
        (temporary / "file").write_text("1")
        assert not (tmp_path / "a" / "target").exists()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["target"]
    assert (tmp_path / "a" / "target" / "file").read_text() == "1"


def test_an_exception_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), new_directory(tmp_path / "target") as temporary:
        (temporary / "file").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_and_a_failed_replacement_keeps_the_old(tmp_path):
    target = tmp_path / "target"
    for text in ("old", "new"):
        with new_directory(target, force=True) as temporary:
            (temporary / text).touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), new_directory(target, force=True):
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_without_force_an_existing_path_stays(tmp_path):
    (tmp_path / "target").mkdir()
    with pytest.raises(FileExistsError), new_directory(tmp_path / "target"):
        pass
    with pytest.raises(FileExistsError), new_directory(tmp_path / "late"):
        (tmp_path / "late").mkdir()  # another process was faster
    assert sorted(p.name for p in tmp_path.iterdir()) == ["late", "target"]


@pytest.mark.skipif(os.name != "posix", reason="kill is a POSIX signal")
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    script = (
        "import pathlib, sys, time\n"
        "from spacy_bel.kb.atomic import new_directory\n"
        "with new_directory(pathlib.Path(sys.argv[1])) as d:\n"
        "    (d / 'half').touch()\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "target")])
    while not list(tmp_path.glob(".target.building-*/half")):
        assert process.poll() is None
        time.sleep(0.01)
    with new_directory(tmp_path / "target", force=True):
        pass
    # a running build of the same target is left alone
    assert list(tmp_path.glob(".target.building-*/half"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    (tmp_path / ".other.building-x-1-a").mkdir()
    with new_directory(tmp_path / "target", force=True):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.building-x-1-a", "target"]


def _build(target) -> bool:
    try:
        with new_directory(target) as temporary:
            (temporary / "file").write_text("whole")
    except FileExistsError:
        return False
    return True


def test_of_concurrent_builds_one_wins_and_all_see_it(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        won = pool.map(_build, [tmp_path / "target"] * 6)
    assert won.count(True) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["target"]
    assert (tmp_path / "target" / "file").read_text() == "whole"


def test_what_was_about_to_be_replaced_is_put_back(tmp_path, monkeypatch):
    target = tmp_path / "target"
    with new_directory(target) as temporary:
        (temporary / "file").write_text("old")
    # What a process leaves that was killed between moving the old away and the new in.
    monkeypatch.setattr("spacy_bel.kb.atomic._is_stale", lambda path, name: path.name == ".left")
    (tmp_path / ".left").mkdir()
    target.rename(tmp_path / ".left" / "old")
    with pytest.raises(FileExistsError), new_directory(target):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (target / "file").read_text() == "old"
