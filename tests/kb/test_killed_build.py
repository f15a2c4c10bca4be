"""A build that is killed leaves no half-made knowledge base, wherever it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from spacy_bel.kb import KnowledgeBase

SCRIPT = """
import os, pathlib, signal, sys
from spacy_bel.kb import Concept, KnowledgeBaseBuilder

left = int(sys.argv[2])

def stop(event, arguments):
    # Every file that is opened or renamed below the target's folder is a point to die at.
    global left
    if event in ("open", "os.rename", "os.mkdir") and sys.argv[3] in str(arguments[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

builder = KnowledgeBaseBuilder("toy")
builder.add(Concept("X", ("x",), ("g",)))
sys.addaudithook(stop)
builder.write(sys.argv[1], force=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("before", [False, True])
def test_killing_at_any_step(tmp_path, before):
    target = tmp_path / "kb"
    steps = [0, 1, 2, 5, 12, 20, 24, 25, 26, 27, 28]
    finished = 0
    for step in steps:
        if before and not target.exists():
            build(target, 1000)
        result = build(target, step)
        assert result in (0, -signal.SIGKILL)
        finished += result == 0
        if target.exists():
            assert list(KnowledgeBase.from_disk(target, verify=True)) == ["X"]
        elif before:  # killed between moving the old one away and the new one in
            assert any((left / "old").is_dir() for left in tmp_path.iterdir())
    assert finished < len(steps)
    assert build(target, 1000) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["kb"]


def build(target, steps):
    command = [sys.executable, "-c", SCRIPT, str(target), str(steps), str(target.parent)]
    return subprocess.run(command, check=False).returncode
