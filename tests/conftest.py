"""What every test may use, and a summary of which real data the tests ran on."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported: tiny models gain nothing from threads, and lose much on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

DATA_VARIABLE = "SPACY_BEL_DATA"

# How long an example takes depends on the machine, not on what is tested.
hypothesis.settings.register_profile("spacy-bel", deadline=None)
hypothesis.settings.load_profile("spacy-bel")


@pytest.fixture(scope="session")
def data() -> Path:
    """Public corpora and terminologies; tests that need them are skipped without."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{DATA_VARIABLE} does not name a folder with public corpora and terminologies")
    return Path(folder)


def pytest_terminal_summary(terminalreporter, config):
    """Say which tests ran on real data."""
    marked = config.stash.get(_MARKED, {})
    for marker, what in (("data", f"corpora of {DATA_VARIABLE}"), ("hpo", "extra 'hpo'")):
        ids = marked.get(marker, set())
        ran = [r.nodeid for r in terminalreporter.stats.get("passed", []) if r.nodeid in ids]
        terminalreporter.write_line(f"tests on real data ({what}): {len(ran)} of {len(ids)} ran")
        for nodeid in ran if config.get_verbosity() > 0 else ():
            terminalreporter.write_line(f"  {nodeid}")


_MARKED = pytest.StashKey()


def pytest_collection_modifyitems(config, items):
    """Note which tests need real data."""
    config.stash[_MARKED] = {
        marker: {item.nodeid for item in items if item.get_closest_marker(marker)}
        for marker in ("data", "hpo")
    }
